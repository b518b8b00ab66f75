//! The frame of a plot: gridlines, tick labels, and where a value lies.

use super::svg::{Anchor, Ink, Rect, Svg, Text};
use super::ticks::{round_step, ticks};

/// A plot's area and the values at its edges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes {
    pub area: Rect,
    /// Values at the left and right edge.
    pub x: (f64, f64),
    /// Values at the bottom and top edge.
    pub y: (f64, f64),
}

/// How the values of an axis are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Number,
    /// Whole numbers only.
    Count,
    /// A share of 0..=1, as a percentage.
    Percent,
    /// Logarithms to base 10 of the numbers that are written.
    Log10,
}

const TICK_SIZE: f64 = 12.0;

impl Axes {
    /// The point of a pair of values, in pixels.
    pub(super) fn point(&self, x: f64, y: f64) -> (f64, f64) {
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let up = (y - self.y.0) / (self.y.1 - self.y.0);
        (
            self.area.x + across * self.area.width,
            self.area.bottom() - up * self.area.height,
        )
    }

    /// Draws the gridlines and tick labels, and the title below.
    pub(super) fn draw(&self, svg: &mut Svg, x: Scale, y: Scale, title: &str) {
        let area = self.area;
        for (value, label) in y.ticks(self.y, area.height / 42.0) {
            let (_, at) = self.point(self.x.0, value);
            svg.line(&[(area.x, at), (area.right(), at)], Ink::GRID, 1.0, false);
            let text = Text::at(area.x - 8.0, at + 4.0, TICK_SIZE).anchor(Anchor::End);
            svg.text(text.ink(Ink::MUTED), &label);
        }
        for (value, label) in x.ticks(self.x, area.width / 62.0) {
            let (at, bottom) = self.point(value, self.y.0);
            svg.line(&[(at, bottom), (at, bottom + 4.0)], Ink::MUTED, 1.0, false);
            let text = Text::at(at, bottom + 18.0, TICK_SIZE).anchor(Anchor::Middle);
            svg.text(text.ink(Ink::MUTED), &label);
        }
        let bottom = [(area.x, area.bottom()), (area.right(), area.bottom())];
        svg.line(&bottom, Ink::MUTED, 1.0, false);
        let centre = area.x + area.width / 2.0;
        let text = Text::at(centre, area.bottom() + 36.0, 12.0).anchor(Anchor::Middle);
        svg.text(text.ink(Ink::MUTED), title);
    }
}

impl Scale {
    /// Values between two others, and what is written at them: about as many as wanted.
    pub(super) fn ticks(self, (low, high): (f64, f64), wanted: f64) -> Vec<(f64, String)> {
        if self == Self::Log10 {
            return log_ticks(low, high, wanted);
        }
        let wanted = match self {
            Self::Count => wanted.min(high - low),
            _ => wanted,
        };
        let values = ticks(low, high, wanted);
        let step = round_step((high - low) / wanted.max(1.0));
        let step = if self == Self::Percent {
            step * 100.0
        } else {
            step
        };
        let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize;
        let label = |value: f64| match self {
            Self::Number | Self::Log10 => number(value, decimals),
            Self::Count => format!("{value:.0}"),
            Self::Percent => format!("{:.decimals$}%", value * 100.0),
        };
        values
            .into_iter()
            .map(|value| (value, label(value)))
            .collect()
    }
}

/// Powers of ten with their doubles and fivefolds, or fewer where these are more than wanted.
fn log_ticks(low: f64, high: f64, wanted: f64) -> Vec<(f64, String)> {
    let powers = || low.floor() as i32..=high.ceil() as i32;
    let of = |factors: &[f64]| -> Vec<(f64, String)> {
        let values = powers().flat_map(|power| factors.iter().map(move |&f| f * 10f64.powi(power)));
        let inside = values.filter(|value| (low..=high).contains(&value.log10()));
        inside
            .map(|value| (value.log10(), one_digit(value)))
            .collect()
    };
    let choices: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
    let mut all = choices.map(of).into_iter();
    let few = all.find(|ticks| ticks.len() as f64 <= wanted.max(2.0));
    few.unwrap_or_else(|| of(&[1.0]))
}

/// A number of one digit and zeros, with an exponent where it is small.
fn one_digit(value: f64) -> String {
    let short = format!("{value:.0e}");
    match short.parse::<f64>() {
        Ok(exact) if exact >= 1e-3 => exact.to_string(),
        _ => short,
    }
}

/// A value with so many decimals, or with an exponent where its digits would run long.
pub(super) fn number(value: f64, decimals: usize) -> String {
    match value.abs() >= 1e5 {
        true => format!("{value:.1e}"),
        false => format!("{value:.decimals$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, low: f64, high: f64) -> Vec<String> {
        let ticks = scale.ticks((low, high), 4.0);
        ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn labels_have_the_decimals_they_need() {
        assert_eq!(labels(Scale::Number, 0.0, 1.0), ["0.0", "0.5", "1.0"]);
        assert_eq!(labels(Scale::Percent, 0.0, 1.0), ["0%", "50%", "100%"]);
        let fine = ["99.0%", "99.5%", "100.0%"];
        assert_eq!(labels(Scale::Percent, 0.99, 1.0), fine);
        assert_eq!(labels(Scale::Count, 1.0, 2.0), ["1", "2"]);
        assert_eq!(labels(Scale::Count, 0.5, 1.5), ["1"]);
    }

    #[test]
    fn logarithms_are_labelled_by_their_numbers() {
        let labels = |low: f64, high: f64, wanted| -> Vec<String> {
            let ticks = Scale::Log10.ticks((low.log10(), high.log10()), wanted);
            ticks.into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(0.4, 12.0, 6.0), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(0.4, 120.0, 6.0), ["1", "3", "10", "30", "100"]);
        assert_eq!(
            labels(0.4, 12000.0, 6.0),
            ["1", "10", "100", "1000", "10000"]
        );
        assert_eq!(labels(2e-4, 4e-3, 6.0), ["2e-4", "5e-4", "0.001", "0.002"]);
        let [(at, _)] = Scale::Log10.ticks((0.9, 1.1), 4.0).try_into().unwrap();
        assert_eq!(at, 1.0);
    }

    #[test]
    fn values_land_between_the_edges() {
        let axes = Axes {
            area: Rect {
                x: 10.0,
                y: 20.0,
                width: 100.0,
                height: 50.0,
            },
            x: (0.0, 4.0),
            y: (1.0, 2.0),
        };
        assert_eq!(axes.point(1.0, 2.0), (35.0, 20.0));
        assert_eq!(axes.point(0.0, 1.0), (10.0, 70.0));
    }
}

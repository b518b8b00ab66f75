//! Parallel coordinates: an upright axis an option, and a line a trial.

use super::axes::Scale;
use super::font;
use super::raster;
use super::svg::{Anchor, Ink, Rect, Svg, Text};
use crate::error::{Result, shown};

/// From one axis to the next.
const STEP: f64 = 118.0;
const NARROWEST: f64 = 560.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 64.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 28.0;
/// Of the labels at the ticks.
const LABEL: f64 = 11.0;
/// The opacity of the worst and of the best trial.
const SHADES: (f64, f64) = (0.18, 0.85);

/// An option, or the accuracy, which is the last.
#[derive(Debug, Clone)]
pub struct Axis {
    pub name: String,
    pub values: AxisValues,
}

/// What is written along an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum AxisValues {
    Numbers {
        min: f64,
        max: f64,
        log: bool,
    },
    /// Shares of 0..=1.
    Percent {
        min: f64,
        max: f64,
    },
    /// Words, from bottom to top; lines are at their positions in the list.
    Words(Vec<String>),
}

/// A trial in the plot.
#[derive(Debug, Clone)]
pub struct TrialLine {
    /// Where it crosses each axis; `None` where it has no value.
    pub at: Vec<Option<f64>>,
    /// How good it is from 0, the worst, to 1, the best.
    pub shade: f64,
    pub is_best: bool,
    pub is_default: bool,
    /// Whether it was trained to the end; others are drawn thin.
    pub is_complete: bool,
    /// Shown where the pointer rests on it.
    pub hint: String,
}

/// Each trial as a line across the axes, the darker the better it is; the best stands out, and the
/// defaults are dashed.
pub fn parallel_svg(axes: &[Axis], lines: &[TrialLine]) -> String {
    let steps = STEP * axes.len().saturating_sub(1) as f64;
    let width = (LEFT + steps + RIGHT).max(NARROWEST);
    let mut svg = Svg::new(width, HEIGHT, "Trials in parallel coordinates");
    svg.text(Text::at(20.0, 30.0, 15.0), "Trials");
    draw_legend(&mut svg, width - 20.0, lines);
    let step = (width - LEFT - RIGHT) / axes.len().saturating_sub(1).max(1) as f64;
    let placed: Vec<(f64, &Axis)> = (0..)
        .map(|at| LEFT + step * f64::from(at))
        .zip(axes)
        .collect();
    // The best and the defaults on top of the others.
    let mut ordered: Vec<&TrialLine> = lines.iter().collect();
    ordered.sort_by(|a, b| {
        let key = |line: &TrialLine| (line.is_best, line.is_default, line.is_complete);
        key(a).cmp(&key(b)).then(a.shade.total_cmp(&b.shade))
    });
    for line in ordered {
        draw_line(&mut svg, &placed, line);
    }
    for (x, axis) in &placed {
        draw_axis(&mut svg, *x, axis);
    }
    svg.finish()
}

/// [`parallel_svg`] as a PNG.
///
/// # Errors
/// When it can't be drawn, for want of memory.
pub fn parallel_png(axes: &[Axis], lines: &[TrialLine]) -> Result<Vec<u8>> {
    raster::png(&parallel_svg(axes, lines))
}

impl AxisValues {
    /// The values at the bottom and the top, as they are drawn.
    fn ends(&self) -> (f64, f64) {
        let (low, high) = match self {
            Self::Numbers {
                min,
                max,
                log: true,
            } => (min.log10(), max.log10()),
            Self::Numbers { min, max, .. } | Self::Percent { min, max } => (*min, *max),
            Self::Words(words) => (-0.5, words.len() as f64 - 0.5),
        };
        match high > low {
            true => (low, high),
            false => (low - 0.5, low + 0.5),
        }
    }

    /// The height of a value, in pixels from the top of the drawing.
    fn height(&self, value: f64) -> f64 {
        let value = match self {
            Self::Numbers { log: true, .. } => value.log10(),
            _ => value,
        };
        self.on_axis(value)
    }

    fn on_axis(&self, drawn: f64) -> f64 {
        let (low, high) = self.ends();
        let up = ((drawn - low) / (high - low)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)
    }

    /// Heights and labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        let scale = match self {
            Self::Words(words) => {
                let at = |(at, word): (usize, &String)| (self.on_axis(at as f64), shown(word));
                return words.iter().enumerate().map(at).collect();
            }
            Self::Numbers { log: true, .. } => Scale::Log10,
            Self::Numbers { .. } => Scale::Number,
            Self::Percent { .. } => Scale::Percent,
        };
        let ticks = scale.ticks(self.ends(), (HEIGHT - TOP - BOTTOM) / 56.0);
        let ticks = ticks.into_iter();
        ticks.map(|(at, label)| (self.on_axis(at), label)).collect()
    }
}

fn draw_line(svg: &mut Svg, axes: &[(f64, &Axis)], line: &TrialLine) {
    let points: Vec<(f64, f64)> = axes
        .iter()
        .zip(&line.at)
        .filter_map(|((x, axis), value)| Some((*x, axis.values.height((*value)?))))
        .filter(|(_, y)| y.is_finite())
        .collect();
    let (low, high) = SHADES;
    let shade = low + line.shade.clamp(0.0, 1.0) * (high - low);
    let (ink, width) = match line {
        TrialLine { is_best: true, .. } => ((Ink::TRAIN, 1.0), 3.2),
        TrialLine {
            is_default: true, ..
        } => ((Ink::TEXT, 1.0), 1.8),
        TrialLine {
            is_complete: true, ..
        } => ((Ink::VAL, shade), 2.0),
        _ => ((Ink::VAL, shade), 1.0),
    };
    svg.hinted_line(&points, ink, width, line.is_default, &line.hint);
}

fn draw_axis(svg: &mut Svg, x: f64, axis: &Axis) {
    let name = Text::at(x, TOP - 16.0, 12.0).anchor(Anchor::Middle);
    let fitted = font::fitted(&shown(&axis.name), 12.0, STEP - 8.0);
    svg.text(name, &fitted);
    let ends = [(x, TOP), (x, HEIGHT - BOTTOM)];
    svg.line(&ends, Ink::MUTED, 1.0, false);
    for (y, label) in axis.values.ticks() {
        let label = font::fitted(&label, LABEL, STEP - 24.0);
        let width = font::width(&label, LABEL);
        let behind = Rect {
            x: x - 10.0 - width,
            y: y - 8.0,
            width: width + 4.0,
            height: 15.0,
        };
        svg.rect(behind, Ink::PAPER, 0.8, None);
        svg.line(&[(x - 4.0, y), (x, y)], Ink::MUTED, 1.0, false);
        let text = Text::at(x - 8.0, y + 4.0, LABEL).anchor(Anchor::End);
        svg.text(text.ink(Ink::MUTED), &label);
    }
}

/// What the lines mean, from right to left.
fn draw_legend(svg: &mut Svg, mut right: f64, lines: &[TrialLine]) {
    let has = |is: fn(&TrialLine) -> bool| lines.iter().any(is);
    let mid = SHADES.1;
    let entries = [
        (
            has(|l| !l.is_complete),
            "stopped",
            (Ink::VAL, mid),
            1.0,
            false,
        ),
        (
            has(|l| l.is_complete),
            "to the end",
            (Ink::VAL, mid),
            2.0,
            false,
        ),
        (
            has(|l| l.is_default),
            "defaults",
            (Ink::TEXT, 1.0),
            1.8,
            true,
        ),
        (has(|l| l.is_best), "best", (Ink::TRAIN, 1.0), 3.2, false),
    ];
    for (there, name, ink, width, dashed) in entries {
        if !there {
            continue;
        }
        let text = Text::at(right, 30.0, 12.0).anchor(Anchor::End);
        svg.text(text.ink(Ink::MUTED), name);
        right -= font::width(name, 12.0) + 8.0;
        let sample = [(right - 26.0, 26.0), (right, 26.0)];
        svg.hinted_line(&sample, ink, width, dashed, name);
        right -= 44.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(min: f64, max: f64, log: bool) -> AxisValues {
        AxisValues::Numbers { min, max, log }
    }

    #[test]
    fn values_lie_along_their_axes() {
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        near(numbers(0.0, 2.0, false).height(2.0), TOP);
        near(numbers(0.0, 2.0, false).height(1.0), middle);
        near(numbers(1e-4, 1e-2, true).height(1e-3), middle);
        near(numbers(1e-4, 1e-2, true).height(1e-4), HEIGHT - BOTTOM);
        let words = AxisValues::Words(["a", "b", "c"].map(String::from).to_vec());
        near(words.height(1.0), middle);
        assert_eq!(words.ticks().len(), 3);
        // An axis on which all are equal.
        near(numbers(0.1, 0.1, false).height(0.1), middle);
    }

    #[test]
    fn the_best_is_drawn_last_and_the_defaults_are_dashed() {
        let line = |hint: &str, is_best, is_default| TrialLine {
            at: vec![Some(1e-3), None, Some(0.5)],
            shade: 0.5,
            is_best,
            is_default,
            is_complete: true,
            hint: hint.into(),
        };
        let axes = [
            ("lr", numbers(1e-4, 1e-2, true)),
            ("<dropout>", numbers(0.0, 0.5, false)),
            ("accuracy", AxisValues::Percent { min: 0.0, max: 1.0 }),
        ];
        let axes = axes.map(|(name, values)| Axis {
            name: name.into(),
            values,
        });
        let svg = parallel_svg(
            &axes,
            &[
                line("the best", true, false),
                line("the defaults", false, true),
                line("another", false, false),
            ],
        );
        let at = |words: &str| svg.find(words).unwrap();
        assert!(at(">another<") < at(">the defaults<"));
        assert!(at(">the defaults<") < at(">the best<"));
        // The defaults, and their line in the legend.
        assert_eq!(svg.matches("stroke-dasharray").count(), 2);
        assert!(svg.contains("&lt;dropout&gt;") && !svg.contains("<dropout>"));
        assert!(parallel_svg(&[], &[]).contains("</svg>"));
    }
}

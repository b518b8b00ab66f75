//! Loss and accuracy over the epochs of a training run.

use super::axes::{Axes, Scale, number};
use super::font;
use super::raster;
use super::svg::{Anchor, Ink, Rect, Svg, Text};
use super::ticks::round_step;
use crate::error::{Result, shown};
use crate::metrics::Epoch;
use crate::metrics::history::best;

/// Of one panel.
const WIDTH: f64 = 500.0;
const HEIGHT: f64 = 340.0;
/// With more epochs than this, points would hide their line.
const MOST_POINTS: usize = 40;
/// The least range of values that an axis spans, so that noise doesn't look like a course.
const NARROWEST: f64 = 0.05;

const PANELS: [Panel; 2] = [
    Panel {
        title: "Loss",
        scale: Scale::Number,
        train: |epoch| epoch.train_loss,
        val: |epoch| epoch.val_loss,
    },
    Panel {
        title: "Accuracy",
        scale: Scale::Percent,
        train: |epoch| epoch.train_accuracy,
        val: |epoch| epoch.val_accuracy,
    },
];

/// Two panels side by side, loss and accuracy, each with the train and validation curve, the
/// best epoch, and the bounds of the phases where there are several. Values that were not
/// measured are left out.
pub fn curves_svg(epochs: &[Epoch]) -> String {
    let mut svg = Svg::new(2.0 * WIDTH, HEIGHT, "Training curves");
    for (index, panel) in PANELS.iter().enumerate() {
        panel.draw(&mut svg, index as f64 * WIDTH, epochs);
    }
    svg.finish()
}

/// The panels of [`curves_svg`], each a drawing of its own, for a page that may be narrow.
pub(super) fn panels_svg(epochs: &[Epoch]) -> Vec<String> {
    let panel = |panel: &Panel| {
        let mut svg = Svg::new(WIDTH, HEIGHT, &format!("{} over the epochs", panel.title));
        panel.draw(&mut svg, 0.0, epochs);
        svg.finish()
    };
    PANELS.iter().map(panel).collect()
}

/// [`curves_svg`] as a PNG.
pub fn curves_png(epochs: &[Epoch]) -> Result<Vec<u8>> {
    raster::png(&curves_svg(epochs))
}

/// Whether a value was measured, and is one that an axis can hold: a diverged loss may be
/// anything.
fn is_drawable(value: f64) -> bool {
    value.abs() < 1e12
}

struct Panel {
    title: &'static str,
    scale: Scale,
    train: fn(&Epoch) -> f64,
    val: fn(&Epoch) -> f64,
}

impl Panel {
    fn draw(&self, svg: &mut Svg, left: f64, epochs: &[Epoch]) {
        let axes = self.axes(left, epochs);
        axes.draw(svg, Scale::Count, self.scale, "Epoch");
        self.draw_heading(svg, &axes);
        draw_phases(svg, &axes, epochs);
        if let Some(best) = best(epochs) {
            let x = best.epoch as f64;
            let line = [axes.point(x, axes.y.0), axes.point(x, axes.y.1)];
            svg.line(&line, Ink::VAL, 1.0, true);
        }
        for (value, ink) in [(self.train, Ink::TRAIN), (self.val, Ink::VAL)] {
            draw_curve(svg, &axes, epochs, value, ink);
        }
        self.draw_best(svg, &axes, epochs);
    }

    fn axes(&self, left: f64, epochs: &[Epoch]) -> Axes {
        let number = |epoch: Option<&Epoch>| epoch.map_or(1.0, |epoch| epoch.epoch as f64);
        let (first, last) = (number(epochs.first()), number(epochs.last()));
        let x = match first < last {
            true => (first, last),
            false => (first - 0.5, first + 0.5),
        };
        let measured = epochs
            .iter()
            .flat_map(|epoch| [(self.train)(epoch), (self.val)(epoch)]);
        let measured = measured.filter(|&value| is_drawable(value));
        let (low, high) = measured
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        Axes {
            area: Rect {
                x: left + 62.0,
                y: 62.0,
                width: WIDTH - 62.0 - 22.0,
                height: HEIGHT - 62.0 - 50.0,
            },
            x,
            y: self.range(low, high),
        }
    }

    /// The values at the bottom and the top: round numbers around low..=high.
    fn range(&self, low: f64, high: f64) -> (f64, f64) {
        if low > high {
            return (0.0, 1.0);
        }
        let low = match self.scale {
            Scale::Percent => low.min(high - NARROWEST).max(0.0),
            _ => low.min(0.0),
        };
        let high = high.max(low + NARROWEST);
        let step = round_step((high - low) / 5.0);
        let bottom = (low / step + 1e-9).floor() * step;
        let top = ((high / step - 1e-9).ceil() * step).max(bottom + step);
        match self.scale {
            Scale::Percent => (bottom, top.min(1.0).max(bottom + step)),
            _ => (bottom, top),
        }
    }

    fn draw_heading(&self, svg: &mut Svg, axes: &Axes) {
        svg.text(Text::at(axes.area.x - 42.0, 30.0, 15.0), self.title);
        let mut right = axes.area.right();
        for (name, ink) in [("validation", Ink::VAL), ("train", Ink::TRAIN)] {
            let text = Text::at(right, 30.0, 12.0).anchor(Anchor::End);
            svg.text(text.ink(Ink::MUTED), name);
            right -= font::width(name, 12.0) + 6.0;
            svg.line(&[(right - 18.0, 26.0), (right, 26.0)], ink, 2.5, false);
            right -= 18.0 + 16.0;
        }
    }

    /// Rings the validation value of the best epoch and says what it is.
    fn draw_best(&self, svg: &mut Svg, axes: &Axes, epochs: &[Epoch]) {
        let Some(best) = best(epochs) else { return };
        let value = (self.val)(best);
        if !is_drawable(value) {
            return;
        }
        let at = axes.point(best.epoch as f64, value);
        svg.circle(at, 6.0, Ink::VAL);
        svg.circle(at, 3.5, Ink::PAPER);
        let value = match self.scale {
            Scale::Percent => format!("{:.1}%", value * 100.0),
            _ => number(value, 3),
        };
        let note = format!("best: epoch {}, {value}", best.epoch);
        let half = font::width(&note, 11.0) / 2.0;
        let x = at.0.clamp(axes.area.x + half, axes.area.right() - half);
        let text = Text::at(x, axes.area.y - 10.0, 11.0).anchor(Anchor::Middle);
        svg.text(text.ink(Ink::VAL), &note);
    }
}

fn draw_curve(svg: &mut Svg, axes: &Axes, epochs: &[Epoch], value: fn(&Epoch) -> f64, ink: Ink) {
    let points: Vec<Option<(f64, f64)>> = epochs
        .iter()
        .map(|epoch| {
            Some(value(epoch))
                .filter(|&value| is_drawable(value))
                .map(|y| (epoch, y))
        })
        .map(|measured| measured.map(|(epoch, y)| axes.point(epoch.epoch as f64, y)))
        .collect();
    for run in points.split(Option::is_none) {
        let run: Vec<(f64, f64)> = run.iter().copied().flatten().collect();
        if run.len() > 1 {
            svg.line(&run, ink, 2.0, false);
        }
        if run.len() == 1 || epochs.len() <= MOST_POINTS {
            for point in run {
                svg.circle(point, 2.8, ink);
            }
        }
    }
}

/// A line between two phases, and the name of each where it fits.
fn draw_phases(svg: &mut Svg, axes: &Axes, epochs: &[Epoch]) {
    let phases: Vec<&[Epoch]> = epochs.chunk_by(|a, b| a.phase == b.phase).collect();
    if phases.len() < 2 {
        return;
    }
    let area = axes.area;
    let mut left = area.x;
    for (index, phase) in phases.iter().enumerate() {
        let next = phases.get(index + 1).and_then(|next| next.first());
        let right = next.map_or(area.right(), |next| {
            axes.point(next.epoch as f64 - 0.5, 0.0).0
        });
        if next.is_some() {
            svg.line(
                &[(right, area.y), (right, area.bottom())],
                Ink::MUTED,
                1.0,
                false,
            );
        }
        let name = shown(phase.first().map_or("", |epoch| &epoch.phase));
        let name = font::fitted(&name, 11.0, right - left - 8.0);
        if name.chars().count() > 2 {
            let text = Text::at(left + 5.0, area.bottom() - 7.0, 11.0);
            svg.text(text.ink(Ink::MUTED), &name);
        }
        left = right;
    }
}

//! The reliability diagram: accuracy against confidence.

use super::axes::{Axes, Scale};
use super::font;
use super::svg::{Anchor, Ink, Rect, Svg, Text};
use crate::metrics::calibration::Bin;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 480.0;

/// The accuracy of each bin as a line over a bar, the gap to its mean confidence in red, and
/// the number of its images in the strip above. A calibrated model's lines meet the diagonal.
pub fn reliability_svg(bins: &[Bin]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT, "Reliability diagram");
    let axes = Axes {
        area: Rect {
            x: 62.0,
            y: 112.0,
            width: WIDTH - 62.0 - 22.0,
            height: HEIGHT - 112.0 - 50.0,
        },
        x: (0.0, 1.0),
        y: (0.0, 1.0),
    };
    svg.text(Text::at(20.0, 30.0, 15.0), "Reliability");
    draw_legend(&mut svg, axes.area.right());
    axes.draw(&mut svg, Scale::Percent, Scale::Percent, "Confidence");
    let middle = axes.area.y + axes.area.height / 2.0;
    let title = Text::at(17.0, middle, 12.0)
        .anchor(Anchor::Middle)
        .rotate(-90.0);
    svg.text(title.ink(Ink::MUTED), "Accuracy");
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        let hint = format!(
            "{} images, confidence {:.1}%, accuracy {:.1}%",
            bin.count,
            100.0 * bin.confidence,
            100.0 * bin.accuracy
        );
        let (low, high) = (
            bin.accuracy.min(bin.confidence),
            bin.accuracy.max(bin.confidence),
        );
        bar(&mut svg, &axes, bin, (0.0, low), Ink::VAL, &hint);
        bar(&mut svg, &axes, bin, (low, high), Ink::GAP, &hint);
        let ends = [bin.low, bin.high].map(|x| axes.point(x, bin.accuracy));
        svg.line(&ends, Ink::VAL, 2.0, false);
    }
    svg.line(
        &[axes.point(0.0, 0.0), axes.point(1.0, 1.0)],
        Ink::MUTED,
        1.2,
        true,
    );
    draw_counts(&mut svg, &axes, bins);
    svg.finish()
}

fn bar(svg: &mut Svg, axes: &Axes, bin: &Bin, (low, high): (f64, f64), ink: Ink, hint: &str) {
    let (left, bottom) = axes.point(bin.low, low);
    let (right, top) = axes.point(bin.high, high);
    let rect = Rect {
        x: left + 1.0,
        y: top,
        width: right - left - 2.0,
        height: bottom - top,
    };
    let opacity = if ink == Ink::GAP { 0.4 } else { 0.75 };
    svg.rect(rect, ink, opacity, Some(hint));
}

fn draw_legend(svg: &mut Svg, mut right: f64) {
    for (name, ink, opacity) in [("gap", Ink::GAP, 0.4), ("accuracy", Ink::VAL, 0.75)] {
        let text = Text::at(right, 30.0, 12.0).anchor(Anchor::End);
        svg.text(text.ink(Ink::MUTED), name);
        right -= font::width(name, 12.0) + 6.0 + 12.0;
        let swatch = Rect {
            x: right,
            y: 20.0,
            width: 12.0,
            height: 12.0,
        };
        svg.rect(swatch, ink, opacity, None);
        right -= 16.0;
    }
}

/// The histogram of the confidences above the diagram.
fn draw_counts(svg: &mut Svg, axes: &Axes, bins: &[Bin]) {
    let largest = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    let strip = Rect {
        y: 58.0,
        height: 40.0,
        ..axes.area
    };
    let note = Text::at(strip.x - 8.0, strip.bottom(), 11.0).anchor(Anchor::End);
    svg.text(note.ink(Ink::MUTED), "images");
    let bottom = [(strip.x, strip.bottom()), (strip.right(), strip.bottom())];
    svg.line(&bottom, Ink::GRID, 1.0, false);
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        let (left, right) = (axes.point(bin.low, 0.0).0, axes.point(bin.high, 0.0).0);
        let height = (bin.count as f64 / largest as f64 * (strip.height - 12.0)).max(1.0);
        let rect = Rect {
            x: left + 1.0,
            y: strip.bottom() - height,
            width: right - left - 2.0,
            height,
        };
        svg.rect(rect, Ink::MUTED, 0.5, None);
        let at = Text::at((left + right) / 2.0, rect.y - 3.0, 9.0).anchor(Anchor::Middle);
        svg.text(at.ink(Ink::MUTED), &bin.count.to_string());
    }
}

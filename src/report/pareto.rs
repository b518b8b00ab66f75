//! Accuracy over latency, with the Pareto front.

use super::axes::{Axes, Scale};
use super::font;
use super::raster;
use super::svg::{Anchor, Ink, Rect, Svg, Text};
use super::ticks::round_step;
use crate::error::{Result, shown};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// With latencies further apart than this factor, their axis is logarithmic.
const LINEAR: f64 = 6.0;
/// The least range of accuracies that the axis spans, so that noise doesn't look like a difference.
const NARROWEST: f64 = 0.04;
/// Of a marker, from its centre.
const RADIUS: f64 = 5.5;
const NAME: f64 = 11.0;

/// A model in the plot.
#[derive(Debug, Clone)]
pub struct ModelPoint {
    pub network: String,
    /// What its marker stands for.
    pub precision: String,
    pub latency_ms: f64,
    pub accuracy: f64,
    pub on_front: bool,
}

/// The precisions with a marker of their own; others look like the first.
const MARKERS: [(&str, Ink, Shape); 3] = [
    ("float32", Ink::VAL, Shape::Circle),
    ("bfloat16", Ink::TRAIN, Shape::Square),
    ("int8", Ink::GAP, Shape::Diamond),
];

#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Square,
    Diamond,
}

/// Each model as a marker of its precision, solid on the Pareto front, which is drawn as a line of
/// steps: below and right of it, something is more accurate or faster. The dashed line is a point
/// below the most accurate model.
pub fn pareto_svg(points: &[ModelPoint]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT, "Accuracy over latency");
    svg.text(Text::at(20.0, 30.0, 15.0), "Accuracy over latency");
    let (axes, scale) = axes(points);
    let title = "Median time for one picture, ms";
    axes.draw(&mut svg, scale, Scale::Percent, title);
    let middle = axes.area.y + axes.area.height / 2.0;
    let title = Text::at(17.0, middle, 12.0)
        .anchor(Anchor::Middle)
        .rotate(-90.0);
    svg.text(title.ink(Ink::MUTED), "Test accuracy");
    draw_legend(&mut svg, axes.area.right(), points);
    let place = |point: &ModelPoint| axes.point(across(point.latency_ms, scale), point.accuracy);
    let best = points.iter().map(|p| p.accuracy).fold(f64::MIN, f64::max);
    let level = draw_level(&mut svg, &axes, best - 0.01);
    let steps = draw_front(&mut svg, &axes, points, place);
    for point in points {
        draw_marker(&mut svg, place(point), point);
    }
    let lines = steps.windows(2).map(|ends| thin(ends[0], ends[1]));
    draw_names(&mut svg, &axes, points, place, lines.chain(level).collect());
    svg.finish()
}

/// [`pareto_svg`] as a PNG.
///
/// # Errors
/// When it can't be drawn, for want of memory.
pub fn pareto_png(points: &[ModelPoint]) -> Result<Vec<u8>> {
    raster::png(&pareto_svg(points))
}

fn across(latency: f64, scale: Scale) -> f64 {
    match scale {
        Scale::Log10 => latency.max(1e-6).log10(),
        _ => latency,
    }
}

fn axes(points: &[ModelPoint]) -> (Axes, Scale) {
    let bounds = |value: fn(&ModelPoint) -> f64| {
        let values = points.iter().map(value);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (fast, slow) = bounds(|point| point.latency_ms);
    let (low, high) = bounds(|point| point.accuracy);
    let scale = match slow > LINEAR * fast {
        true => Scale::Log10,
        false => Scale::Number,
    };
    let x = match scale {
        _ if points.is_empty() => (0.0, 1.0),
        Scale::Log10 => {
            let (fast, slow) = (across(fast, scale), across(slow, scale));
            let margin = 0.08 * (slow - fast);
            (fast - margin, slow + margin)
        }
        _ => (0.0, 1.12 * slow),
    };
    let area = Rect {
        x: 66.0,
        y: 56.0,
        width: WIDTH - 66.0 - 24.0,
        height: HEIGHT - 56.0 - 52.0,
    };
    let y = accuracies(low, high);
    (Axes { area, x, y }, scale)
}

/// The accuracies at the bottom and the top: round numbers around low..=high, with room for names.
fn accuracies(low: f64, high: f64) -> (f64, f64) {
    if low > high {
        return (0.0, 1.0);
    }
    let half = 0.6 * (high - low).max(NARROWEST);
    let middle = (low + high) / 2.0;
    let step = round_step(half / 4.0);
    let bottom = (((middle - half) / step + 1e-9).floor() * step).max(0.0);
    let top = (((middle + half) / step - 1e-9).ceil() * step).min(1.0);
    (bottom, top.max(bottom + step))
}

fn marker(point: &ModelPoint) -> (Ink, Shape) {
    let known = MARKERS.iter().find(|(name, ..)| *name == point.precision);
    let (_, ink, shape) = known.unwrap_or(&MARKERS[0]);
    (*ink, *shape)
}

fn draw_marker(svg: &mut Svg, at: (f64, f64), point: &ModelPoint) {
    let (ink, shape) = marker(point);
    shape.draw(svg, at, RADIUS, ink);
    if !point.on_front {
        shape.draw(svg, at, RADIUS - 2.0, Ink::PAPER);
    }
}

impl Shape {
    fn draw(self, svg: &mut Svg, (x, y): (f64, f64), radius: f64, ink: Ink) {
        match self {
            Self::Circle => svg.circle((x, y), radius, ink),
            Self::Square => {
                let r = 0.9 * radius;
                let corners = [
                    (x - r, y - r),
                    (x + r, y - r),
                    (x + r, y + r),
                    (x - r, y + r),
                ];
                svg.polygon(&corners, ink);
            }
            Self::Diamond => {
                let r = 1.25 * radius;
                svg.polygon(&[(x, y - r), (x + r, y), (x, y + r), (x - r, y)], ink);
            }
        }
    }
}

/// The precisions that there are, from right to left.
fn draw_legend(svg: &mut Svg, mut right: f64, points: &[ModelPoint]) {
    for (name, ink, shape) in MARKERS.iter().rev() {
        if points.iter().all(|point| point.precision != *name) {
            continue;
        }
        let text = Text::at(right, 30.0, 12.0).anchor(Anchor::End);
        svg.text(text.ink(Ink::MUTED), name);
        right -= font::width(name, 12.0) + 12.0;
        shape.draw(svg, (right, 26.0), 5.0, *ink);
        right -= 20.0;
    }
}

/// Draws the line a point below the best, and gives the areas of the line and of what it says.
fn draw_level(svg: &mut Svg, axes: &Axes, accuracy: f64) -> Vec<Rect> {
    if !(axes.y.0..axes.y.1).contains(&accuracy) {
        return Vec::new();
    }
    let (left, y) = axes.point(axes.x.0, accuracy);
    let (from, to) = ((left, y), (axes.area.right(), y));
    svg.line(&[from, to], Ink::MUTED, 1.0, true);
    let name = "one point below the best";
    let text = Text::at(to.0 - 4.0, y + 14.0, NAME).anchor(Anchor::End);
    svg.text(text.ink(Ink::MUTED), name);
    let width = font::width(name, NAME) + 4.0;
    let words = Rect {
        x: to.0 - width,
        y,
        width,
        height: NAME + 6.0,
    };
    vec![thin(from, to), words]
}

/// What a line along an axis takes up.
fn thin(from: (f64, f64), to: (f64, f64)) -> Rect {
    Rect {
        x: from.0.min(to.0) - 1.0,
        y: from.1.min(to.1) - 1.0,
        width: (from.0 - to.0).abs() + 2.0,
        height: (from.1 - to.1).abs() + 2.0,
    }
}

/// Draws the line of steps, and gives its corners.
fn draw_front(
    svg: &mut Svg,
    axes: &Axes,
    points: &[ModelPoint],
    place: impl Fn(&ModelPoint) -> (f64, f64),
) -> Vec<(f64, f64)> {
    let mut front: Vec<(f64, f64)> = points.iter().filter(|p| p.on_front).map(place).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps = Vec::new();
    let mut height = axes.area.bottom();
    for (x, y) in front {
        steps.extend([(x, height), (x, y)]);
        height = y;
    }
    if !steps.is_empty() {
        steps.push((axes.area.right(), height));
        svg.line(&steps, Ink::MUTED, 1.2, false);
    }
    steps
}

/// Writes the networks' names beside their markers, those on the front first, and each where it
/// covers nothing of what is `taken`; one without such a place is left out.
fn draw_names(
    svg: &mut Svg,
    axes: &Axes,
    points: &[ModelPoint],
    place: impl Fn(&ModelPoint) -> (f64, f64),
    mut taken: Vec<Rect>,
) {
    let around = |(x, y): (f64, f64)| Rect {
        x: x - RADIUS - 2.0,
        y: y - RADIUS - 2.0,
        width: 2.0 * RADIUS + 4.0,
        height: 2.0 * RADIUS + 4.0,
    };
    taken.extend(points.iter().map(|point| around(place(point))));
    let mut ordered: Vec<&ModelPoint> = points.iter().collect();
    ordered.sort_by_key(|point| !point.on_front);
    for point in ordered {
        let name = shown(&point.network);
        let width = font::width(&name, NAME);
        let spots = spots(place(point), width);
        let is_free = |spot: &Rect| {
            let inside = spot.x >= axes.area.x
                && spot.right() <= axes.area.right()
                && spot.y >= axes.area.y - 12.0
                && spot.bottom() <= axes.area.bottom();
            inside && !taken.iter().any(|other| overlap(spot, other))
        };
        let Some(spot) = spots.into_iter().find(is_free) else {
            continue;
        };
        let ink = if point.on_front {
            Ink::TEXT
        } else {
            Ink::MUTED
        };
        svg.text(Text::at(spot.x, spot.bottom() - 3.0, NAME).ink(ink), &name);
        taken.push(spot);
    }
}

/// Where a name may stand by its marker, the best place first.
fn spots((x, y): (f64, f64), width: f64) -> [Rect; 8] {
    let height = NAME + 3.0;
    let (right, left) = (x + RADIUS + 4.0, x - RADIUS - 4.0 - width);
    let (above, below) = (y - RADIUS - 3.0 - height, y + RADIUS + 3.0);
    let centre = x - width / 2.0;
    let beside = y - height / 2.0;
    let corners = [
        (right, beside),
        (left, beside),
        (centre, above),
        (centre, below),
        (right, above),
        (left, above),
        (right, below),
        (left, below),
    ];
    corners.map(|(x, y)| Rect {
        x,
        y,
        width,
        height,
    })
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(network: &str, precision: &str, latency_ms: f64, accuracy: f64) -> ModelPoint {
        ModelPoint {
            network: network.into(),
            precision: precision.into(),
            latency_ms,
            accuracy,
            on_front: false,
        }
    }

    #[test]
    fn latencies_far_apart_have_a_logarithmic_axis() {
        let near = [point("a", "int8", 2.0, 0.9), point("b", "int8", 4.0, 0.9)];
        let far = [point("a", "int8", 2.0, 0.9), point("b", "int8", 40.0, 0.9)];
        assert_eq!(axes(&near).1, Scale::Number);
        let (axes, scale) = axes(&far);
        assert_eq!(scale, Scale::Log10);
        // All markers lie within.
        assert!(axes.x.0 < 2f64.log10() && 40f64.log10() < axes.x.1);
    }

    #[test]
    fn the_axis_of_accuracies_is_no_magnifying_glass() {
        let (bottom, top) = accuracies(0.97, 0.98);
        assert!(top - bottom >= NARROWEST && top <= 1.0, "{bottom} {top}");
        assert!(bottom < 0.97 && top > 0.98);
        let (bottom, top) = accuracies(0.0, 0.02);
        assert!(bottom == 0.0 && top > 0.02, "{bottom} {top}");
        assert_eq!(accuracies(f64::INFINITY, f64::NEG_INFINITY), (0.0, 1.0));
        assert_eq!(accuracies(1.0, 1.0).1, 1.0);
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let crowd: Vec<ModelPoint> = (0..30)
            .map(|_| point("resnet18", "int8", 2.0, 0.9))
            .collect();
        let written = pareto_svg(&crowd).matches("resnet18").count();
        // In eight places around the one marker some overlap.
        assert!((3..=8).contains(&written), "{written}");
        assert!(pareto_svg(&[]).contains("</svg>"));
    }
}

//! The surface a picture is drawn on: filled and stroked vector shapes, gradients, defocus.

use resvg::tiny_skia::{
    Color, FillRule, FilterQuality, GradientStop, LineCap, LinearGradient, Paint, Path,
    PathBuilder, Pattern, Pixmap, Point, RadialGradient, Rect, Shader, SpreadMode, Stroke,
    Transform,
};

use super::dice::Dice;
use super::light::Light;

pub(super) struct Canvas {
    pub pixmap: Pixmap,
    pub dice: Dice,
    pub light: Light,
}

impl Canvas {
    pub(super) fn size(&self) -> f32 {
        self.pixmap.width() as f32
    }

    pub(super) fn fill(&mut self, path: &Path, at: Transform, shader: Shader<'_>) {
        let paint = Paint {
            shader,
            ..Paint::default()
        };
        self.pixmap
            .fill_path(path, &paint, FillRule::Winding, at, None);
    }

    /// `width` is in the units of the path.
    pub(super) fn stroke(&mut self, path: &Path, at: Transform, width: f32, colour: Color) {
        let paint = Paint {
            shader: flat(colour),
            ..Paint::default()
        };
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            ..Stroke::default()
        };
        self.pixmap.stroke_path(path, &paint, &stroke, at, None);
    }

    pub(super) fn circle(
        &mut self,
        at: Transform,
        (x, y): (f32, f32),
        radius: f32,
        shader: Shader<'_>,
    ) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&path, at, shader);
        }
    }

    /// A curve from `from` to `to`, drawn to `through`.
    pub(super) fn curve(
        &mut self,
        at: Transform,
        [from, through, to]: [(f32, f32); 3],
        width: f32,
        colour: Color,
    ) {
        let mut path = PathBuilder::new();
        path.move_to(from.0, from.1);
        path.quad_to(through.0, through.1, to.0, to.1);
        if let Some(path) = path.finish() {
            self.stroke(&path, at, width, colour);
        }
    }

    /// Blurs what is drawn so far by halving it `octaves` times and enlarging it again.
    pub(super) fn defocus(&mut self, octaves: u32) {
        let sharp = self.pixmap.clone();
        self.coarsely(octaves, |canvas| cover(&mut canvas.pixmap, &sharp));
    }

    /// Lets `draw` fill the picture at a 2^`octaves`-th of its size and enlarges the result:
    /// soft, and quick.
    pub(super) fn coarsely(&mut self, octaves: u32, draw: impl FnOnce(&mut Self)) {
        let full = self.pixmap.width();
        let Some(small) = coarse(full, octaves) else {
            return;
        };
        self.pixmap = small;
        draw(self);
        // Doubling step by step is smoother than one large bilinear step.
        for octave in (0..octaves).rev() {
            if let Some(mut larger) = coarse(full, octave) {
                cover(&mut larger, &self.pixmap);
                self.pixmap = larger;
            }
        }
    }
}

fn coarse(side: u32, octaves: u32) -> Option<Pixmap> {
    let side = (side >> octaves).max(1);
    Pixmap::new(side, side)
}

/// Fills a square `target` with `source`, scaled.
fn cover(target: &mut Pixmap, source: &Pixmap) {
    let side = target.width() as f32;
    let scale = side / source.width() as f32;
    let paint = Paint {
        shader: Pattern::new(
            source.as_ref(),
            SpreadMode::Pad,
            FilterQuality::Bilinear,
            1.0,
            Transform::from_scale(scale, scale),
        ),
        ..Paint::default()
    };
    if let Some(all) = Rect::from_xywh(0.0, 0.0, side, side) {
        target.fill_rect(all, &paint, Transform::identity(), None);
    }
}

pub(super) fn flat(colour: Color) -> Shader<'static> {
    Shader::SolidColor(colour)
}

/// A gradient along the line between two points.
pub(super) fn linear(from: (f32, f32), to: (f32, f32), stops: &[(f32, Color)]) -> Shader<'static> {
    LinearGradient::new(
        Point::from_xy(from.0, from.1),
        Point::from_xy(to.0, to.1),
        gradient(stops),
        SpreadMode::Pad,
        Transform::identity(),
    )
    .unwrap_or(flat(Color::TRANSPARENT))
}

/// A gradient from a centre outwards.
pub(super) fn radial(centre: (f32, f32), radius: f32, stops: &[(f32, Color)]) -> Shader<'static> {
    let centre = Point::from_xy(centre.0, centre.1);
    RadialGradient::new(
        centre,
        0.0,
        centre,
        radius,
        gradient(stops),
        SpreadMode::Pad,
        Transform::identity(),
    )
    .unwrap_or(flat(Color::TRANSPARENT))
}

fn gradient(stops: &[(f32, Color)]) -> Vec<GradientStop> {
    stops
        .iter()
        .map(|&(position, colour)| GradientStop::new(position, colour))
        .collect()
}

//! Stems and leaves.

use resvg::tiny_skia::{Point, Transform};

use super::canvas::Canvas;
use super::palette::{Colour, Tint};
use super::petal::Petal;
use super::scene::Head;

/// A stem as a quadratic curve from the bloom to its foot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stem([(f32, f32); 3]);

impl Stem {
    /// From the bloom, drawn to the second point, to the foot; in pixels.
    pub(super) const fn new(line: [(f32, f32); 3]) -> Self {
        Self(line)
    }

    /// The place at `t` (0 at the bloom, 1 at the foot), turned so that +x points to the bloom.
    pub(super) fn place(&self, t: f32) -> Transform {
        let [a, b, c] = self.0;
        let s = 1.0 - t;
        let part = |a: f32, b: f32, c: f32| s * s * a + 2.0 * s * t * b + t * t * c;
        let slope = |a: f32, b: f32, c: f32| 2.0 * s * (a - b) + 2.0 * t * (b - c);
        let heading = slope(a.1, b.1, c.1).atan2(slope(a.0, b.0, c.0));
        Transform::from_translate(part(a.0, b.0, c.0), part(a.1, b.1, c.1))
            .pre_rotate(heading.to_degrees())
    }
}

impl Canvas {
    /// A stem of `width` bloom radii from a point of the bloom, `top`, to the head's foot.
    pub(super) fn stem(
        &mut self,
        head: &Head,
        top: (f32, f32),
        width: f32,
        colour: Colour,
    ) -> Stem {
        let mut from = Point::from_xy(top.0, top.1);
        head.at.map_point(&mut from);
        let bow = self.dice.spread(0.3) * head.radius;
        let through = (
            (from.x + head.foot.0) / 2.0 + bow,
            (from.y + head.foot.1) / 2.0,
        );
        let stem = Stem([(from.x, from.y), through, head.foot]);
        self.tube(stem, width * head.radius, colour);
        stem
    }

    /// A stem along any curve, `width` in pixels.
    pub(super) fn tube(&mut self, Stem(line): Stem, width: f32, colour: Colour) {
        let still = Transform::identity();
        self.curve(still, line, width, colour.lit(0.6).alpha(1.0));
        let (lx, ly) = self.light.towards;
        let lit = Transform::from_translate(lx * width * 0.14, ly * width * 0.14);
        self.curve(lit, line, width * 0.66, colour.alpha(1.0));
        self.curve(lit, line, width * 0.25, colour.lit(1.25).alpha(0.7));
    }

    /// A leaf in pixels from `at`, its tip at +x.
    pub(super) fn leaf(&mut self, leaf: &Petal, at: Transform, colour: Colour) {
        let tint = Tint {
            edge: colour.lit(1.12),
            ..Tint::plain(colour)
        };
        self.petal(leaf, at, &tint);
        let tip = leaf.point(0.92, 0.0);
        let through = (leaf.length * 0.5, 0.0);
        let rib = colour.lit(1.35).alpha(0.6);
        self.curve(at, [(0.0, 0.0), through, tip], leaf.width * 0.05, rib);
    }
}

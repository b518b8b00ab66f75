//! The petal: one parametric outline, shaded and veined, that every bloom and leaf is built of.

use resvg::tiny_skia::{Path, PathBuilder, Transform};

use super::canvas::{Canvas, flat, linear};
use super::palette::{BLACK, Tint, WHITE};

/// A petal from the origin along +x. Its half width at `t` of its length is that of the curve
/// `t^base * (1 - t)^tip`, scaled to `width`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Petal {
    pub length: f32,
    pub width: f32,
    /// Small for a broad base, large for a narrow one.
    pub base: f32,
    /// Small for a blunt tip, 1 and more for a pointed one.
    pub tip: f32,
    /// How far the tip swings to +y, as a fraction of the length.
    pub bend: f32,
    /// Waviness of the rim, as a fraction of the width.
    pub ruffle: f32,
    /// Veins beside the middle one.
    pub veins: u32,
}

impl Petal {
    const STEPS: usize = 16;

    pub(super) const fn new(length: f32, width: f32, base: f32, tip: f32) -> Self {
        Self {
            length,
            width,
            base,
            tip,
            bend: 0.0,
            ruffle: 0.0,
            veins: 0,
        }
    }

    pub(super) const fn bend(self, bend: f32) -> Self {
        Self { bend, ..self }
    }

    pub(super) const fn ruffle(self, ruffle: f32) -> Self {
        Self { ruffle, ..self }
    }

    pub(super) const fn veins(self, veins: u32) -> Self {
        Self { veins, ..self }
    }

    /// The point at `t` of the length and `across` (-1..=1) of the width.
    pub(super) fn point(&self, t: f32, across: f32) -> (f32, f32) {
        let widest = self.base / (self.base + self.tip);
        let profile = |t: f32| t.powf(self.base) * (1.0 - t).powf(self.tip);
        let half = self.width / 2.0 * profile(t) / profile(widest);
        (
            t * self.length,
            self.bend * self.length * t * t + half * across,
        )
    }

    pub(super) fn outline(&self, phase: f32) -> Option<Path> {
        let mut rim = Vec::with_capacity(2 * Self::STEPS);
        for step in 0..2 * Self::STEPS {
            let turn = std::f32::consts::PI * step as f32 / Self::STEPS as f32;
            let t = (1.0 - turn.cos()) / 2.0;
            let wave = (turn * 7.0 + phase).sin() + (turn * 11.0 + 2.0 * phase).sin();
            let side = if step < Self::STEPS { 1.0 } else { -1.0 };
            let (x, y) = self.point(t, side * (1.0 + self.ruffle * wave));
            rim.push((x * (1.0 + self.ruffle * 0.5 * wave * t), y));
        }
        smooth(&rim)
    }
}

/// A closed curve that follows `points`.
fn smooth(points: &[(f32, f32)]) -> Option<Path> {
    let middle = |a: (f32, f32), b: (f32, f32)| ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
    let (first, last) = (*points.first()?, *points.last()?);
    let start = middle(last, first);
    let mut path = PathBuilder::new();
    path.move_to(start.0, start.1);
    for (i, &point) in points.iter().enumerate() {
        let next = points.get(i + 1).copied().unwrap_or(first);
        let end = middle(point, next);
        path.quad_to(point.0, point.1, end.0, end.1);
    }
    path.close();
    path.finish()
}

impl Canvas {
    /// A petal with its shadow, its curvature in the light, veins and a bright rim.
    pub(super) fn petal(&mut self, petal: &Petal, at: Transform, tint: &Tint) {
        let phase = self.dice.between(0.0, 6.3);
        let Some(path) = petal.outline(phase) else {
            return;
        };
        let (lx, ly) = self.light.towards;
        let (sx, sy) = at.get_scale();
        let depth = 0.035 * sx.min(sy) * petal.length.min(petal.width);
        // Of a small petal's finish nothing would be seen.
        let fine = petal.width * sx.min(sy) > 7.0;
        let shadows: &[(f32, f32)] = if fine {
            &[(2.0, 0.13), (1.0, 0.13)]
        } else {
            &[(1.5, 0.2)]
        };
        for (shift, alpha) in shadows {
            let under = at.post_translate(-lx * depth * shift, -ly * depth * shift);
            self.fill(&path, under, flat(BLACK.alpha(*alpha)));
        }
        let norm = at.sx.hypot(at.ky).max(1e-6);
        let facing = (at.sx * lx + at.ky * ly) / norm;
        let tint = tint.lit(1.0 + 0.13 * facing + self.dice.spread(0.07));
        let along = linear(
            (0.0, 0.0),
            (petal.length, petal.bend * petal.length),
            &[
                (0.0, tint.heart.alpha(1.0)),
                (tint.reach, tint.body.alpha(1.0)),
                (1.0, tint.edge.alpha(1.0)),
            ],
        );
        self.fill(&path, at, along);
        if !fine {
            return;
        }
        self.curvature(petal, &path, at);
        self.veins(petal, at, &tint);
        let rim = petal.width.min(petal.length) * 0.03;
        self.stroke(&path, at, rim, tint.edge.lit(1.15).alpha(0.45));
    }

    fn curvature(&mut self, petal: &Petal, path: &Path, at: Transform) {
        let (lx, ly) = self.light.towards;
        let norm = at.kx.hypot(at.sy).max(1e-6);
        let lit = (at.kx * lx + at.sy * ly) / norm;
        let half = petal.width / 2.0;
        let offset = petal.bend * petal.length * 0.3;
        let across = linear(
            (0.0, offset - half * lit.signum()),
            (0.0, offset + half * lit.signum()),
            &[
                (0.0, BLACK.alpha(0.08 + 0.2 * lit.abs())),
                (0.5, BLACK.alpha(0.0)),
                (0.51, WHITE.alpha(0.0)),
                (1.0, WHITE.alpha(0.05 + 0.16 * lit.abs())),
            ],
        );
        self.fill(path, at, across);
    }

    fn veins(&mut self, petal: &Petal, at: Transform, tint: &Tint) {
        if petal.veins == 0 {
            return;
        }
        let colour = tint.body.mix(tint.heart, 0.3).lit(0.62).alpha(0.25);
        for vein in 0..petal.veins {
            let across = if petal.veins == 1 {
                0.0
            } else {
                1.5 * vein as f32 / (petal.veins - 1) as f32 - 0.75
            };
            let line = [0.05, 0.45, 0.88].map(|t| petal.point(t, across));
            // The curve passes its middle point at half the control point's distance.
            let through = (
                2.0 * line[1].0 - (line[0].0 + line[2].0) / 2.0,
                2.0 * line[1].1 - (line[0].1 + line[2].1) / 2.0,
            );
            let width = 0.016 * petal.width.max(petal.length * 0.4);
            self.curve(at, [line[0], through, line[2]], width, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_has_the_stated_width_where_it_is_widest() {
        let petal = Petal::new(2.0, 0.5, 1.0, 3.0).bend(0.1);
        assert_eq!(petal.point(0.25, 0.0), (0.5, 0.0125));
        let (_, y) = petal.point(0.25, 1.0);
        assert!((y - 0.2625).abs() < 1e-6);
        assert_eq!(petal.point(1.0, 1.0), (2.0, 0.2));
    }
}

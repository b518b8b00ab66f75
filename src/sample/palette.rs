//! Colours of petals, leaves and backgrounds, shared by all kinds so that colour tells little.

use resvg::tiny_skia::Color;

use super::dice::Dice;

/// An sRGB colour, each part in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Colour {
    r: f32,
    g: f32,
    b: f32,
}

pub(super) const BLACK: Colour = Colour::new(0.0, 0.0, 0.0);
pub(super) const WHITE: Colour = Colour::new(1.0, 1.0, 1.0);

impl Colour {
    pub(super) const fn new(r: f32, g: f32, b: f32) -> Self {
        Self { r, g, b }
    }

    /// From hue in degrees, saturation and value in 0..=1.
    pub(super) fn hsv(hue: f32, saturation: f32, value: f32) -> Self {
        let part = |n: f32| {
            let k = (n + hue.rem_euclid(360.0) / 60.0) % 6.0;
            value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        Self::new(part(5.0), part(3.0), part(1.0))
    }

    /// `self` at `t` = 0, `other` at `t` = 1.
    pub(super) fn mix(self, other: Self, t: f32) -> Self {
        let part = |a: f32, b: f32| a + (b - a) * t;
        Self::new(
            part(self.r, other.r),
            part(self.g, other.g),
            part(self.b, other.b),
        )
    }

    /// Brighter above 1, darker below.
    pub(super) fn lit(self, factor: f32) -> Self {
        if factor > 1.0 {
            self.mix(WHITE, factor - 1.0)
        } else {
            self.mix(BLACK, 1.0 - factor)
        }
    }

    pub(super) fn alpha(self, alpha: f32) -> Color {
        let part = |value: f32| value.clamp(0.0, 1.0);
        Color::from_rgba(part(self.r), part(self.g), part(self.b), part(alpha))
            .unwrap_or(Color::BLACK)
    }
}

/// A family of petal colours around a hue, saturation and value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family(f32, f32, f32);

pub(super) const IVORY: Family = Family(45.0, 0.07, 0.95);
pub(super) const CREAM: Family = Family(50.0, 0.28, 0.95);
pub(super) const YELLOW: Family = Family(52.0, 0.82, 0.96);
pub(super) const GOLD: Family = Family(42.0, 0.88, 0.95);
pub(super) const ORANGE: Family = Family(26.0, 0.85, 0.94);
pub(super) const CORAL: Family = Family(10.0, 0.62, 0.92);
pub(super) const RED: Family = Family(357.0, 0.86, 0.82);
pub(super) const PINK: Family = Family(340.0, 0.42, 0.94);
pub(super) const MAGENTA: Family = Family(322.0, 0.68, 0.80);
pub(super) const LILAC: Family = Family(280.0, 0.38, 0.86);
pub(super) const VIOLET: Family = Family(265.0, 0.60, 0.68);
pub(super) const BLUE: Family = Family(242.0, 0.55, 0.78);

impl Family {
    pub(super) fn sample(self, dice: &mut Dice) -> Colour {
        Colour::hsv(
            self.0 + dice.spread(7.0),
            (self.1 * dice.between(0.8, 1.2)).min(0.95),
            (self.2 * dice.between(0.88, 1.06)).min(1.0),
        )
    }
}

/// A leaf's or stem's green.
pub(super) fn green(dice: &mut Dice) -> Colour {
    Colour::hsv(
        dice.between(82.0, 135.0),
        dice.between(0.38, 0.68),
        dice.between(0.30, 0.56),
    )
}

/// How a petal is coloured from its base to its tip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tint {
    pub heart: Colour,
    pub body: Colour,
    pub edge: Colour,
    /// Where along the petal, in 0..1, the heart has given way to the body.
    pub reach: f32,
}

impl Tint {
    /// A petal colour out of `families`, sometimes with an edge or heart of another colour.
    pub(super) fn sample(dice: &mut Dice, families: &[Family]) -> Self {
        let body = dice.pick(families).sample(dice);
        let edge = match dice.below(4) {
            0 => body.mix(dice.pick(families).sample(dice), 0.6),
            1 => body.lit(0.86),
            _ => body.lit(1.18),
        };
        let heart = match dice.below(3) {
            0 => body.mix(Colour::hsv(55.0, 0.5, 0.9), 0.55),
            _ => body.lit(dice.between(0.6, 0.85)),
        };
        Self {
            heart,
            body,
            edge,
            reach: dice.between(0.3, 0.55),
        }
    }

    /// One colour, darker at the base.
    pub(super) fn plain(colour: Colour) -> Self {
        Self {
            heart: colour.lit(0.78),
            body: colour,
            edge: colour.lit(1.1),
            reach: 0.4,
        }
    }

    pub(super) fn lit(self, factor: f32) -> Self {
        Self {
            heart: self.heart.lit(factor),
            body: self.body.lit(factor),
            edge: self.edge.lit(factor),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_are_where_they_belong() {
        assert_eq!(Colour::hsv(0.0, 1.0, 1.0), Colour::new(1.0, 0.0, 0.0));
        assert_eq!(Colour::hsv(120.0, 1.0, 0.5), Colour::new(0.0, 0.5, 0.0));
        assert_eq!(Colour::hsv(-120.0, 0.5, 1.0), Colour::new(0.5, 0.5, 1.0));
        assert_eq!(Colour::hsv(60.0, 0.0, 0.25), Colour::new(0.25, 0.25, 0.25));
    }
}

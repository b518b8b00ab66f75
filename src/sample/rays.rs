//! Composite flowers: the sunflower, the daisy and the dandelion with its seed head.

use resvg::tiny_skia::Transform;

use super::canvas::{Canvas, flat, radial};
use super::palette::{self, BLACK, Colour, Tint, WHITE};
use super::petal::Petal;
use super::scene::Head;

const GOLDEN_ANGLE: f32 = 137.508;

/// Two rows of pointed rays around a large disc of seeds.
pub(super) fn sunflower(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice);
    let stem = canvas.stem(head, (0.0, 0.0), 0.13, green);
    for side in [-1.0, 1.0] {
        let length = head.radius * canvas.dice.between(0.8, 1.2);
        let leaf = Petal::new(length, length * 0.62, 0.45, 0.95).veins(5);
        let t = canvas.dice.between(0.35, 0.8);
        canvas.leaf(&leaf, stem.place(t).pre_rotate(side * 65.0), green);
    }
    let rays = canvas.dice.count(15, 22);
    let length = canvas.dice.between(0.94, 1.04);
    for (row, reach) in [(0.0, length), (0.5, length * 0.92)] {
        let petal = Petal::new(reach, 0.26, 0.75, 0.85).veins(3);
        ring(canvas, head.at, &petal, rays, row, &head.tint);
    }
    let disc = canvas.dice.between(0.44, 0.54);
    let seed = Colour::hsv(
        canvas.dice.between(18.0, 40.0),
        canvas.dice.between(0.5, 0.75),
        canvas.dice.between(0.2, 0.42),
    );
    let stops = [
        (0.0, seed.lit(0.9).alpha(1.0)),
        (0.45, seed.lit(0.5).alpha(1.0)),
        (0.85, seed.alpha(1.0)),
        (1.0, seed.lit(0.55).alpha(1.0)),
    ];
    canvas.circle(head.at, (0.0, 0.0), disc, radial((0.0, 0.0), disc, &stops));
    florets(canvas, head.at, disc, 210, seed.lit(1.3));
}

/// Many narrow blunt rays around a small disc.
pub(super) fn daisy(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice);
    let stem = canvas.stem(head, (0.0, 0.0), 0.06, green);
    let leaf = Petal::new(head.radius * 0.7, head.radius * 0.18, 1.4, 0.5);
    for side in [-1.0, 1.0] {
        let t = canvas.dice.between(0.55, 0.95);
        canvas.leaf(&leaf, stem.place(t).pre_rotate(side * 40.0), green);
    }
    let rays = canvas.dice.count(15, 24);
    let petal = Petal::new(1.0, 3.1 / rays as f32, 0.7, 0.28).veins(2);
    ring(canvas, head.at, &petal, rays, 0.0, &head.tint);
    if canvas.dice.chance(0.4) {
        let inner = Petal {
            length: 0.88,
            ..petal
        };
        ring(canvas, head.at, &inner, rays, 0.5, &head.tint);
    }
    let disc = canvas.dice.between(0.2, 0.27);
    let pollen = match canvas.dice.below(4) {
        0 => Colour::hsv(70.0, 0.6, 0.7),
        1 => Colour::hsv(28.0, 0.75, 0.62),
        _ => Colour::hsv(46.0, 0.88, 0.92),
    };
    let stops = [
        (0.0, pollen.lit(1.15).alpha(1.0)),
        (0.7, pollen.alpha(1.0)),
        (1.0, pollen.lit(0.6).alpha(1.0)),
    ];
    canvas.circle(head.at, (0.0, 0.0), disc * 1.12, flat(BLACK.alpha(0.22)));
    canvas.circle(head.at, (0.0, 0.0), disc, radial((0.0, 0.0), disc, &stops));
    florets(canvas, head.at, disc, 60, pollen.lit(1.25));
}

/// A dense cushion of thin rays, or the globe of seeds that it becomes.
pub(super) fn dandelion(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice);
    canvas.stem(
        head,
        (0.0, 0.0),
        0.1,
        green.mix(Colour::new(0.6, 0.4, 0.3), 0.3),
    );
    for side in [-1.0, 1.0, -0.5, 0.6] {
        let length = head.radius * canvas.dice.between(1.0, 1.6);
        let leaf = Petal::new(length, length * 0.24, 1.3, 0.7).ruffle(0.16);
        let at = Transform::from_translate(head.foot.0, head.foot.1);
        canvas.leaf(&leaf, at.pre_rotate(-90.0 + 62.0 * side), green);
    }
    if canvas.dice.chance(0.3) {
        return seed_head(canvas, head);
    }
    let rays = 220;
    for ray in 0..rays {
        let inwards = ray as f32 / rays as f32;
        let reach = (1.0 - 0.86 * inwards.powf(1.1)) * canvas.dice.between(0.9, 1.05);
        let petal = Petal::new(reach, 0.072, 0.9, 0.2);
        let turn = ray as f32 * GOLDEN_ANGLE + canvas.dice.spread(8.0);
        let tint = head
            .tint
            .lit(1.02 - 0.22 * (1.0 - inwards) * canvas.dice.between(0.2, 1.0));
        canvas.petal(&petal, head.at.pre_rotate(turn), &tint);
    }
}

fn seed_head(canvas: &mut Canvas, head: &Head) {
    let glow = [
        (0.0, WHITE.alpha(0.42)),
        (0.75, WHITE.alpha(0.16)),
        (1.0, WHITE.alpha(0.05)),
    ];
    canvas.circle(head.at, (0.0, 0.0), 1.0, radial((0.0, 0.0), 1.0, &glow));
    let silk = Colour::new(0.95, 0.94, 0.9);
    for seed in 0..130 {
        let out = (seed as f32 / 130.0).sqrt();
        let reach = 0.25 + 0.68 * out * canvas.dice.between(0.92, 1.05);
        let at = head.at.pre_rotate(seed as f32 * GOLDEN_ANGLE);
        canvas.curve(
            at,
            [(0.1, 0.0), (reach / 2.0, 0.02), (reach, 0.0)],
            0.009,
            silk.alpha(0.6),
        );
        for hair in -3..=3 {
            let angle = (hair as f32 * 24.0).to_radians();
            let tip = (reach + 0.14 * angle.cos(), 0.14 * angle.sin());
            canvas.curve(
                at,
                [(reach, 0.0), (reach + 0.05, 0.0), tip],
                0.008,
                silk.alpha(0.5),
            );
        }
    }
    let core = Colour::new(0.36, 0.27, 0.18);
    canvas.circle(head.at, (0.0, 0.0), 0.15, flat(core.alpha(1.0)));
    florets(canvas, head.at, 0.2, 40, core.lit(0.7));
}

/// `count` petals evenly around the centre, `phase` of a step on, each a little its own way.
fn ring(canvas: &mut Canvas, at: Transform, petal: &Petal, count: u32, phase: f32, tint: &Tint) {
    let step = 360.0 / count as f32;
    for i in 0..count {
        let turn = (i as f32 + phase) * step + canvas.dice.spread(step * 0.3);
        let petal = Petal {
            length: petal.length * canvas.dice.between(0.92, 1.04),
            width: petal.width * canvas.dice.between(0.88, 1.1),
            bend: canvas.dice.spread(0.1),
            ..*petal
        };
        canvas.petal(&petal, at.pre_rotate(turn), tint);
    }
}

/// `count` dots in a disc, at golden-angle steps as in a real one, with their shadows.
fn florets(canvas: &mut Canvas, at: Transform, disc: f32, count: u32, colour: Colour) {
    let dot = 0.62 * disc / (count as f32).sqrt();
    for i in 0..count {
        let out = disc * ((i as f32 + 0.5) / count as f32).sqrt() * 0.97;
        let angle = (i as f32 * GOLDEN_ANGLE).to_radians();
        let place = (out * angle.cos(), out * angle.sin());
        let shade = canvas.dice.between(0.65, 1.05);
        canvas.circle(
            at,
            (place.0 + dot * 0.4, place.1 + dot * 0.4),
            dot,
            flat(BLACK.alpha(0.35)),
        );
        canvas.circle(at, place, dot, flat(colour.lit(shade).alpha(0.85)));
    }
}

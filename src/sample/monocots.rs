//! Blooms in threes: the lily, the iris and the orchid.

use resvg::tiny_skia::Transform;

use super::canvas::{Canvas, flat};
use super::palette::{self, Colour, Tint, WHITE};
use super::petal::Petal;
use super::scene::Head;
use super::stem::Stem;

/// Six recurved pointed tepals, long stamens with turned anthers and a pistil.
pub(super) fn lily(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice);
    let stem = canvas.stem(head, (0.0, 0.0), 0.08, green);
    for i in 0..6 {
        let side = if i % 2 == 0 { 1.0 } else { -1.0 };
        let leaf = Petal::new(head.radius * 0.8, head.radius * 0.14, 0.5, 0.9).bend(side * 0.1);
        let at = stem.place(0.3 + 0.11 * i as f32);
        canvas.leaf(&leaf, at.pre_rotate(side * 55.0), green);
    }
    let curl = canvas.dice.between(0.04, 0.16) * canvas.dice.sign();
    let spots = canvas.dice.chance(0.6);
    for (row, width) in [(0.0, 0.36), (0.5, 0.48)] {
        for i in 0..3 {
            let petal = Petal::new(canvas.dice.between(0.94, 1.06), width, 0.85, 0.95)
                .bend(curl + canvas.dice.spread(0.06))
                .ruffle(0.015)
                .veins(1);
            let turn = (i as f32 + row) * 120.0 + canvas.dice.spread(10.0);
            let at = head.at.pre_rotate(turn);
            canvas.petal(&petal, at, &head.tint);
            midrib(canvas, &petal, at, &head.tint);
            if spots {
                freckles(canvas, &petal, at, head.tint.body);
            }
        }
    }
    canvas.circle(
        head.at,
        (0.0, 0.0),
        0.1,
        flat(Colour::hsv(80.0, 0.5, 0.5).alpha(0.7)),
    );
    let anther = Colour::hsv(
        canvas.dice.between(14.0, 40.0),
        0.85,
        canvas.dice.between(0.4, 0.8),
    );
    let silk = Colour::hsv(75.0, 0.25, 0.85);
    for i in 0..6 {
        let at = head
            .at
            .pre_rotate(i as f32 * 60.0 + 30.0 + canvas.dice.spread(16.0));
        let reach = canvas.dice.between(0.5, 0.64);
        canvas.curve(
            at,
            [(0.0, 0.0), (reach / 2.0, 0.06), (reach, 0.0)],
            0.026,
            silk.alpha(1.0),
        );
        canvas.curve(
            at,
            [(reach, -0.08), (reach + 0.02, 0.0), (reach, 0.08)],
            0.06,
            anther.alpha(1.0),
        );
    }
    let at = head.at.pre_rotate(canvas.dice.between(0.0, 360.0));
    canvas.curve(
        at,
        [(0.0, 0.0), (0.35, 0.08), (0.7, 0.02)],
        0.045,
        silk.lit(0.9).alpha(1.0),
    );
    canvas.circle(at, (0.7, 0.02), 0.045, flat(silk.lit(0.7).alpha(1.0)));
}

fn midrib(canvas: &mut Canvas, petal: &Petal, at: Transform, tint: &Tint) {
    let line = [
        (0.08, 0.0),
        (petal.length * 0.5, 0.0),
        petal.point(0.94, 0.0),
    ];
    canvas.curve(at, line, 0.05, tint.heart.alpha(0.35));
    canvas.curve(at, line, 0.015, tint.heart.lit(0.7).alpha(0.5));
}

fn freckles(canvas: &mut Canvas, petal: &Petal, at: Transform, body: Colour) {
    let colour = body.mix(Colour::new(0.35, 0.05, 0.08), 0.75).alpha(0.8);
    for _ in 0..14 {
        let place = petal.point(
            canvas.dice.between(0.15, 0.6),
            canvas.dice.between(-0.7, 0.7),
        );
        canvas.circle(at, place, 0.014, flat(colour));
    }
}

/// Three standards that rise and arch together, three falls that droop, each with a beard.
pub(super) fn iris(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice).mix(Colour::new(0.4, 0.55, 0.5), 0.3);
    for side in [-1.0, 1.0, 0.3] {
        let length = head.radius * canvas.dice.between(1.6, 2.6);
        let leaf = Petal::new(length, head.radius * 0.22, 0.2, 0.7).veins(3);
        let at = Transform::from_translate(head.foot.0 + side * head.radius * 0.2, head.foot.1);
        let lean = -90.0 + side * canvas.dice.between(5.0, 28.0);
        canvas.leaf(&leaf, at.pre_rotate(lean), green);
    }
    canvas.stem(head, (0.0, 0.2), 0.1, green);
    canvas.leaf(
        &Petal::new(0.5, 0.2, 0.5, 0.8),
        head.at.pre_translate(0.0, 0.55).pre_rotate(-90.0),
        green,
    );

    let standards = head.tint;
    let falls = match canvas.dice.below(3) {
        0 => standards.lit(0.7),
        1 => standards.lit(1.3),
        _ => standards,
    };
    let spread = canvas.dice.between(0.85, 1.15);
    for (turn, width, bend, light) in [
        (-90.0, 0.72, 0.0, 0.85),
        (-128.0, 0.66, 0.38, 1.0),
        (-52.0, 0.66, -0.38, 1.0),
    ] {
        let petal = Petal::new(canvas.dice.between(0.92, 1.04), width, 0.9, 0.32)
            .bend(bend)
            .ruffle(0.025)
            .veins(5);
        let turn = -90.0 + (turn + 90.0) * spread + canvas.dice.spread(6.0);
        canvas.petal(&petal, head.at.pre_rotate(turn), &standards.lit(light));
    }
    let beard = Colour::hsv(canvas.dice.between(28.0, 55.0), 0.85, 0.92);
    let droop = canvas.dice.between(0.3, 0.55);
    for (turn, length, bend) in [(172.0, 0.98, -droop), (8.0, 0.98, droop), (90.0, 0.92, 0.0)] {
        let petal = Petal::new(length * canvas.dice.between(0.94, 1.04), 0.76, 1.1, 0.28)
            .bend(bend)
            .ruffle(0.025)
            .veins(7);
        let at = head.at.pre_rotate(turn + canvas.dice.spread(10.0));
        canvas.petal(&petal, at, &falls);
        for tuft in 0..9 {
            let place = petal.point(0.08 + 0.045 * tuft as f32, canvas.dice.spread(0.16));
            let tone = beard.lit(canvas.dice.between(0.8, 1.2));
            canvas.circle(at, place, 0.036, flat(tone.alpha(0.95)));
        }
    }
}

/// Several blooms and the last buds on an arching stem.
pub(super) fn orchid(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice);
    let side = canvas.dice.sign();
    let (x, y) = head.centre;
    let r = head.radius;
    let rise = canvas.dice.between(0.75, 1.05);
    let arch = Stem::new([
        (x + side * r * 0.95, y - r * 0.1),
        (x + side * r * 0.1, y - r * rise),
        (x - side * r * 0.75, y + r * 1.5),
    ]);
    for turn in [-1.0, 1.0] {
        let leaf = Petal::new(r * 0.9, r * 0.32, 0.4, 0.45).bend(turn * 0.25);
        let at = arch.place(1.0).pre_rotate(turn * 60.0);
        canvas.leaf(&leaf, at, green.lit(0.85));
    }
    canvas.tube(arch, r * 0.05, green.mix(Colour::new(0.4, 0.3, 0.25), 0.4));
    for (t, size) in [(0.0, 0.11), (0.09, 0.15)] {
        let bud = arch.place(t).pre_rotate(90.0 * side);
        canvas.petal(
            &Petal::new(r * size * 1.4, r * size, 0.5, 0.4),
            bud,
            &head.tint.lit(0.85),
        );
    }
    let blooms = canvas.dice.count(3, 4);
    let lip = Tint::sample(
        &mut canvas.dice,
        &[
            palette::MAGENTA,
            palette::YELLOW,
            palette::RED,
            palette::VIOLET,
            palette::ORANGE,
        ],
    );
    for i in 0..blooms {
        let t = 0.22 + 0.5 * i as f32 / (blooms - 1) as f32;
        let place = arch.place(t);
        let hang = if i % 2 == 0 { 0.16 } else { -0.14 };
        let tilt = canvas.dice.between(0.8, 1.0);
        let span = r * canvas.dice.between(0.36, 0.44);
        let at = Transform::from_translate(place.tx + side * hang * r, place.ty + 0.12 * r)
            .pre_rotate(canvas.dice.spread(36.0))
            .pre_scale(span * tilt, span);
        bloom(canvas, at, &head.tint, &lip);
    }
}

/// An orchid's bloom: three sepals, two wide petals, a lobed lip and the column.
fn bloom(canvas: &mut Canvas, at: Transform, tint: &Tint, lip: &Tint) {
    for turn in [-90.0, 38.0, 142.0] {
        let sepal = Petal::new(1.0, 0.56, 0.6, 0.5).veins(3);
        canvas.petal(&sepal, at.pre_rotate(turn), &tint.lit(0.93));
    }
    for turn in [-12.0, -168.0] {
        let petal = Petal::new(1.02, 1.08, 0.75, 0.3).ruffle(0.012).veins(7);
        let turn = turn + canvas.dice.spread(10.0);
        canvas.petal(&petal, at.pre_rotate(turn), tint);
    }
    for turn in [30.0, 150.0, 90.0] {
        let lobe = Petal::new(if turn == 90.0 { 0.56 } else { 0.34 }, 0.3, 0.8, 0.5);
        canvas.petal(&lobe, at.pre_rotate(turn), lip);
    }
    canvas.circle(at, (0.0, -0.02), 0.11, flat(WHITE.alpha(0.9)));
    canvas.circle(at, (0.0, 0.06), 0.06, flat(lip.body.lit(0.8).alpha(1.0)));
}

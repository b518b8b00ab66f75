//! Garden blossoms of broad petals: the rose, the tulip and the poppy.

use resvg::tiny_skia::Transform;

use super::canvas::{Canvas, flat, radial};
use super::palette::{self, BLACK, Colour, Tint};
use super::petal::Petal;
use super::scene::Head;

/// Spirals of overlapping round petals, tighter towards the middle.
pub(super) fn rose(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice).lit(0.9);
    let stem = canvas.stem(head, (0.0, 0.0), 0.09, green);
    for side in [-1.0, 1.0] {
        let twig = stem
            .place(canvas.dice.between(0.3, 0.7))
            .pre_rotate(side * 55.0);
        let length = head.radius * canvas.dice.between(0.6, 0.8);
        let leaflet = Petal::new(length, length * 0.6, 0.6, 0.75)
            .ruffle(0.03)
            .veins(5);
        for (along, turn) in [(0.25, -60.0), (0.25, 60.0), (0.6, 0.0)] {
            let at = twig.pre_translate(length * along, 0.0).pre_rotate(turn);
            canvas.leaf(&leaflet, at, green);
        }
    }
    for sepal in 0..5 {
        let at = head.at.pre_rotate(sepal as f32 * 72.0 + 20.0);
        canvas.leaf(&Petal::new(1.12, 0.3, 0.5, 1.2), at, green);
    }
    let rings = canvas.dice.count(6, 8);
    let mut turn = canvas.dice.between(0.0, 360.0);
    for ring in 0..rings {
        let inwards = ring as f32 / rings as f32;
        let reach = 1.0 - 0.84 * inwards;
        let petals = if ring < 3 { 5 } else { 3 };
        let tint = head.tint.lit(1.06 - 0.3 * inwards);
        for _ in 0..petals {
            turn += 360.0 / petals as f32 + canvas.dice.spread(14.0);
            let petal = Petal::new(
                reach * canvas.dice.between(0.93, 1.04),
                reach * canvas.dice.between(1.05, 1.25),
                0.55,
                0.24,
            )
            .ruffle(0.015)
            .bend(canvas.dice.spread(0.16));
            canvas.petal(&petal, head.at.pre_rotate(turn), &tint);
            lip(canvas, &petal, head.at.pre_rotate(turn), &tint);
        }
        turn += 137.5;
    }
    coil(canvas, head.at, head.tint.body.lit(0.55));
}

/// The rolled rim of a rose's petal: a dark line inside a bright one.
fn lip(canvas: &mut Canvas, petal: &Petal, at: Transform, tint: &Tint) {
    for (t, width, colour) in [
        (0.9, 0.05, tint.body.lit(0.62).alpha(0.26)),
        (0.97, 0.035, tint.edge.lit(1.2).alpha(0.4)),
    ] {
        let (from, to) = (petal.point(t - 0.12, -0.85), petal.point(t - 0.12, 0.85));
        let tip = petal.point(t, 0.0);
        let through = (
            2.0 * tip.0 - (from.0 + to.0) / 2.0,
            2.0 * tip.1 - (from.1 + to.1) / 2.0,
        );
        canvas.curve(
            at,
            [from, through, to],
            width * petal.length.max(0.3),
            colour,
        );
    }
}

fn coil(canvas: &mut Canvas, at: Transform, colour: Colour) {
    let place = |step: i32| {
        let out = 0.012 * step as f32;
        let angle = step as f32 * 0.75;
        (out * angle.cos(), out * angle.sin())
    };
    for step in 1..15 {
        let line = [place(step), place(step), place(step + 1)];
        canvas.curve(at, line, 0.03, colour.alpha(0.75));
    }
}

/// A closed cup from the side: petals from one base, the tips of the back ones between.
pub(super) fn tulip(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice).mix(Colour::new(0.45, 0.6, 0.5), 0.25);
    let stem = canvas.stem(head, (0.0, 0.85), 0.14, green);
    for side in [-1.0, 1.0] {
        let length = head.radius * canvas.dice.between(2.0, 2.8);
        let bend = -side * canvas.dice.between(0.0, 0.14);
        let leaf = Petal::new(length, length * 0.2, 0.6, 0.9)
            .bend(bend)
            .veins(4);
        let turn = -side * canvas.dice.between(14.0, 32.0);
        let at = stem.place(canvas.dice.between(0.85, 1.0));
        canvas.leaf(&leaf, at.pre_rotate(turn), green);
    }
    let base = head.at.pre_translate(0.0, 0.92);
    let open = canvas.dice.between(0.75, 1.25);
    let tip = canvas.dice.between(0.42, 0.7);
    let mut petal = |lean: f32, length: f32, width: f32, bend: f32, light: f32| {
        let petal = Petal::new(length, width, 0.5, tip)
            .bend(bend)
            .veins(5)
            .ruffle(0.008);
        let at = base.pre_rotate(-90.0 + lean * open);
        canvas.petal(&petal, at, &head.tint.lit(light));
    };
    petal(-13.0, 1.78, 0.8, 0.08, 0.82);
    petal(13.0, 1.78, 0.8, -0.08, 0.82);
    petal(0.0, 1.72, 0.7, 0.0, 0.76);
    petal(-22.0, 1.7, 0.86, 0.3 * open, 0.98);
    petal(22.0, 1.7, 0.86, -0.3 * open, 0.98);
    petal(0.0, 1.62, 0.98, 0.0, 1.06);
}

/// A wide bowl of four to six crinkled petals with dark blotches, a pod and a ring of stamens.
pub(super) fn poppy(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice);
    let stem = canvas.stem(head, (0.0, 0.0), 0.055, green);
    if canvas.dice.chance(0.5) {
        bud(canvas, stem.place(0.75), head.radius, green);
    }
    let petals = canvas.dice.count(4, 6);
    let dark = canvas.dice.chance(0.7);
    let tint = Tint {
        heart: if dark {
            Colour::new(0.1, 0.06, 0.1)
        } else {
            head.tint.heart.lit(0.75)
        },
        reach: if dark { 0.34 } else { 0.5 },
        ..head.tint
    };
    let step = 360.0 / petals as f32;
    // Every second petal lies behind its neighbours.
    let order = (0..petals).step_by(2).chain((1..petals).step_by(2));
    for i in order {
        let petal = Petal::new(
            canvas.dice.between(0.92, 1.06),
            canvas.dice.between(1.15, 1.45),
            0.7,
            0.3,
        )
        .ruffle(0.045)
        .veins(9);
        let turn = i as f32 * step + canvas.dice.spread(10.0);
        canvas.petal(&petal, head.at.pre_rotate(turn), &tint);
    }
    stamens(canvas, head.at);
    let pod = Colour::hsv(canvas.dice.between(70.0, 110.0), 0.4, 0.62);
    let stops = [
        (0.0, pod.lit(1.2).alpha(1.0)),
        (1.0, pod.lit(0.6).alpha(1.0)),
    ];
    canvas.circle(
        head.at,
        (0.0, 0.0),
        0.15,
        radial((-0.03, -0.03), 0.17, &stops),
    );
    for ray in 0..9 {
        let at = head.at.pre_rotate(ray as f32 * 40.0);
        canvas.curve(
            at,
            [(0.0, 0.0), (0.06, 0.0), (0.13, 0.0)],
            0.022,
            BLACK.alpha(0.6),
        );
    }
}

fn stamens(canvas: &mut Canvas, at: Transform) {
    let anther = match canvas.dice.below(3) {
        0 => Colour::hsv(48.0, 0.7, 0.85),
        _ => Colour::new(0.14, 0.1, 0.14),
    };
    for i in 0..70 {
        let at = at.pre_rotate(i as f32 * 137.5);
        let reach = canvas.dice.between(0.19, 0.36);
        let thread = [(0.1, 0.0), (reach / 2.0, 0.02), (reach, 0.0)];
        canvas.curve(at, thread, 0.012, BLACK.alpha(0.45));
        canvas.circle(at, (reach, 0.0), 0.026, flat(anther.alpha(0.95)));
    }
}

fn bud(canvas: &mut Canvas, fork: Transform, radius: f32, green: Colour) {
    let side = canvas.dice.sign();
    let at = fork.pre_rotate(side * 50.0);
    let top = (radius * 0.9, -side * radius * 0.2);
    let line = [(0.0, 0.0), (radius * 0.6, -side * radius * 0.4), top];
    canvas.curve(at, line, radius * 0.05, green.lit(0.8).alpha(1.0));
    let nod = at.pre_translate(top.0, top.1).pre_rotate(side * 60.0);
    canvas.leaf(
        &Petal::new(radius * 0.42, radius * 0.26, 0.5, 0.5),
        nod,
        green,
    );
}

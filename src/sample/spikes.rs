//! Spikes of many small florets: lavender.

use resvg::tiny_skia::Transform;

use super::canvas::Canvas;
use super::palette::{self, Colour, Tint};
use super::petal::Petal;
use super::scene::Head;

/// Whorls of small florets up a thin stem, closer towards the top.
pub(super) fn lavender(canvas: &mut Canvas, head: &Head) {
    let green = palette::green(&mut canvas.dice).mix(Colour::new(0.5, 0.58, 0.5), 0.4);
    let stem = canvas.stem(head, (0.0, -0.8), 0.04, green);
    for i in 0..4 {
        let side = if i % 2 == 0 { 1.0 } else { -1.0 };
        let leaf = Petal::new(head.radius * 0.6, head.radius * 0.06, 0.4, 0.6);
        let turn = side * canvas.dice.between(18.0, 35.0);
        let at = stem.place(canvas.dice.between(0.75, 1.0));
        canvas.leaf(&leaf, at.pre_rotate(turn), green);
    }
    let whorls = canvas.dice.count(8, 11);
    let calyx = Tint::plain(head.tint.body.mix(green, 0.55).lit(0.8));
    for whorl in 0..whorls {
        let up = whorl as f32 / (whorls - 1) as f32;
        let height = 0.75 - 1.65 * up.powf(0.9);
        let spread = 0.22 - 0.12 * up;
        let at = head.at.pre_translate(canvas.dice.spread(0.04), height);
        for floret in 0..7 {
            let turn = -90.0 + (floret as f32 - 3.0) * 30.0 + canvas.dice.spread(18.0);
            whorl_floret(canvas, at.pre_rotate(turn), spread, &head.tint, &calyx);
        }
    }
}

fn whorl_floret(canvas: &mut Canvas, at: Transform, spread: f32, tint: &Tint, calyx: &Tint) {
    canvas.petal(
        &Petal::new(spread * 0.7, spread * 0.36, 0.5, 0.4),
        at,
        calyx,
    );
    let reach = spread * canvas.dice.between(0.85, 1.2);
    let tint = tint.lit(canvas.dice.between(0.85, 1.15));
    let mouth = at.pre_translate(reach * 0.45, 0.0);
    for lobe in [-38.0, 38.0, 0.0] {
        let petal = Petal::new(reach * 0.55, spread * 0.34, 0.5, 0.3);
        canvas.petal(&petal, mouth.pre_rotate(lobe), &tint);
    }
}

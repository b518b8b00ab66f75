//! What is behind a flower, from foliage to a table top, and the blade before the lens.

use resvg::tiny_skia::Transform;

use super::canvas::{Canvas, flat, linear, radial};
use super::palette::{self, Colour, WHITE};
use super::petal::Petal;

/// What a backdrop is made of: the colours at its top and bottom and of the blurs in it.
struct Backdrop {
    top: Colour,
    bottom: Colour,
    blurs: &'static [Colour],
    /// Blades of grass and stalks.
    blades: bool,
    /// Discs of light out of focus.
    bokeh: bool,
}

const FOLIAGE: Backdrop = Backdrop {
    top: Colour::new(0.22, 0.36, 0.16),
    bottom: Colour::new(0.08, 0.17, 0.08),
    blurs: &[
        Colour::new(0.38, 0.52, 0.20),
        Colour::new(0.05, 0.12, 0.06),
        Colour::new(0.55, 0.65, 0.32),
    ],
    blades: false,
    bokeh: true,
};
const GRASS: Backdrop = Backdrop {
    top: Colour::new(0.52, 0.66, 0.34),
    bottom: Colour::new(0.20, 0.38, 0.12),
    blurs: &[
        Colour::new(0.44, 0.60, 0.22),
        Colour::new(0.68, 0.72, 0.38),
        Colour::new(0.12, 0.26, 0.10),
    ],
    blades: true,
    bokeh: false,
};
const SKY: Backdrop = Backdrop {
    top: Colour::new(0.36, 0.56, 0.82),
    bottom: Colour::new(0.78, 0.86, 0.92),
    blurs: &[Colour::new(0.94, 0.95, 0.97), Colour::new(0.60, 0.74, 0.90)],
    blades: false,
    bokeh: false,
};
const SOIL: Backdrop = Backdrop {
    top: Colour::new(0.46, 0.36, 0.27),
    bottom: Colour::new(0.22, 0.16, 0.12),
    blurs: &[
        Colour::new(0.34, 0.25, 0.18),
        Colour::new(0.58, 0.48, 0.36),
        Colour::new(0.26, 0.36, 0.18),
    ],
    blades: false,
    bokeh: false,
};
const TABLE: Backdrop = Backdrop {
    top: Colour::new(0.82, 0.76, 0.68),
    bottom: Colour::new(0.54, 0.38, 0.26),
    blurs: &[Colour::new(0.90, 0.86, 0.80), Colour::new(0.44, 0.30, 0.20)],
    blades: false,
    bokeh: true,
};
const DUSK: Backdrop = Backdrop {
    top: Colour::new(0.20, 0.16, 0.24),
    bottom: Colour::new(0.06, 0.06, 0.09),
    blurs: &[Colour::new(0.36, 0.22, 0.28), Colour::new(0.12, 0.16, 0.22)],
    blades: false,
    bokeh: true,
};
const BED: Backdrop = Backdrop {
    top: Colour::new(0.34, 0.46, 0.24),
    bottom: Colour::new(0.18, 0.28, 0.12),
    blurs: &[
        Colour::new(0.86, 0.28, 0.32),
        Colour::new(0.94, 0.80, 0.30),
        Colour::new(0.92, 0.62, 0.74),
        Colour::new(0.50, 0.36, 0.72),
        Colour::new(0.92, 0.92, 0.88),
        Colour::new(0.24, 0.40, 0.16),
    ],
    blades: true,
    bokeh: true,
};
const BACKDROPS: [&Backdrop; 7] = [&FOLIAGE, &GRASS, &SKY, &SOIL, &TABLE, &DUSK, &BED];

/// Fills the whole picture with one of the backdrops.
pub(super) fn backdrop(canvas: &mut Canvas) {
    let scene = canvas.dice.pick(&BACKDROPS);
    let octaves = canvas.dice.count(1, 3);
    canvas.coarsely(octaves, |canvas| surroundings(canvas, scene));
    if scene.bokeh {
        bokeh(canvas, scene);
    }
}

/// The backdrop's colours and blurs, which lie too far away to be sharp.
fn surroundings(canvas: &mut Canvas, scene: &Backdrop) {
    let size = canvas.size();
    let still = Transform::identity();
    let tone = canvas.dice.between(0.82, 1.15);
    let stops = [
        (0.0, scene.top.lit(tone).alpha(1.0)),
        (1.0, scene.bottom.lit(tone).alpha(1.0)),
    ];
    let slant = canvas.dice.spread(0.4) * size;
    canvas.circle(
        still,
        (size / 2.0, size / 2.0),
        size,
        linear((slant, 0.0), (0.0, size), &stops),
    );
    for _ in 0..canvas.dice.count(14, 30) {
        let colour = canvas.dice.pick(scene.blurs).lit(tone);
        let centre = spot(canvas);
        let radius = size * canvas.dice.between(0.05, 0.26);
        let alpha = canvas.dice.between(0.3, 0.8);
        let stops = [
            (0.0, colour.alpha(alpha)),
            (0.5, colour.alpha(alpha * 0.7)),
            (1.0, colour.alpha(0.0)),
        ];
        canvas.circle(still, centre, radius, radial(centre, radius, &stops));
    }
    if scene.blades {
        blades(canvas);
    }
}

fn spot(canvas: &mut Canvas) -> (f32, f32) {
    let size = canvas.size();
    let dice = &mut canvas.dice;
    (dice.between(0.0, size), dice.between(0.0, size))
}

fn blades(canvas: &mut Canvas) {
    let size = canvas.size();
    for _ in 0..canvas.dice.count(15, 45) {
        let colour = palette::green(&mut canvas.dice);
        let foot = canvas.dice.between(-0.1, 1.1) * size;
        let lean = canvas.dice.spread(0.4) * size;
        let height = size * canvas.dice.between(0.2, 0.9);
        let line = [
            (foot, size * 1.05),
            (foot, size - height * 0.5),
            (foot + lean, size - height),
        ];
        let width = size * canvas.dice.between(0.006, 0.022);
        let alpha = canvas.dice.between(0.4, 0.9);
        canvas.curve(Transform::identity(), line, width, colour.alpha(alpha));
    }
}

fn bokeh(canvas: &mut Canvas, scene: &Backdrop) {
    let size = canvas.size();
    for _ in 0..canvas.dice.count(0, 12) {
        let colour = canvas.dice.pick(scene.blurs).mix(WHITE, 0.45);
        let centre = spot(canvas);
        let radius = size * canvas.dice.between(0.015, 0.06);
        let alpha = canvas.dice.between(0.08, 0.3);
        canvas.circle(
            Transform::identity(),
            centre,
            radius,
            radial(
                centre,
                radius,
                &[
                    (0.0, colour.alpha(alpha * 0.7)),
                    (0.85, colour.alpha(alpha)),
                    (1.0, colour.alpha(0.0)),
                ],
            ),
        );
    }
}

/// A blade or leaf close to the lens, out of focus, that may cover a part of the flower.
pub(super) fn foreground(canvas: &mut Canvas) {
    let size = canvas.size();
    let colour = palette::green(&mut canvas.dice);
    let side = canvas.dice.sign();
    let foot = size * (0.5 + side * canvas.dice.between(0.2, 0.55));
    let width = size * canvas.dice.between(0.03, 0.08);
    let reach = size * canvas.dice.between(0.35, 0.8);
    let lean = -90.0 - side * canvas.dice.between(-5.0, 35.0);
    let bend = canvas.dice.spread(0.3);
    let at = Transform::from_translate(foot, size * 1.05).pre_rotate(lean);
    for (spread, alpha) in [(1.3, 0.25), (1.12, 0.35), (0.95, 0.6)] {
        let blade = Petal::new(reach, width * spread, 0.3, 0.9).bend(bend);
        if let Some(path) = blade.outline(0.0) {
            canvas.fill(&path, at, flat(colour.alpha(alpha)));
        }
    }
}

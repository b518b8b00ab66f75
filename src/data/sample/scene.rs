//! Everything around a bloom: where it stands, the backdrop, stems, leaves, a blade in front.

use resvg::tiny_skia::{Color, Pixmap, Transform};

use super::Kind;
use super::canvas::{Canvas, flat, linear, radial};
use super::dice::Dice;
use super::light::Light;
use super::palette::{self, Colour, Tint, WHITE};
use super::petal::Petal;

/// How a kind is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Into the bloom: any rotation, foreshortened by the tilt.
    Face,
    /// From the side: upright, leaning a little.
    Side,
}

/// How a kind's flowers fill a picture.
#[derive(Debug, Clone, Copy)]
pub struct Habit {
    pub view: View,
    /// Fewest and most flowers in a picture.
    pub flowers: (u32, u32),
    /// The main bloom's smallest and largest radius, in picture sides.
    pub radius: (f32, f32),
    /// Whether flowers may stand so close that they overlap.
    pub dense: bool,
}

/// One flower's place in the picture.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// From the bloom's own units (radius 1, y down) to pixels.
    pub at: Transform,
    pub centre: (f32, f32),
    /// In pixels.
    pub radius: f32,
    /// Where the stem leaves the picture.
    pub foot: (f32, f32),
    /// The petals' colours, the same for all flowers of a picture.
    pub tint: Tint,
}

/// Draws the whole picture of `kind`.
pub fn compose(kind: &Kind, mut dice: Dice, mut pixmap: Pixmap) -> Canvas {
    pixmap.fill(Color::BLACK);
    let light = Light::sample(&mut dice, pixmap.width() as f32);
    let mut canvas = Canvas {
        pixmap,
        dice,
        light,
    };
    backdrop(&mut canvas);
    let heads = arrange(&mut canvas, kind);
    let last = heads.len().saturating_sub(1);
    for (i, head) in heads.iter().enumerate() {
        if i == last && i > 0 && !kind.habit.dense && canvas.dice.chance(0.5) {
            canvas.defocus(1);
        }
        (kind.plant)(&mut canvas, head);
    }
    if canvas.dice.chance(0.25) {
        foreground(&mut canvas);
    }
    canvas
}

/// The heads from back to front; the last is the main one.
fn arrange(canvas: &mut Canvas, kind: &Kind) -> Vec<Head> {
    let size = canvas.size();
    let dice = &mut canvas.dice;
    let habit = kind.habit;
    let tint = Tint::sample(dice, kind.colours);
    let off = if dice.chance(0.15) { 0.26 } else { 0.12 };
    let middle = if habit.view == View::Side { 0.44 } else { 0.5 };
    let main = (
        size * (0.5 + dice.between(-off, off)),
        size * (middle + dice.between(-off, off) * 0.8),
    );
    let radius = size * dice.between(habit.radius.0, habit.radius.1);
    let mut places = vec![(main, radius)];
    let others = dice.count(habit.flowers.0, habit.flowers.1) - 1;
    for _ in 0..others {
        for _attempt in 0..12 {
            let r = radius * dice.between(0.6, 0.92);
            let place = (
                dice.between(0.05, 0.95) * size,
                dice.between(0.1, 0.9) * size,
            );
            let far = |&((x, y), other): &((f32, f32), f32)| {
                let room = if habit.dense { 0.18 } else { 0.8 };
                let gap = if habit.dense {
                    (place.0 - x).abs()
                } else {
                    (place.0 - x).hypot(place.1 - y)
                };
                gap > room * (r + other)
            };
            if places.iter().all(far) {
                let y = if habit.dense {
                    main.1 + dice.spread(0.2) * size
                } else {
                    place.1
                };
                places.push(((place.0, y), r));
                break;
            }
        }
    }
    places.reverse();
    places
        .into_iter()
        .map(|(centre, radius)| pose(dice, habit.view, size, centre, radius, tint))
        .collect()
}

fn pose(
    dice: &mut Dice,
    view: View,
    size: f32,
    centre: (f32, f32),
    radius: f32,
    tint: Tint,
) -> Head {
    let place = Transform::from_translate(centre.0, centre.1);
    let (at, lean) = match view {
        View::Face => {
            let axis = dice.between(-50.0, 50.0);
            let tilt = 1.0 - dice.between(0.0, 0.62).powi(2);
            let spin = dice.between(0.0, 360.0);
            let at = place
                .pre_rotate(axis)
                .pre_scale(radius, radius * tilt)
                .pre_rotate(spin);
            (at, dice.spread(0.5))
        }
        View::Side => {
            let lean = dice.spread(26.0);
            let slim = dice.between(0.88, 1.1);
            let at = place.pre_rotate(lean).pre_scale(radius * slim, radius);
            (at, -lean.to_radians().tan())
        }
    };
    let foot = (centre.0 + lean * (size - centre.1) * 0.8, size * 1.1);
    Head {
        at,
        centre,
        radius,
        foot,
        tint,
    }
}

/// A stem as a quadratic curve from the bloom to its foot.
#[derive(Debug, Clone, Copy)]
pub struct Stem([(f32, f32); 3]);

impl Stem {
    /// The place at `t` (0 at the bloom, 1 at the foot), turned so that +x points to the bloom.
    pub fn place(&self, t: f32) -> Transform {
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
    pub fn stem(&mut self, head: &Head, top: (f32, f32), width: f32, colour: Colour) -> Stem {
        let mut from = resvg::tiny_skia::Point::from_xy(top.0, top.1);
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
    pub fn tube(&mut self, Stem(line): Stem, width: f32, colour: Colour) {
        let still = Transform::identity();
        self.curve(still, line, width, colour.lit(0.6).alpha(1.0));
        let (lx, ly) = self.light.towards;
        let lit = Transform::from_translate(lx * width * 0.14, ly * width * 0.14);
        self.curve(lit, line, width * 0.66, colour.alpha(1.0));
        self.curve(lit, line, width * 0.25, colour.lit(1.25).alpha(0.7));
    }

    /// A leaf in pixels from `at`, its tip at +x.
    pub fn leaf(&mut self, leaf: &Petal, at: Transform, colour: Colour) {
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

impl Stem {
    pub const fn new(line: [(f32, f32); 3]) -> Self {
        Self(line)
    }
}

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

fn backdrop(canvas: &mut Canvas) {
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
fn foreground(canvas: &mut Canvas) {
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

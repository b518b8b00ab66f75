//! The composition of a picture: how many flowers, where, how large and how they are turned.

use resvg::tiny_skia::{Color, Pixmap, Transform};

use super::Kind;
use super::backdrop::{backdrop, foreground};
use super::canvas::Canvas;
use super::dice::Dice;
use super::light::Light;
use super::palette::Tint;

/// How a kind is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Into the bloom: any rotation, foreshortened by the tilt.
    Face,
    /// From the side: upright, leaning a little.
    Side,
}

/// How a kind's flowers fill a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habit {
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
pub(super) struct Head {
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
pub(super) fn compose(kind: &Kind, mut dice: Dice, mut pixmap: Pixmap) -> Canvas {
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
    let tint = Tint::sample(dice, kind.colours);
    places(dice, kind.habit, size)
        .into_iter()
        .rev()
        .map(|place| pose(dice, kind.habit.view, size, place, tint))
        .collect()
}

#[derive(Clone, Copy)]
struct Place {
    centre: (f32, f32),
    radius: f32,
}

/// The main flower's place and then those of the others, as many as there is room for.
fn places(dice: &mut Dice, habit: Habit, size: f32) -> Vec<Place> {
    let off = if dice.chance(0.15) { 0.2 } else { 0.11 };
    let middle = if habit.view == View::Side { 0.44 } else { 0.5 };
    let main = Place {
        centre: (
            size * (0.5 + dice.between(-off, off)),
            size * (middle + dice.between(-off, off) * 0.8),
        ),
        radius: size * dice.between(habit.radius.0, habit.radius.1),
    };
    let mut places = vec![main];
    for _ in 1..dice.count(habit.flowers.0, habit.flowers.1) {
        let found = (0..12)
            .map(|_| elsewhere(dice, habit, size, main))
            .find(|place| places.iter().all(|other| apart(habit, place, other)));
        places.extend(found);
    }
    places
}

/// A smaller flower somewhere; in a dense stand at about the main one's height.
fn elsewhere(dice: &mut Dice, habit: Habit, size: f32, main: Place) -> Place {
    let x = dice.between(0.05, 0.95) * size;
    let y = if habit.dense {
        main.centre.1 + dice.spread(0.2) * size
    } else {
        dice.between(0.1, 0.9) * size
    };
    Place {
        centre: (x, y),
        radius: main.radius * dice.between(0.6, 0.92),
    }
}

fn apart(habit: Habit, a: &Place, b: &Place) -> bool {
    let (dx, dy) = (a.centre.0 - b.centre.0, a.centre.1 - b.centre.1);
    let radii = a.radius + b.radius;
    if habit.dense {
        dx.abs() > 0.18 * radii
    } else {
        dx.hypot(dy) > 0.8 * radii
    }
}

fn pose(dice: &mut Dice, view: View, size: f32, place: Place, tint: Tint) -> Head {
    let Place { centre, radius } = place;
    let middle = Transform::from_translate(centre.0, centre.1);
    let (at, lean) = match view {
        View::Face => {
            let axis = dice.between(-50.0, 50.0);
            let tilt = 1.0 - dice.between(0.0, 0.62).powi(2);
            let spin = dice.between(0.0, 360.0);
            let at = middle
                .pre_rotate(axis)
                .pre_scale(radius, radius * tilt)
                .pre_rotate(spin);
            (at, dice.spread(0.5))
        }
        View::Side => {
            let lean = dice.spread(26.0);
            let slim = dice.between(0.88, 1.1);
            let at = middle.pre_rotate(lean).pre_scale(radius * slim, radius);
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

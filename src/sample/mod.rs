//! The sample set: synthetic images of ten kinds of flowers, for a machine that has no data.
//!
//! The kinds share their colours, backgrounds and light; what tells them apart is shape.

mod backdrop;
mod blossoms;
mod canvas;
mod dice;
mod light;
mod monocots;
mod palette;
mod petal;
mod rays;
mod scene;
mod spikes;
mod stem;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage};
use rayon::prelude::*;
use resvg::tiny_skia::Pixmap;

use crate::error::{Error, Result, shown};
use crate::files;
use crate::progress::Progress;
use canvas::Canvas;
use dice::Dice;
use palette::Family;
use scene::{Habit, Head, View};

/// What to draw. The pictures depend on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSet {
    /// How many of [`KINDS`], from the first: 2 to 10.
    pub classes: usize,
    /// Pictures of each kind: at least 1.
    pub per_class: usize,
    /// Side of the square pictures in pixels: 32 to 2048.
    pub size: u32,
    pub seed: u64,
}

impl Default for SampleSet {
    fn default() -> Self {
        Self {
            classes: KINDS.len(),
            per_class: 80,
            size: 256,
            seed: 0,
        }
    }
}

/// A kind of flower.
pub struct Kind {
    /// The class name.
    pub name: &'static str,
    colours: &'static [Family],
    habit: Habit,
    /// Draws one flower with its stem and leaves.
    plant: fn(&mut Canvas, &Head),
}

const fn habit(view: View, flowers: (u32, u32), radius: (f32, f32), dense: bool) -> Habit {
    Habit {
        view,
        flowers,
        radius,
        dense,
    }
}

/// The kinds in the order in which [`SampleSet::classes`] takes them.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "rose",
        colours: &[
            palette::RED,
            palette::PINK,
            palette::YELLOW,
            palette::IVORY,
            palette::CORAL,
            palette::LILAC,
        ],
        habit: habit(View::Face, (1, 3), (0.28, 0.39), false),
        plant: blossoms::rose,
    },
    Kind {
        name: "tulip",
        colours: &[
            palette::RED,
            palette::PINK,
            palette::YELLOW,
            palette::IVORY,
            palette::ORANGE,
            palette::VIOLET,
            palette::MAGENTA,
        ],
        habit: habit(View::Side, (1, 3), (0.26, 0.35), false),
        plant: blossoms::tulip,
    },
    Kind {
        name: "sunflower",
        colours: &[
            palette::YELLOW,
            palette::GOLD,
            palette::ORANGE,
            palette::CREAM,
            palette::RED,
        ],
        habit: habit(View::Face, (1, 3), (0.30, 0.42), false),
        plant: rays::sunflower,
    },
    Kind {
        name: "daisy",
        colours: &[
            palette::IVORY,
            palette::PINK,
            palette::YELLOW,
            palette::LILAC,
            palette::ORANGE,
            palette::RED,
        ],
        habit: habit(View::Face, (1, 3), (0.29, 0.41), false),
        plant: rays::daisy,
    },
    Kind {
        name: "dandelion",
        colours: &[
            palette::YELLOW,
            palette::GOLD,
            palette::CREAM,
            palette::ORANGE,
            palette::PINK,
        ],
        habit: habit(View::Face, (1, 3), (0.28, 0.39), false),
        plant: rays::dandelion,
    },
    Kind {
        name: "lily",
        colours: &[
            palette::IVORY,
            palette::PINK,
            palette::ORANGE,
            palette::YELLOW,
            palette::RED,
            palette::MAGENTA,
        ],
        habit: habit(View::Face, (1, 3), (0.30, 0.44), false),
        plant: monocots::lily,
    },
    Kind {
        name: "iris",
        colours: &[
            palette::VIOLET,
            palette::BLUE,
            palette::LILAC,
            palette::YELLOW,
            palette::IVORY,
            palette::CORAL,
            palette::MAGENTA,
        ],
        habit: habit(View::Side, (1, 2), (0.30, 0.40), false),
        plant: monocots::iris,
    },
    Kind {
        name: "orchid",
        colours: &[
            palette::IVORY,
            palette::PINK,
            palette::MAGENTA,
            palette::LILAC,
            palette::YELLOW,
            palette::ORANGE,
        ],
        habit: habit(View::Side, (1, 1), (0.43, 0.52), false),
        plant: monocots::orchid,
    },
    Kind {
        name: "poppy",
        colours: &[
            palette::RED,
            palette::ORANGE,
            palette::PINK,
            palette::YELLOW,
            palette::IVORY,
            palette::LILAC,
        ],
        habit: habit(View::Face, (1, 3), (0.29, 0.41), false),
        plant: blossoms::poppy,
    },
    Kind {
        name: "lavender",
        colours: &[
            palette::VIOLET,
            palette::BLUE,
            palette::LILAC,
            palette::PINK,
            palette::IVORY,
            palette::MAGENTA,
        ],
        habit: habit(View::Side, (3, 7), (0.30, 0.42), true),
        plant: spikes::lavender,
    },
];

/// Draws picture `index` of `kind`: 8-bit RGB, `size` pixels square. The same arguments always
/// give the same picture.
pub fn draw(kind: &Kind, seed: u64, index: usize, size: u32) -> RgbImage {
    let dice = Dice::new(seed, kind.name, index as u64);
    let Some(pixmap) = Pixmap::new(size, size) else {
        return RgbImage::new(0, 0);
    };
    let mut canvas = scene::compose(kind, dice, pixmap);
    let light = canvas.light.clone();
    light.develop(&canvas.pixmap, &mut canvas.dice)
}

/// Draws `set` into the new folder `dir` as `dir/<kind>/<kind>-0001.jpg` and so on. The folder
/// appears when the last picture is there: a set is whole or absent.
///
/// # Errors
/// [`Error::Usage`] when `set` is out of its limits, or `dir` has no name of its own or is there
/// and not an empty folder; [`Error::Environment`] when it can't be written.
pub fn write(set: &SampleSet, dir: &Path, progress: &dyn Progress) -> Result<()> {
    check(set, dir)?;
    // A link to an empty folder stays a link.
    let target = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    files::create_folder(parent)?;
    let failed = |cause: io::Error| {
        Error::Environment(format!(
            "can't write the sample set to {}: {cause}; free some space, or choose another folder",
            shown(dir)
        ))
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".flowers-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
    let part = builder.tempdir_in(parent).map_err(failed)?;
    fill(set, part.path(), progress).map_err(failed)?;
    // An empty folder is replaced; one that was filled meanwhile makes this fail.
    fs::rename(part.path(), &target).map_err(failed)?;
    Ok(())
}

fn check(set: &SampleSet, dir: &Path) -> Result<(), Error> {
    let limits = [
        ("classes", set.classes as u64, 2, KINDS.len() as u64),
        ("images per class", set.per_class as u64, 1, 1_000_000),
        ("image size", set.size.into(), 32, 2048),
    ];
    for (what, value, low, high) in limits {
        if !(low..=high).contains(&value) {
            return Err(Error::Usage(format!(
                "{what}: expected a number from {low} to {high}, not {value}"
            )));
        }
    }
    if dir.file_name().is_none() {
        return Err(Error::Usage(format!(
            "{} can't be replaced by the sample set; choose a new folder",
            shown(dir)
        )));
    }
    let refusal = match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => "is not empty",
        Ok(false) => return Ok(()),
        Err(cause) => match cause.kind() {
            io::ErrorKind::NotFound => return Ok(()),
            io::ErrorKind::NotADirectory if dir.exists() => "is a file",
            io::ErrorKind::NotADirectory => "is below a file",
            _ => "can't be read",
        },
    };
    Err(Error::Usage(format!(
        "{} {refusal}; choose a new folder, as nothing is overwritten",
        shown(dir)
    )))
}

fn fill(set: &SampleSet, folder: &Path, progress: &dyn Progress) -> io::Result<()> {
    let kinds = &KINDS[..set.classes];
    for kind in kinds {
        fs::create_dir(folder.join(kind.name))?;
    }
    let total = kinds.len() * set.per_class;
    progress.begin("drawing flowers", total as u64);
    let drawn = (0..total).into_par_iter().try_for_each(|i| {
        let (kind, index) = (&kinds[i % kinds.len()], i / kinds.len());
        let name = format!("{0}/{0}-{1:04}.jpg", kind.name, index + 1);
        let jpeg = encode(&draw(kind, set.seed, index, set.size))?;
        let mut file = File::create_new(folder.join(name))?;
        file.write_all(&jpeg)?;
        file.sync_all()?;
        progress.advance(1);
        Ok(())
    });
    progress.finish();
    drawn
}

fn encode(picture: &RgbImage) -> io::Result<Vec<u8>> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 90)
        .encode(
            picture,
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(io::Error::other)?;
    Ok(jpeg)
}

//! How many photos a second are decoded, transformed and made the input of a network on one thread.
//!
//! usage: PHOTOS=FOLDER transforms [FILTER]
//!
//! `benches/peers/transforms.py` makes a folder of JPEGs and runs it beside torchvision.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use flowers::data::content::sha256;
use flowers::image::augment::{Augmentation, Augmentations, rng};
use flowers::image::decode::read_bytes;
use flowers::image::transform::{Adjustment, Transform};
use flowers::image::{Limits, Preprocessing, decode};
use image::RgbImage;

/// Side of the network's input in pixels.
const SIZE: u32 = 224;

/// The next random draw; what it costs differs, and the median counts.
static DRAW: AtomicU64 = AtomicU64::new(0);

static PREPROCESSING: LazyLock<Preprocessing> = LazyLock::new(|| Preprocessing::imagenet(SIZE));

fn next_draw() -> u64 {
    DRAW.fetch_add(1, Ordering::Relaxed)
}

fn main() {
    divan::main();
}

/// The names of the photos.
fn photos() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn folder() -> PathBuf {
    std::env::var_os("PHOTOS").unwrap_or_default().into()
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_default()
}

fn picture(name: &str) -> RgbImage {
    decode(&bytes(name), &Limits::default()).unwrap_or_default()
}

fn square() -> RgbImage {
    let name = photos().into_iter().next().unwrap_or_default();
    PREPROCESSING.fit(&picture(&name))
}

/// The file's bytes and their hash, as the loader reads them.
fn read(path: &Path) -> (Vec<u8>, [u8; 32]) {
    let bytes = read_bytes(path, &Limits::default()).unwrap_or_default();
    let hash = sha256(&[&bytes]);
    (bytes, hash)
}

/// From the file to the normalised values of the evaluation transform.
#[divan::bench(args = photos(), sample_size = 1)]
fn whole_evaluation(bencher: Bencher<'_, '_>, name: &str) {
    let path = folder().join(name);
    bencher.counter(ItemsCount::new(1u64)).bench(|| {
        let (bytes, _) = read(&path);
        let decoded = PREPROCESSING.read(&bytes, &Limits::default());
        decoded.map(|decoded| PREPROCESSING.planes(decoded.picture.as_raw()))
    });
}

/// From the file to the normalised values of the classic training transform.
#[divan::bench(args = photos(), sample_size = 1)]
fn whole_classic(bencher: Bencher<'_, '_>, name: &str) {
    let path = folder().join(name);
    let classic = Augmentations::classic(SIZE);
    bencher.counter(ItemsCount::new(1u64)).bench(|| {
        let (bytes, hash) = read(&path);
        let mut rng = rng(0, next_draw(), &hash);
        let picture = classic.read(&bytes, &Limits::default(), &PREPROCESSING, &mut rng);
        picture.map(|picture| PREPROCESSING.planes(picture.as_raw()))
    });
}

#[divan::bench(args = photos(), sample_size = 1)]
fn read_and_hash(bencher: Bencher<'_, '_>, name: &str) {
    let path = folder().join(name);
    bencher.counter(ItemsCount::new(1u64)).bench(|| read(&path));
}

#[divan::bench(args = photos(), sample_size = 1)]
fn decode_whole(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = bytes(name);
    let decoded = bencher.counter(ItemsCount::new(1u64));
    decoded.bench(|| decode(&bytes, &Limits::default()));
}

/// As `decode_whole`, but only as large as the evaluation transform needs it, and that transform.
#[divan::bench(args = photos(), sample_size = 1)]
fn decode_and_fit(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = bytes(name);
    let decoded = bencher.counter(ItemsCount::new(1u64));
    decoded.bench(|| PREPROCESSING.read(&bytes, &Limits::default()));
}

#[divan::bench(args = photos(), sample_size = 1)]
fn resize_and_centre_crop(bencher: Bencher<'_, '_>, name: &str) {
    let picture = picture(name);
    let fitted = bencher.counter(ItemsCount::new(1u64));
    fitted.bench(|| PREPROCESSING.fit(&picture));
}

#[divan::bench(args = photos(), sample_size = 1)]
fn random_resized_crop(bencher: Bencher<'_, '_>, name: &str) {
    geometry(bencher, name, 1);
}

/// The same with flips and a rotation, composed.
#[divan::bench(args = photos(), sample_size = 1)]
fn random_resized_crop_flips_rotation(bencher: Bencher<'_, '_>, name: &str) {
    geometry(bencher, name, 4);
}

fn geometry(bencher: Bencher<'_, '_>, name: &str, steps: usize) {
    let picture = picture(name);
    let mut augmentations = Augmentations::classic(SIZE);
    augmentations.steps.truncate(steps);
    augment(bencher, &picture, &augmentations);
}

#[divan::bench(sample_size = 1)]
fn color_jitter(bencher: Bencher<'_, '_>) {
    let mut steps = Augmentations::classic(SIZE).steps;
    steps.retain(|step| matches!(step, Augmentation::ColorJitter { .. }));
    let jitter = Augmentations { size: SIZE, steps };
    augment(bencher, &square(), &jitter);
}

fn augment(bencher: Bencher<'_, '_>, picture: &RgbImage, augmentations: &Augmentations) {
    bencher
        .counter(ItemsCount::new(1u64))
        .with_inputs(|| picture.clone())
        .bench_values(|picture| augmentations.apply(picture, &mut rng(0, next_draw(), &[0; 32])));
}

#[divan::bench(args = ["brightness", "contrast", "saturation", "hue"], sample_size = 1)]
fn adjust(bencher: Bencher<'_, '_>, name: &str) {
    let adjustment = match name {
        "brightness" => Adjustment::Brightness(1.1),
        "contrast" => Adjustment::Contrast(1.1),
        "saturation" => Adjustment::Saturation(1.1),
        _ => Adjustment::Hue(0.05),
    };
    each(bencher, &Transform::ColorJitter(vec![adjustment]));
}

#[divan::bench(sample_size = 1)]
fn horizontal_flip(bencher: Bencher<'_, '_>) {
    each(bencher, &Transform::HorizontalFlip);
}

#[divan::bench(sample_size = 1)]
fn rotation(bencher: Bencher<'_, '_>) {
    each(bencher, &Transform::Rotation { degrees: 17.0 });
}

fn each(bencher: Bencher<'_, '_>, transform: &Transform) {
    let picture = square();
    bencher
        .counter(ItemsCount::new(1u64))
        .with_inputs(|| picture.clone())
        .bench_values(|picture| transform.apply(picture));
}

#[divan::bench(sample_size = 1)]
fn normalise(bencher: Bencher<'_, '_>) {
    let picture = square();
    let planes = bencher.counter(ItemsCount::new(1u64));
    planes.bench(|| PREPROCESSING.planes(picture.as_raw()));
}

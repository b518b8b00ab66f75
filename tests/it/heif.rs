//! HEIC and AVIF as Pillow reads them, in a build with the feature `heif`.

use std::fs;
use std::path::Path;

use flowers::image::Limits;
use flowers::image::decode::decode_for;

use crate::images::difference;

fn read_as_pillow_reads_it(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/heif");
    let bytes = fs::read(folder.join(name)).unwrap();
    let ours = decode_for(&bytes, &Limits::default(), &|_, _| None).unwrap();
    let theirs = image::open(folder.join(format!("{name}.png"))).unwrap();
    let theirs = theirs.into_rgb8();
    assert_eq!(ours.picture.dimensions(), theirs.dimensions(), "{name}");
    let (mean, _) = difference(&ours.picture, &theirs);
    assert!(mean < 1.0, "{name}: {mean}");
    assert_eq!(ours.warnings, []);
}

#[test]
#[cfg_attr(not(feature = "heif"), ignore = "needs the feature heif")]
fn heic_photos_are_read_upright() {
    read_as_pillow_reads_it("photo.heic");
    read_as_pillow_reads_it("turned.heic");
}

#[test]
#[cfg_attr(
    not(feature = "heif"),
    ignore = "needs the feature heif, and a libheif with AV1"
)]
fn avif_pictures_are_read() {
    read_as_pillow_reads_it("photo.avif");
}

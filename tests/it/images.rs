//! Decoding and preprocessing against Pillow and torchvision.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowers::image::augment::{self, Augmentation, Augmentations};
use flowers::image::preprocess::Interpolation;
use flowers::image::{DecodeError, Limits, Preprocessing, decode, decode::read};
use image::{ImageFormat, Rgb, RgbImage};
use proptest::prelude::*;

pub fn golden(name: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/images")
        .join(name)
}

pub fn picture(name: &str) -> RgbImage {
    read(&golden(name), &Limits::default()).unwrap()
}

/// Mean and largest absolute difference over all values.
pub fn difference(a: &RgbImage, b: &RgbImage) -> (f64, u8) {
    assert_eq!(a.dimensions(), b.dimensions());
    let differences: Vec<u8> = a
        .iter()
        .zip(b.iter())
        .map(|(a, b)| a.abs_diff(*b))
        .collect();
    let sum: f64 = differences.iter().map(|&d| f64::from(d)).sum();
    let max = differences.iter().copied().max().unwrap();
    (sum / differences.len() as f64, max)
}

#[test]
fn every_colour_type_decodes_as_pillow_does() {
    let mut seen = 0;
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(source) = name.strip_suffix(".expected.png") else {
            continue;
        };
        assert_eq!(picture(source), picture(name), "{source}");
        seen += 1;
    }
    assert_eq!(seen, 27);
}

#[test]
fn a_cut_file_is_broken_in_every_format() {
    let whole = [
        "subsampled.jpg",
        "progressive.jpg",
        "rgba.png",
        "animated.gif",
        "lossy.webp",
        "animated.webp",
        "palette.bmp",
        "lzw.tiff",
    ];
    for name in whole {
        let bytes = std::fs::read(golden(name)).unwrap();
        for length in [bytes.len() / 4, bytes.len() / 2, bytes.len() * 3 / 4] {
            let decoded = decode(&bytes[..length], &Limits::default());
            // The first of two frames is whole within three quarters of an animation.
            if name.starts_with("animated") && length > bytes.len() / 2 {
                continue;
            }
            let error = decoded.expect_err(name);
            assert!(
                matches!(error, DecodeError::Broken { .. }),
                "{name}: {error}"
            );
            assert!(!error.to_string().contains('\n'));
        }
    }
}

#[test]
fn the_name_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a picture.jpg");
    std::fs::copy(golden("rgba.png"), &path).unwrap();
    assert_eq!(
        read(&path, &Limits::default()).unwrap(),
        picture("rgba.png")
    );
    std::fs::write(&path, "roses are red").unwrap();
    let error = read(&path, &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a picture but text: supported formats are JPEG, PNG, WebP, GIF, BMP, TIFF and PPM"
    );
    std::fs::write(&path, "").unwrap();
    let error = read(&path, &Limits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::Empty));
    let error = read(&folder.path().join("none"), &Limits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::Io(_)));
}

#[test]
fn limits_hold_at_their_edge() {
    let path = golden("rgba.png");
    let bytes = std::fs::metadata(&path).unwrap().len();
    let limits = |max_pixels, max_bytes| Limits {
        max_pixels,
        max_bytes,
    };
    assert!(read(&path, &limits(24 * 16, bytes)).is_ok());
    assert!(matches!(
        read(&path, &limits(24 * 16 - 1, bytes)),
        Err(DecodeError::TooManyPixels {
            width: 24,
            height: 16,
            limit: 383
        })
    ));
    let small = limits(24 * 16, bytes - 1);
    assert!(matches!(
        read(&path, &small),
        Err(DecodeError::TooManyBytes { .. })
    ));
    assert!(matches!(
        decode(&std::fs::read(&path).unwrap(), &small),
        Err(DecodeError::TooManyBytes { .. })
    ));
}

/// A header that promises 60000 x 60000 pixels, in each format.
#[test]
fn a_huge_header_is_refused_at_once() {
    let side = 60_000_u32;
    let patched = |name: &str, places: &[(usize, &[u8])]| {
        let mut bytes = std::fs::read(golden(name)).unwrap();
        for (at, value) in places {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        bytes
    };
    let big = side.to_be_bytes();
    let little = side.to_le_bytes();
    // The CRC of the patched PNG header is wrong: written again below.
    let mut png = patched("one_pixel.png", &[(16, &big), (20, &big)]);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let jpeg = {
        let mut bytes = std::fs::read(golden("grey.jpg")).unwrap();
        let at = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        bytes[at + 5..at + 9].copy_from_slice(&[big[2], big[3], big[2], big[3]]);
        bytes
    };
    let gif = patched("animated.gif", &[(6, &little[..2]), (8, &little[..2])]);
    let bmp = patched("palette.bmp", &[(18, &little), (22, &little)]);
    let less_one = (side - 1).to_le_bytes();
    let webp = patched(
        "animated.webp",
        &[(24, &less_one[..3]), (27, &less_one[..3])],
    );
    let tiff = {
        let mut bytes = std::fs::read(golden("float.tiff")).unwrap();
        // Width, height, rows per strip.
        for tag in [0x00, 0x01, 0x16] {
            let entry = [tag, 1, 3, 0, 1, 0, 0, 0];
            let at = bytes.windows(8).position(|w| w == entry).unwrap();
            bytes[at + 8..at + 10].copy_from_slice(&little[..2]);
        }
        bytes
    };
    for (name, bytes) in [
        ("png", png),
        ("jpeg", jpeg),
        ("gif", gif),
        ("bmp", bmp),
        ("webp", webp),
        ("tiff", tiff),
    ] {
        let start = Instant::now();
        let error = decode(&bytes, &Limits::default()).expect_err(name);
        assert!(
            matches!(
                error,
                DecodeError::TooManyPixels {
                    width: 60_000,
                    height: 60_000,
                    ..
                }
            ),
            "{name}: {error}"
        );
        assert!(start.elapsed() < Duration::from_millis(100), "{name}");
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens to the bytes, the answer is a picture or an error, never a panic.
    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(vec![
            "subsampled.jpg", "progressive.jpg", "cmyk.jpg", "exif6.jpg", "rgba.png", "palette.png",
            "animated.gif", "lossy.webp", "animated.webp", "palette.bmp", "lzw.tiff", "float.tiff",
        ]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(golden(file)).unwrap();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = Limits { max_pixels: 1_000_000, ..Limits::default() };
        if let Ok(picture) = decode(&bytes, &limits) {
            prop_assert!(u64::from(picture.width()) * u64::from(picture.height()) <= 1_000_000);
        }
    }
}

#[test]
fn preprocessing_matches_torchvision() {
    for name in ["landscape", "portrait", "small", "narrow", "one_pixel"] {
        let source = picture(&format!("fit_{name}.png"));
        for (resize, crop, interpolation, mode) in [
            (32, 28, Interpolation::Bilinear, "bilinear"),
            (33, 28, Interpolation::Bicubic, "bicubic"),
            (24, 31, Interpolation::Bilinear, "bilinear"),
            (80, 25, Interpolation::Bilinear, "bilinear"),
        ] {
            let preprocessing = Preprocessing {
                resize,
                interpolation,
                ..Preprocessing::imagenet(crop)
            };
            let expected = picture(&format!("fit_{name}_{resize}_{crop}_{mode}.png"));
            let (mean, max) = difference(&preprocessing.fit(&source), &expected);
            assert!(
                mean <= 0.1 && max <= 1,
                "{name} {resize} {crop} {mode}: {mean} {max}"
            );
        }
    }
}

#[test]
fn antialias_can_be_turned_off() {
    let source = picture("fit_landscape.png");
    let smooth = Preprocessing {
        resize: 32,
        ..Preprocessing::imagenet(28)
    };
    let plain = Preprocessing {
        antialias: false,
        ..smooth.clone()
    };
    let expected = picture("fit_landscape_no_antialias.png");
    let (mean, max) = difference(&plain.fit(&source), &expected);
    assert!(mean <= 0.5 && max <= 2, "{mean} {max}");
    assert!(difference(&smooth.fit(&source), &expected).0 > 1.0);
}

#[test]
fn normalised_planes_match_torchvision() {
    let preprocessing = Preprocessing {
        resize: 32,
        ..Preprocessing::imagenet(28)
    };
    let expected: Vec<f32> = std::fs::read(golden("normalised.f32"))
        .unwrap()
        .chunks_exact(4)
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    let fitted = picture("fit_landscape_32_28_bilinear.png");
    let planes = preprocessing.planes(fitted.as_raw());
    assert_eq!(planes.len(), expected.len());
    assert!(
        planes
            .iter()
            .zip(&expected)
            .all(|(a, b)| (a - b).abs() < 1e-6)
    );
}

#[test]
fn an_extreme_shape_costs_nothing() {
    let start = Instant::now();
    for (width, height) in [(1, 60_000), (60_000, 1)] {
        let line = RgbImage::from_pixel(width, height, Rgb([9, 90, 200]));
        let fitted = Preprocessing::imagenet(224).fit(&line);
        assert!(fitted.pixels().all(|pixel| *pixel == Rgb([9, 90, 200])));
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn formats_outside_the_list_are_refused() {
    let qoi = b"qoif\0\0\0\x01\0\0\0\x01\x03\0";
    assert!(image::guess_format(qoi).is_ok());
    let error = decode(qoi, &Limits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::NotAPicture { .. }), "{error}");
}

/// A photo-like picture: smooth shapes with some grain.
fn large(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)) >> 29;
        let wave = |phase: f32| 120.0 + 100.0 * (9.0 * u + 7.0 * v * v + phase).sin();
        Rgb([0.0, 2.0, 4.0].map(|phase| wave(phase) as u8 + grain as u8))
    })
}

fn jpeg(picture: &image::DynamicImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

#[test]
fn a_large_jpeg_is_shrunk_while_it_is_decoded_and_looks_the_same() {
    let limits = Limits::default();
    for (width, height, crop) in [(2000, 1500, 224), (1500, 2000, 96), (1023, 2047, 48)] {
        let preprocessing = Preprocessing::imagenet(crop);
        let colour = image::DynamicImage::from(large(width, height));
        for picture in [colour.clone(), colour.grayscale()] {
            let bytes = jpeg(&picture);
            let whole = preprocessing.fit(&decode(&bytes, &limits).unwrap());
            let found = difference(
                &preprocessing.read(&bytes, &limits).unwrap().picture,
                &whole,
            );
            assert!(found.0 < 2.0 && found.1 < 24, "{width}x{height}: {found:?}");
            assert!(found.0 > 0.0, "{width}x{height} was decoded whole");
        }
    }
}

#[test]
fn a_random_crop_takes_a_large_jpeg_as_small_as_it_may_be() {
    let limits = Limits::default();
    let bytes = jpeg(&large(2000, 1500).into());
    let whole = decode(&bytes, &limits).unwrap();
    let crops = |scale| Augmentations {
        size: 96,
        steps: vec![Augmentation::RandomResizedCrop {
            scale,
            ratio: [0.75, 1.333],
        }],
    };
    for (augmentations, reduced) in [(crops([0.5, 1.0]), true), (crops([0.01, 0.02]), false)] {
        for epoch in 0..4 {
            let rng = || augment::rng(7, epoch, &[1; 32]);
            let preprocessing = Preprocessing::imagenet(96);
            let read = augmentations.read(&bytes, &limits, &preprocessing, &mut rng());
            let expected = augmentations.apply(whole.clone(), &mut rng());
            let found = difference(&read.unwrap(), &expected);
            assert_eq!(found.0 > 0.0, reduced, "{found:?}");
            assert!(found.0 < 2.0, "{found:?}");
        }
    }
}

#[test]
fn what_is_not_large_or_no_jpeg_is_decoded_whole() {
    let limits = Limits::default();
    let preprocessing = Preprocessing::imagenet(224);
    let small = jpeg(&large(1020, 1020).into());
    let mut png = std::io::Cursor::new(Vec::new());
    large(1100, 1100)
        .write_to(&mut png, ImageFormat::Png)
        .unwrap();
    let sharp = Preprocessing {
        antialias: false,
        ..Preprocessing::imagenet(64)
    };
    let cases = [
        (&preprocessing, small),
        (&preprocessing, png.into_inner()),
        (&sharp, jpeg(&large(1100, 1100).into())),
    ];
    for (preprocessing, bytes) in cases {
        let whole = preprocessing.fit(&decode(&bytes, &limits).unwrap());
        assert_eq!(preprocessing.read(&bytes, &limits).unwrap().picture, whole);
    }
}

#[test]
fn a_shrunk_picture_is_turned_and_limited_as_a_whole_one() {
    let preprocessing = Preprocessing::imagenet(3);
    let limits = Limits::default();
    for n in 1..=8 {
        let bytes = std::fs::read(golden(format!("exif{n}.jpg"))).unwrap();
        let whole = preprocessing.fit(&decode(&bytes, &limits).unwrap());
        let shrunk = preprocessing.read(&bytes, &limits).unwrap().picture;
        let found = difference(&shrunk, &whole);
        assert!(found.0 < 8.0, "orientation {n}: {found:?}");
        // The one that is upside down or aside is far off.
        let turned = image::imageops::rotate180(&whole);
        assert!(difference(&shrunk, &turned).0 > 20.0, "orientation {n}");
    }
    let bytes = jpeg(&large(2000, 1500).into());
    let few = Limits {
        max_pixels: 2_999_999,
        ..limits
    };
    let refused = preprocessing.read(&bytes, &few).unwrap_err();
    assert!(
        matches!(refused, DecodeError::TooManyPixels { .. }),
        "{refused}"
    );
    let cut = preprocessing
        .read(&bytes[..bytes.len() / 2], &limits)
        .unwrap_err();
    assert!(matches!(cut, DecodeError::Broken { .. }), "{cut}");
}

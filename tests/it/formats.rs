//! A few hundred pictures of every kind, each as Pillow reads it; made by tests/golden/formats.py.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use flowers::image::decode::{Warning, decode_for, inspect};
use flowers::image::{DecodeError, Decoded, Limits, decode};
use image::RgbImage;
use zip::ZipArchive;

use crate::images::difference;

/// How a file is read otherwise than by Pillow, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Apart {
    /// Pillow reads it.
    Refused,
    /// Pillow refuses it.
    Read,
    /// Other pixels, on purpose.
    Other,
    /// Rounded otherwise: at most a level apart.
    Rounded,
}

/// The files, by the beginnings of their names, that are not read as Pillow reads them.
const APART: [(&str, Apart, &str); 23] = [
    (
        "lossless_1.jpg",
        Apart::Refused,
        "libjpeg-turbo 2.1 knows no lossless JPEG",
    ),
    ("lossless_4.jpg", Apart::Refused, "likewise"),
    ("lossless_7.jpg", Apart::Refused, "likewise"),
    ("lossless_grey.jpg", Apart::Refused, "likewise"),
    ("end_missing.jpg", Apart::Read, "every pixel is there"),
    ("end_missing_ones.jpg", Apart::Read, "every pixel is there"),
    (
        "checksum_of_pixels.png",
        Apart::Refused,
        "a wrong checksum tells of damage",
    ),
    (
        "text_checksum.png",
        Apart::Read,
        "no pixel depends on the text",
    ),
    (
        "canvas_larger.gif",
        Apart::Other,
        "black around the frame, as where it is transparent",
    ),
    ("frame_moved.gif", Apart::Other, "likewise"),
    ("rgb555.bmp", Apart::Rounded, "five bits as eight"),
    ("rgb.pam", Apart::Read, "one more of the PNM family"),
    ("grey_16.tif", Apart::Other, "Pillow clips 16 bits to white"),
    ("grey_16_lzw.tif", Apart::Other, "likewise"),
    (
        "float_unit.tif",
        Apart::Other,
        "Pillow clips 0 to 1 to black",
    ),
    ("double.tif", Apart::Read, "doubles are floats"),
    ("lab.tif", Apart::Refused, "the tiff crate knows no Lab"),
    (
        "ycbcr.tif",
        Apart::Rounded,
        "the last digit of the conversion",
    ),
    (
        "bilevel_group3.tif",
        Apart::Refused,
        "the tiff crate knows no Group 3",
    ),
    ("bilevel_tiff_ccitt.tif", Apart::Refused, "likewise"),
    ("jpeg2000.jp2", Apart::Refused, "no format of photo folders"),
    ("icon.ico", Apart::Refused, "no format of photo folders"),
    (
        "rgb_lzma.tif",
        Apart::Refused,
        "the tiff crate knows no LZMA",
    ),
];

/// Formats and compressions that are left out as a whole.
fn left_out(name: &str) -> bool {
    name.ends_with(".avif")
}

struct Golden(ZipArchive<Cursor<Vec<u8>>>);

impl Golden {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats.zip");
        Self(ZipArchive::new(Cursor::new(std::fs::read(path).unwrap())).unwrap())
    }

    fn bytes(&mut self, name: &str) -> Vec<u8> {
        if name.starts_with("faults/") {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
            return std::fs::read(path.join(name)).unwrap();
        }
        let mut bytes = Vec::new();
        let mut entry = self.0.by_name(name).unwrap();
        entry.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Each file with the name of the PNG that Pillow's pixels are in.
    fn table(&mut self) -> Vec<(String, Option<String>)> {
        let table = self.bytes("table.csv");
        let mut reader = csv::Reader::from_reader(&table[..]);
        let rows = reader.deserialize::<(String, Option<String>)>();
        rows.map(Result::unwrap).collect()
    }

    fn picture(&mut self, name: &str) -> RgbImage {
        let bytes = self.bytes(name);
        let format = image::ImageFormat::Png;
        image::load_from_memory_with_format(&bytes, format)
            .unwrap()
            .into_rgb8()
    }
}

fn read(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    decode_for(bytes, &Limits::default(), &|_, _| None)
}

#[test]
fn every_kind_is_read_as_pillow_reads_it() {
    let mut golden = Golden::open();
    let table = golden.table();
    let mut apart: BTreeMap<&str, Apart> = APART
        .iter()
        .map(|&(name, apart, _)| (name, apart))
        .collect();
    for (name, pixels) in &table {
        // Whether the system's libheif knows AV1 is its own affair.
        if cfg!(feature = "heif") && name.ends_with(".avif") {
            continue;
        }
        let ours = read(&golden.bytes(name));
        let theirs = pixels.as_ref().map(|pixels| golden.picture(pixels));
        let found = match (&ours, &theirs) {
            (Err(_), None) => None,
            (Err(_), Some(_)) => Some(Apart::Refused),
            (Ok(_), None) => Some(Apart::Read),
            (Ok(ours), Some(theirs)) if ours.picture.dimensions() != theirs.dimensions() => {
                Some(Apart::Other)
            }
            (Ok(ours), Some(theirs)) => match difference(&ours.picture, theirs).1 {
                0 => None,
                1 => Some(Apart::Rounded),
                _ => Some(Apart::Other),
            },
        };
        let expected = match left_out(name) {
            true => theirs.is_some().then_some(Apart::Refused),
            false => apart.remove(name.as_str()),
        };
        assert_eq!(found, expected, "{name}: {:?}", ours.map(|_| "read"));
    }
    assert!(apart.is_empty(), "{apart:?}");
    assert!(table.len() > 390);
}

#[test]
fn refusals_are_in_words() {
    let mut golden = Golden::open();
    for (name, _) in golden.table() {
        let Err(error) = read(&golden.bytes(&name)) else {
            continue;
        };
        let text = error.to_string();
        let raw = ["0x", "Error", "::", "{", "Format", "failed", "decoder"];
        assert!(
            !raw.iter().any(|part| text.contains(part)),
            "{name}: {text}"
        );
        assert!(text.contains(": "), "{name}: no remedy in {text}");
    }
}

#[test]
fn what_is_cut_or_damaged_is_said() {
    let mut golden = Golden::open();
    let end = vec![Warning::EndMissing];
    let expected = [
        ("faults/small_half_with_eoi.jpg", end.clone()),
        ("cut_half_closed.jpg", end.clone()),
        ("cut_quarter_closed.jpg", end.clone()),
        ("cut_last_row.jpg", end.clone()),
        ("cut_progressive_closed.jpg", end.clone()),
        (
            "restart_lost.jpg",
            vec![Warning::EndMissing, Warning::Damaged],
        ),
        ("restart_doubled.jpg", vec![Warning::Damaged]),
    ];
    let mut expected: BTreeMap<&str, Vec<Warning>> = expected.into();
    for (name, _) in golden.table() {
        if let Ok(decoded) = read(&golden.bytes(&name)) {
            let warnings = expected.remove(name.as_str()).unwrap_or_default();
            assert_eq!(decoded.warnings, warnings, "{name}");
        }
    }
    assert!(expected.is_empty(), "{expected:?}");
    for name in [
        "cut_half.jpg",
        "cut_one_byte.jpg",
        "cut_progressive.jpg",
        "cut_half.png",
    ] {
        let error = read(&golden.bytes(name)).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{name}: {error}");
    }
}

/// Whoever asks for less gets less of the same picture, of every kind of JPEG alike.
#[test]
fn reduced_pictures_look_as_the_whole_ones() {
    let mut golden = Golden::open();
    let limits = Limits::default();
    let mut seen = 0;
    for (name, pixels) in golden.table() {
        if !name.ends_with(".jpg") || pixels.is_none() {
            continue;
        }
        let bytes = golden.bytes(&name);
        let Ok(whole) = decode(&bytes, &limits) else {
            continue;
        };
        let (width, height) = whole.dimensions();
        for divisor in [2, 4, 8].into_iter().filter(|&by| by <= width.min(height)) {
            let wanted = move |width: u32, height: u32| Some(width.min(height) / divisor);
            let reduced = decode_for(&bytes, &limits, &wanted).unwrap();
            assert_eq!((reduced.width, reduced.height), (width, height), "{name}");
            let sides = (width.div_ceil(divisor), height.div_ceil(divisor));
            assert_eq!(reduced.picture.dimensions(), sides, "{name}");
        }
        seen += 1;
    }
    assert!(seen > 230, "{seen}");
}

#[test]
fn headers_tell_what_decoding_does_and_a_missing_end_is_seen() {
    let mut golden = Golden::open();
    let limits = Limits::default();
    let mut told = 0;
    for (name, _) in golden.table() {
        let bytes = golden.bytes(&name);
        let decoded = read(&bytes);
        match (inspect(&bytes, &limits), decoded) {
            (Ok(Some(sides)), Ok(decoded)) => {
                assert_eq!(sides, (decoded.width, decoded.height), "{name}");
                let half = inspect(&bytes[..bytes.len() / 2], &limits);
                assert!(!matches!(half, Ok(Some(_))), "half of {name}: {half:?}");
                told += 1;
            }
            // Only the pixels are wrong, or there are none and the end is missing.
            (Ok(_), Err(_)) | (Ok(None), Ok(_)) => {}
            (Err(told), Err(found)) => assert_eq!(told.to_string(), found.to_string(), "{name}"),
            (Err(told), Ok(_)) => panic!("{name} can be decoded, but: {told}"),
        }
    }
    assert!(told > 50, "headers tell of {told} files only");
}

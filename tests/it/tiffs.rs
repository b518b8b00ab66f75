//! TIFFs made on the spot: JPEGs in them that are too large, and previews of raw photos.

use std::io::Cursor;

use flowers::image::Limits;
use flowers::image::decode::{DecodeError, decode};
use image::{GrayImage, ImageFormat, Luma};

const SHORT: u16 = 3;
const LONG: u16 = 4;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const STRIP_OFFSETS: u16 = 273;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_LENGTHS: u16 = 279;

fn grey_jpeg(side: u32) -> Vec<u8> {
    let mut jpeg = Cursor::new(Vec::new());
    let grey = GrayImage::from_pixel(side, side, Luma([90]));
    grey.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    jpeg.into_inner()
}

/// A grey TIFF of 16 pixels across whose strips all are the same JPEG, with some more entries.
fn tiff(jpeg: &[u8], strips: u32, rows: u32, more: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut entries = vec![
        (WIDTH, SHORT, 1, 16),
        (HEIGHT, LONG, 1, 16 * strips),
        (258, SHORT, 1, 8),
        (259, SHORT, 1, 7),
        (262, SHORT, 1, 1),
        (STRIP_OFFSETS, LONG, strips, 0),
        (ROWS_PER_STRIP, LONG, 1, rows),
        (STRIP_LENGTHS, LONG, strips, 0),
    ];
    entries.extend(more.iter().map(|&(tag, kind, value)| (tag, kind, 1, value)));
    entries.sort_unstable();
    let lists = 8 + 2 + 12 * entries.len() as u32 + 4;
    let data = lists + 8 * strips;
    let listed = |own: u32, at: u32| if strips == 1 { own } else { at };
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        let value = match tag {
            STRIP_OFFSETS => listed(data, lists),
            STRIP_LENGTHS => listed(jpeg.len() as u32, lists + 4 * strips),
            _ => value,
        };
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(data.to_le_bytes().repeat(strips as usize));
    bytes.extend((jpeg.len() as u32).to_le_bytes().repeat(strips as usize));
    bytes.extend(jpeg);
    bytes
}

#[test]
fn a_jpeg_larger_than_its_strip_is_refused() {
    let limits = Limits::default();
    let small = grey_jpeg(16);
    for (strips, rows) in [(4, 16), (1, 16), (1, u32::MAX)] {
        let picture = decode(&tiff(&small, strips, rows, &[]), &limits).unwrap();
        assert_eq!(picture.dimensions(), (16, 16 * strips));
    }
    let bomb = tiff(&grey_jpeg(2000), 500, 16, &[]);
    let error = decode(&bomb, &limits).unwrap_err();
    let words = "broken TIFF (its JPEGs are larger than its strips or tiles)";
    assert!(error.to_string().starts_with(words), "{error}");
    let cut = tiff(&small[..40], 4, 16, &[]);
    let error = decode(&cut, &limits).unwrap_err();
    assert!(error.to_string().starts_with("broken TIFF"), "{error}");
}

#[test]
fn tiles_far_larger_than_their_picture_are_refused() {
    let jpeg = grey_jpeg(16);
    let mut bytes = tiff(&jpeg, 1, 16, &[(284, SHORT, 1)]);
    let tag = |bytes: &mut Vec<u8>, from: u16, to: u16, value: u32| {
        let entry = from.to_le_bytes();
        let at = (10..).step_by(12).find(|&at| bytes[at..at + 2] == entry);
        let at = at.unwrap();
        bytes[at..at + 2].copy_from_slice(&to.to_le_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&LONG.to_le_bytes());
        if value > 0 {
            bytes[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
        }
    };
    // A tile for the strip; the library sorts no entries and asks for no order.
    tag(&mut bytes, 284, 322, 20_000);
    tag(&mut bytes, ROWS_PER_STRIP, 323, 20_000);
    tag(&mut bytes, STRIP_OFFSETS, 324, 0);
    tag(&mut bytes, STRIP_LENGTHS, 325, 0);
    let error = decode(&bytes, &Limits::default()).unwrap_err();
    assert!(
        matches!(error, DecodeError::TooMuchMemory { .. }),
        "{error}"
    );
}

#[test]
fn the_preview_of_a_raw_photo_is_not_taken_for_the_photo() {
    let jpeg = grey_jpeg(16);
    let (dng_version, subfile, sub_ifds) = (50706, 254, 330);
    let raw = [
        vec![(dng_version, LONG, 0x0104)],
        vec![(subfile, LONG, 1), (sub_ifds, LONG, 8)],
    ];
    for entries in raw {
        let bytes = tiff(&jpeg, 1, 16, &entries);
        let error = decode(&bytes, &Limits::default()).unwrap_err();
        let raw = matches!(error, DecodeError::Unsupported { what } if what.contains("raw file"));
        assert!(raw, "{error}");
    }
    // A reduced picture without a larger one, and a page of several.
    for kind in [1, 2] {
        let bytes = tiff(&jpeg, 1, 16, &[(subfile, LONG, kind)]);
        assert!(decode(&bytes, &Limits::default()).is_ok(), "{kind}");
    }
}

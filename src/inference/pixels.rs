//! Images as the numbers that a network's first layer takes.

use half::bf16;

use super::Images;
use crate::graph::QuantizationParameters;
use crate::image::Preprocessing;

/// Type of a network's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Element {
    Float32,
    Bfloat16,
    Uint8(QuantizationParameters),
}

impl Element {
    /// Size in bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Bfloat16 => 2,
            Self::Uint8(_) => 1,
        }
    }
}

/// Writes images with the channels innermost; those of 8 bits through tables.
pub(super) struct Pixels {
    tables: Tables,
    image_size: usize,
}

/// The number of each 8-bit value, for each channel.
type Table<const N: usize> = [[[u8; N]; 256]; 3];

enum Tables {
    Float32(Box<Table<4>>),
    Bfloat16(Box<Table<2>>),
    Uint8(Box<Table<1>>, QuantizationParameters),
}

impl Pixels {
    pub(super) fn new(preprocessing: &Preprocessing, image_size: usize, element: Element) -> Self {
        let real = preprocessing.tables();
        Self {
            tables: match element {
                Element::Float32 => {
                    Tables::Float32(Box::new(real.map(|table| table.map(of_float32))))
                }
                Element::Bfloat16 => {
                    Tables::Bfloat16(Box::new(real.map(|table| table.map(of_bfloat16))))
                }
                Element::Uint8(qparams) => {
                    let integer = |real| [qparams.quantize(real)];
                    Tables::Uint8(Box::new(real.map(|table| table.map(integer))), qparams)
                }
            },
            image_size,
        }
    }

    pub(super) fn image_size(&self) -> usize {
        self.image_size
    }

    /// Number of values of an image.
    pub(super) fn values_of_one(&self) -> usize {
        (3 * self.image_size * self.image_size).max(1)
    }

    /// Writes a batch in the order (n, y, x, channel).
    pub(super) fn write(&self, images: Images<'_>, to: &mut [u8]) {
        let size = self.image_size;
        match &self.tables {
            Tables::Float32(tables) => write(images, size, tables, of_float32, to),
            Tables::Bfloat16(tables) => write(images, size, tables, of_bfloat16, to),
            Tables::Uint8(tables, qparams) => {
                write(images, size, tables, |real| [qparams.quantize(real)], to);
            }
        }
    }
}

fn of_float32(real: f32) -> [u8; 4] {
    real.to_ne_bytes()
}

fn of_bfloat16(real: f32) -> [u8; 2] {
    bf16::from_f32(real).to_ne_bytes()
}

fn write<const N: usize>(
    images: Images<'_>,
    image_size: usize,
    [red, green, blue]: &Table<N>,
    number: impl Fn(f32) -> [u8; N],
    to: &mut [u8],
) {
    let places = to.as_chunks_mut().0.as_chunks_mut().0;
    match images {
        Images::Rgb8(pixels) => {
            for (place, &[r, g, b]) in places.iter_mut().zip(pixels.as_chunks().0) {
                let at = [r, g, b].map(usize::from);
                *place = [red[at[0]], green[at[1]], blue[at[2]]];
            }
        }
        Images::Normalised(planes) => {
            let area = (image_size * image_size).max(1);
            let images = planes.chunks_exact(3 * area);
            for (image, places) in images.zip(places.chunks_exact_mut(area)) {
                for (at, place) in places.iter_mut().enumerate() {
                    *place = [0, 1, 2].map(|channel| number(image[channel * area + at]));
                }
            }
        }
    }
}

//! Sampling a part of a picture through an affine map, bilinear, in fixed point.

use std::array::from_fn;

use image::RgbImage;

use super::resample::Frame;

/// What is seen beyond the border.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outside {
    Black,
    /// The nearest pixel.
    Edge,
}

/// An affine map of places in pixels: `x * rows[i][0] + y * rows[i][1] + rows[i][2]`.
///
/// The corner of a picture is at (0, 0), the middle of its first pixel at (0.5, 0.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Map([[f64; 3]; 2]);

impl Map {
    pub(super) const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    pub(super) fn mirror_x(width: f64) -> Self {
        Self([[-1.0, 0.0, width], [0.0, 1.0, 0.0]])
    }

    pub(super) fn mirror_y(height: f64) -> Self {
        Self([[1.0, 0.0, 0.0], [0.0, -1.0, height]])
    }

    /// From a place in a picture to the one where it was before it was turned counter-clockwise
    /// around its middle.
    pub(super) fn rotation(degrees: f32, size: (f64, f64)) -> Self {
        let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
        Self::about_the_middle([[cos, -sin], [sin, cos]], size, (0.0, 0.0))
    }

    /// A linear map about the middle, of what is `shift` pixels further to the right and down.
    pub(super) fn about_the_middle(
        [[a, b], [c, d]]: [[f64; 2]; 2],
        (width, height): (f64, f64),
        (shift_x, shift_y): (f64, f64),
    ) -> Self {
        let (cx, cy) = (width / 2.0, height / 2.0);
        let (x, y) = (cx + shift_x, cy + shift_y);
        Self([[a, b, cx - a * x - b * y], [c, d, cy - c * x - d * y]])
    }

    /// From a place in a resized picture to the one in the original.
    pub(super) fn scaling(original: (u32, u32), resized: (u32, u32)) -> Self {
        let ratio = |original: u32, resized: u32| f64::from(original) / f64::from(resized.max(1));
        Self([
            [ratio(original.0, resized.0), 0.0, 0.0],
            [0.0, ratio(original.1, resized.1), 0.0],
        ])
    }

    /// This map of what another one gives.
    pub(super) fn after(self, first: Self) -> Self {
        let [[a, b, c], [d, e, f]] = first.0;
        Self(
            self.0
                .map(|[x, y, offset]| [x * a + y * d, x * b + y * e, x * c + y * f + offset]),
        )
    }

    /// Whether the axes are turned round, of a map that does nothing else.
    pub(super) fn mirrors(&self) -> (bool, bool) {
        (self.0[0][0] < 0.0, self.0[1][1] < 0.0)
    }

    fn at(&self, x: f64, y: f64) -> [f64; 2] {
        self.0.map(|[a, b, c]| a * x + b * y + c)
    }
}

/// Bits behind the point of a place in the picture; the highest 8 are used.
const POINT: u32 = 32;

/// Half of what the lowest of those is worth.
const ROUNDING: i64 = 1 << (POINT - 9);

/// A result of the given size, whose pixels are those of the frame where the map from the result to the
/// frame says, bilinear between the middles of pixels, within 1 of 255 of the exact value.
pub(super) fn warp(
    picture: &RgbImage,
    frame: Frame,
    (width, height): (u32, u32),
    map: Map,
    outside: Outside,
) -> RgbImage {
    let mut result = RgbImage::new(width, height);
    if width == 0 || height == 0 || frame.width == 0 || frame.height == 0 {
        return result;
    }
    let sampled = Sampled::new(picture, frame, outside);
    let [step_x, step_y] = map.0.map(|[step, ..]| fixed(step));
    for (y, row) in result.chunks_exact_mut(3 * width as usize).enumerate() {
        let start = map.at(0.5, y as f64 + 0.5);
        // From here on, whole numbers are the middles of pixels.
        let [mut x, mut y] = start.map(|place| fixed(place - 0.5) + ROUNDING);
        for pixel in row.as_chunks_mut::<3>().0 {
            *pixel = sampled.at(x, y);
            x += step_x;
            y += step_y;
        }
    }
    result
}

fn fixed(value: f64) -> i64 {
    (value * (1u64 << POINT) as f64).round() as i64
}

struct Sampled<'a> {
    /// From the first pixel of the frame on.
    bytes: &'a [u8],
    /// Bytes from one row to the next.
    stride: usize,
    width: i64,
    height: i64,
    outside: Outside,
}

impl<'a> Sampled<'a> {
    fn new(picture: &'a RgbImage, frame: Frame, outside: Outside) -> Self {
        let stride = 3 * picture.width() as usize;
        let start = frame.top as usize * stride + 3 * frame.left as usize;
        Self {
            bytes: picture.get(start..).unwrap_or_default(),
            stride,
            width: frame.width.into(),
            height: frame.height.into(),
            outside,
        }
    }

    /// The colour at a place in fixed point.
    fn at(&self, x: i64, y: i64) -> [u8; 3] {
        let (column, row) = (x >> POINT, y >> POINT);
        if (0..self.width - 1).contains(&column) && (0..self.height - 1).contains(&row) {
            let at = row as usize * self.stride + 3 * column as usize;
            // A little more than two pixels, and so never at the very end.
            let pair = |at| self.bytes.get(at..)?.first_chunk::<8>();
            if let (Some(upper), Some(lower)) = (pair(at), pair(at + self.stride)) {
                return between(upper, lower, x, y);
            }
        }
        self.at_the_border(x, y)
    }

    fn at_the_border(&self, x: i64, y: i64) -> [u8; 3] {
        let half = 1 << (POINT - 1);
        let is_inside = (0..self.width << POINT).contains(&(x + half))
            && (0..self.height << POINT).contains(&(y + half));
        if self.outside == Outside::Black && !is_inside {
            return [0; 3];
        }
        let (column, row) = (x >> POINT, y >> POINT);
        let pair = |row: i64| {
            let row = row.clamp(0, self.height - 1) as usize * self.stride;
            let place = |i: usize| {
                let column = (column + i as i64 / 3).clamp(0, self.width - 1) as usize;
                row + 3 * column + i % 3
            };
            from_fn(|i| if i < 6 { self.bytes[place(i)] } else { 0 })
        };
        between(&pair(row), &pair(row + 1), x, y)
    }
}

/// The mean of two pixels and the two below them, weighted by the fractions of a place: first of each
/// column, then of the two. Four values of 16 bits are computed at once, of 8 bits times weights that
/// add up to 256.
fn between(upper: &[u8; 8], lower: &[u8; 8], x: i64, y: i64) -> [u8; 3] {
    const BYTES: u64 = 0x00ff_00ff_00ff_00ff;
    const HALF: u64 = 0x0080_0080_0080_0080;
    let [right, down] = [x, y].map(|place| (place >> (POINT - 8)) as u64 & 0xff);
    let blend = |first: u64, second: u64, weight: u64| {
        (first * (256 - weight) + second * weight + HALF) >> 8 & BYTES
    };
    let (upper, lower) = (u64::from_le_bytes(*upper), u64::from_le_bytes(*lower));
    // Red, blue, green of the next; green, red of the next, blue of the next.
    let even = blend(upper & BYTES, lower & BYTES, down);
    let odd = blend(upper >> 8 & BYTES, lower >> 8 & BYTES, down);
    // Red, blue, green of both.
    let this = even & 0xffff_ffff | (odd & 0xffff) << 32;
    let next = odd >> 16 & 0xffff_ffff | even & 0xffff_0000_0000;
    let mean = blend(this, next, right);
    [mean as u8, (mean >> 32) as u8, (mean >> 16) as u8]
}

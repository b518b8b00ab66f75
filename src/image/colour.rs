//! Colour adjustments with the arithmetic of Pillow's `ImageEnhance` and HSV mode, several at a time.

use image::RgbImage;

/// Pixels that are adjusted together, so that the compiler can use vector instructions.
const LANES: usize = 64;

/// In the middle of where single precision has whole numbers and no others.
const WHOLE: f32 = 12_582_912.0;

/// Values 0 to 255 of one channel, whole numbers between the adjustments.
type Lanes = [f32; LANES];

/// One colour adjustment: torchvision's `adjust_*` on PIL images, values differ by less than
/// 0.05 of 255 in the mean, and few by more than 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Adjustment {
    /// Factor; 1 changes nothing.
    Brightness(f32),
    /// Factor; 1 changes nothing.
    Contrast(f32),
    /// Factor; 1 changes nothing.
    Saturation(f32),
    /// Part of the colour circle, -0.5 to 0.5; 0 changes nothing.
    Hue(f32),
}

/// Applies adjustments in their order: torchvision's `adjust_brightness`, `adjust_contrast`,
/// `adjust_saturation` and `adjust_hue` on PIL images.
///
/// All are made in one pass. A contrast begins another, as it needs the mean grey of the picture that
/// it meets.
pub(super) fn adjust(picture: &mut RgbImage, adjustments: &[Adjustment]) {
    let is_contrast = |adjustment: &Adjustment| matches!(adjustment, Adjustment::Contrast(_));
    let mut passes = adjustments
        .chunk_by(|_, next| !is_contrast(next))
        .peekable();
    let mut mean = match adjustments.first() {
        Some(first) if is_contrast(first) => pass(picture, &[], 0.0, true),
        _ => 0.0,
    };
    while let Some(adjustments) = passes.next() {
        mean = pass(picture, adjustments, mean, passes.peek().is_some());
    }
}

/// Applies the adjustments, of which a contrast starts from `mean`; the mean grey of the result if it is
/// `asked` for.
fn pass(picture: &mut RgbImage, adjustments: &[Adjustment], mean: f32, asked: bool) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions.
        return unsafe { pass_avx2(picture, adjustments, mean, asked) };
    }
    pass_inline(picture, adjustments, mean, asked)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pass_avx2(picture: &mut RgbImage, adjustments: &[Adjustment], mean: f32, asked: bool) -> f32 {
    pass_inline(picture, adjustments, mean, asked)
}

#[inline(always)]
fn pass_inline(picture: &mut RgbImage, adjustments: &[Adjustment], mean: f32, asked: bool) -> f32 {
    let count = picture.as_raw().len() / 3;
    let mut sum = 0.0;
    for pixels in picture.chunks_mut(3 * LANES) {
        let mut colour = Colour::of(pixels);
        for adjustment in adjustments {
            match *adjustment {
                Adjustment::Brightness(factor) => colour.away_from(&[0.0; LANES], factor),
                Adjustment::Contrast(factor) => colour.away_from(&[mean; LANES], factor),
                Adjustment::Saturation(factor) => colour.away_from(&colour.luma(), factor),
                Adjustment::Hue(shift) => colour.turn(shift),
            }
        }
        if !adjustments.is_empty() {
            colour.store(pixels);
        }
        if asked {
            let luma = colour.luma();
            // Whole numbers, too small to lose any in single precision.
            sum += f64::from(luma[..pixels.len() / 3].iter().sum::<f32>());
        }
    }
    (sum / count.max(1) as f64 + 0.5).floor() as f32
}

/// Some pixels, channel by channel.
struct Colour([Lanes; 3]);

impl Colour {
    /// Of up to [`LANES`] interleaved pixels; the other lanes are black.
    #[inline(always)]
    fn of(pixels: &[u8]) -> Self {
        let mut colour = [[0.0; LANES]; 3];
        let [r, g, b] = &mut colour;
        let lanes = r.iter_mut().zip(g).zip(b);
        for (((r, g), b), pixel) in lanes.zip(pixels.chunks_exact(3)) {
            (*r, *g, *b) = (pixel[0].into(), pixel[1].into(), pixel[2].into());
        }
        Self(colour)
    }

    #[inline(always)]
    fn store(&self, pixels: &mut [u8]) {
        let [r, g, b] = &self.0;
        let (r, g, b) = (bytes(r), bytes(g), bytes(b));
        let lanes = r.iter().zip(&g).zip(&b);
        for (((r, g), b), pixel) in lanes.zip(pixels.chunks_exact_mut(3)) {
            (pixel[0], pixel[1], pixel[2]) = (*r, *g, *b);
        }
    }

    #[inline(always)]
    /// ITU-R 601-2 luma in 16-bit fixed point, of which single precision loses nothing.
    fn luma(&self) -> Lanes {
        let [r, g, b] = &self.0;
        let mut luma = [0.0; LANES];
        for i in 0..LANES {
            let scaled = r[i] * 19595.0 + g[i] * 38470.0 + b[i] * 7471.0 + 32768.0;
            luma[i] = floor(scaled / 65536.0);
        }
        luma
    }

    /// `from + factor * (value - from)`, clipped and cut to a whole number.
    #[inline(always)]
    fn away_from(&mut self, from: &Lanes, factor: f32) {
        for channel in &mut self.0 {
            for (value, from) in channel.iter_mut().zip(from) {
                *value = floor(clip(from + factor * (*value - from), 255.0));
            }
        }
    }

    /// Turns the hue by `shift` of a full circle, by way of 8-bit HSV.
    #[inline(always)]
    fn turn(&mut self, shift: f32) {
        // A step of the 8-bit circle; the cast to u8 wraps, as Pillow's bytes do.
        let step = f32::from((f64::from(shift) * 255.0) as i32 as u8);
        let [r, g, b] = &mut self.0;
        for i in 0..LANES {
            [r[i], g[i], b[i]] = turned([r[i], g[i], b[i]], step);
        }
    }
}

/// A colour whose hue is turned by so many of 256 steps.
#[inline(always)]
fn turned([r, g, b]: [f32; 3], step: f32) -> [f32; 3] {
    let max = larger(larger(r, g), b);
    let chroma = max - smaller(smaller(r, g), b);
    // A grey has no hue, and any will do.
    let per_chroma = 1.0 / larger(chroma, 0.5);
    let of_green = if g == max {
        2.0 + (b - r) * per_chroma
    } else {
        4.0 + (r - g) * per_chroma
    };
    let sextant = if r == max {
        (g - b) * per_chroma
    } else {
        of_green
    };
    let turn = if sextant < 0.0 {
        sextant + 6.0
    } else {
        sextant
    };
    let hue = floor(turn * (255.0 / 6.0)) + step;
    let hue = if hue < 256.0 { hue } else { hue - 256.0 };
    let saturation = floor(chroma * 255.0 / larger(max, 1.0));

    // The distance of each channel's sextant tells how far it is below the maximum.
    let position = hue * (6.0 / 255.0);
    let below = max * saturation / 255.0;
    [5.0, 3.0, 1.0].map(|channel| {
        let turn = channel + position;
        let turn = if turn < 6.0 { turn } else { turn - 6.0 };
        floor(max - below * clip(smaller(turn, 4.0 - turn), 1.0) + 0.5)
    })
}

#[inline(always)]
fn clip(value: f32, max: f32) -> f32 {
    smaller(larger(value, 0.0), max)
}

// One instruction each, unlike those of the standard library, which look for NaN.

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The largest whole number that is not above a value of 0 to 256, or the next if that is within 1e-5:
/// faster than the function of the standard library where the processor has no instruction for it.
#[inline(always)]
fn floor(value: f32) -> f32 {
    (value - 0.49999) + WHOLE - WHOLE
}

/// Whole numbers of 0 to 255, which are then the lowest bits.
#[inline(always)]
fn bytes(lanes: &Lanes) -> [u8; LANES] {
    let mut bytes = [0; LANES];
    for (byte, value) in bytes.iter_mut().zip(lanes) {
        *byte = (value + WHOLE).to_bits() as u8;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjusted<const N: usize>(colours: [[u8; 3]; N], adjustments: &[Adjustment]) -> [[u8; 3]; N] {
        let mut picture = RgbImage::from_raw(N as u32, 1, colours.concat()).unwrap();
        adjust(&mut picture, adjustments);
        std::array::from_fn(|i| picture.get_pixel(i as u32, 0).0)
    }

    #[test]
    fn the_hue_of_greys_stays_and_that_of_primaries_goes_round() {
        let [r, g, b] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]];
        let third = Adjustment::Hue(1.0 / 3.0);
        let grey = [7, 7, 7];
        assert_eq!(adjusted([r, g, b, grey], &[third]), [g, b, r, grey]);
        assert_eq!(
            adjusted([r, g, [0; 3]], &[Adjustment::Hue(0.0)]),
            [r, g, [0; 3]]
        );
    }

    #[test]
    fn blending_clips_and_truncates() {
        let colours = [[200, 0, 3]];
        let brighter = Adjustment::Brightness(1.5);
        assert_eq!(adjusted(colours, &[brighter]), [[255, 0, 4]]);
        assert_eq!(
            adjusted(colours, &[Adjustment::Brightness(0.5)]),
            [[100, 0, 1]]
        );
        let grey = [76; 3];
        assert_eq!(
            adjusted([[255, 0, 0]], &[Adjustment::Saturation(0.0)]),
            [grey]
        );
    }

    #[test]
    fn contrast_starts_from_the_grey_of_the_picture_that_it_meets() {
        let to_grey = [Adjustment::Brightness(0.5), Adjustment::Contrast(0.0)];
        // The mean of 100 and 0.
        assert_eq!(adjusted([[200; 3], [0; 3]], &to_grey), [[50; 3]; 2]);
        let [contrast, brightness] = [to_grey[1], to_grey[0]];
        assert_eq!(
            adjusted([[200; 3], [0; 3]], &[contrast, brightness]),
            [[50; 3]; 2]
        );
        let twice = [contrast, Adjustment::Brightness(2.0), contrast];
        assert_eq!(adjusted([[80; 3], [0; 3]], &twice), [[80; 3]; 2]);
    }
}

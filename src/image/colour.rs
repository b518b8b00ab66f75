//! Colour adjustments with the arithmetic of Pillow's `ImageEnhance` and HSV mode.

use image::RgbImage;

/// Multiplies by `factor`, clipped: torchvision's `adjust_brightness` on PIL images.
pub(super) fn brightness(picture: &mut RgbImage, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(0, value as u8, factor));
    for value in picture.iter_mut() {
        *value = table[usize::from(*value)];
    }
}

/// Moves away from (or to) the mean grey: torchvision's `adjust_contrast` on PIL images.
pub(super) fn contrast(picture: &mut RgbImage, factor: f32) {
    let pixels = picture.as_raw().len() / 3;
    let sum: u64 = picture.pixels().map(|pixel| u64::from(luma(pixel.0))).sum();
    let mean = (sum as f64 / pixels.max(1) as f64 + 0.5) as u8;
    let table: [u8; 256] = std::array::from_fn(|value| blend(mean, value as u8, factor));
    for value in picture.iter_mut() {
        *value = table[usize::from(*value)];
    }
}

/// Moves away from (or to) the grey of each pixel: torchvision's `adjust_saturation` on PIL images.
pub(super) fn saturation(picture: &mut RgbImage, factor: f32) {
    for pixel in picture.pixels_mut() {
        let grey = luma(pixel.0);
        pixel.0 = pixel.0.map(|value| blend(grey, value, factor));
    }
}

/// Turns the hue by `shift` of a full circle: torchvision's `adjust_hue` on PIL images.
pub(super) fn hue(picture: &mut RgbImage, shift: f32) {
    // A step of the 8-bit circle; the cast to u8 wraps, as Pillow's bytes do.
    let step = (f64::from(shift) * 255.0) as i32 as u8;
    for pixel in picture.pixels_mut() {
        let [hue, saturation, value] = to_hsv(pixel.0);
        pixel.0 = from_hsv([hue.wrapping_add(step), saturation, value]);
    }
}

/// `from + factor * (to - from)`, cut to an integer and clipped.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // `as` saturates.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// ITU-R 601-2 luma in 16-bit fixed point.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

// Pillow stores single precision and computes in double; so do these two.

fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    if max == min {
        return [0, 0, max];
    }
    let range = f32::from(max - min);
    let saturation = range / f32::from(max);
    let [rc, gc, bc] = [r, g, b].map(|value| f64::from(f32::from(max - value) / range));
    let sextant = if r == max {
        bc - gc
    } else if g == max {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    let turn = f64::from(sextant as f32) / 6.0;
    let turn = if turn < 0.0 { turn + 1.0 } else { turn } as f32;
    let byte = |part: f32| (f64::from(part) * 255.0) as u8;
    [byte(turn), byte(saturation), max]
}

fn from_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let position = f64::from(hue) * 6.0 / 255.0;
    let sextant = position as u8;
    let fraction = f64::from((position - f64::from(sextant)) as f32);
    let saturation = f64::from(f32::from(saturation) / 255.0);
    let level = |part: f64| (f64::from(value) * (1.0 - saturation * part) + 0.5) as u8;
    let (low, falling, rising) = (level(1.0), level(fraction), level(1.0 - fraction));
    match sextant % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsv_of_the_primaries() {
        assert_eq!(to_hsv([255, 0, 0]), [0, 255, 255]);
        assert_eq!(to_hsv([0, 255, 0]), [85, 255, 255]);
        assert_eq!(to_hsv([0, 0, 255]), [170, 255, 255]);
        assert_eq!(to_hsv([7, 7, 7]), [0, 0, 7]);
        for primary in [[255, 0, 0], [0, 255, 0], [0, 0, 255]] {
            assert_eq!(from_hsv(to_hsv(primary)), primary);
        }
    }

    #[test]
    fn blending_clips_and_truncates() {
        assert_eq!(blend(0, 200, 1.5), 255);
        assert_eq!(blend(200, 0, 1.5), 0);
        assert_eq!(blend(0, 3, 0.5), 1);
        assert_eq!(luma([255, 255, 255]), 255);
        assert_eq!(luma([255, 0, 0]), 76);
    }
}

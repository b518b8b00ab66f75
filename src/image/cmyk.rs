//! Inks to light, in Pillow's arithmetic.

/// Pillow's `convert("RGB")` of `CMYK`: each ink takes its part of what black leaves.
pub(super) fn to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - k;
    [c, m, y].map(|ink| light - part(ink, light))
}

/// `a * b / 255`, rounded.
fn part(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inks_take_light() {
        assert_eq!(to_rgb([0; 4]), [255; 3]);
        assert_eq!(to_rgb([0, 0, 0, 255]), [0; 3]);
        assert_eq!(to_rgb([255, 128, 0, 55]), [0, 100, 200]);
    }
}

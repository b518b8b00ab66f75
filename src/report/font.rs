//! The typeface of the plots: Inter, embedded, so that text needs no installed font.

use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};
use unicode_width::UnicodeWidthChar;

/// A subset of Inter Regular (Latin, Greek, Cyrillic); how it was made stands beside it.
pub(super) const INTER: &[u8] = include_bytes!("../../assets/report/fonts/Inter-Regular.otf");

/// Inter of every weight from 400 to 700 as WOFF2, for the HTML report. European scripts other
/// than Latin are left to the reader's own fonts.
pub(super) const FOR_BROWSERS: &[u8] =
    include_bytes!("../../assets/report/fonts/Inter-latin.woff2");

/// The width of a line of text in pixels at a font size in pixels. Characters that Inter lacks
/// are estimated: another font, not known here, will draw them.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let Ok(font) = FontRef::new(INTER) else {
        return text.chars().map(|c| estimate(c) * size).sum();
    };
    let (unscaled, default) = (Size::unscaled(), LocationRef::default());
    let em = f64::from(font.metrics(unscaled, default).units_per_em);
    let (charmap, glyphs) = (font.charmap(), font.glyph_metrics(unscaled, default));
    let advance = |c| {
        let known = charmap.map(c).and_then(|glyph| glyphs.advance_width(glyph));
        size * known.map_or_else(|| estimate(c), |units| f64::from(units) / em)
    };
    text.chars().map(advance).sum()
}

fn estimate(c: char) -> f64 {
    match c.width() {
        Some(0) | None => 0.0,
        Some(1) => 0.62,
        Some(_) => 1.0,
    }
}

/// Whether Inter has a glyph for every visible character.
pub(super) fn covers(text: &str) -> bool {
    FontRef::new(INTER).is_ok_and(|font| {
        let charmap = font.charmap();
        text.chars()
            .all(|c| c.is_control() || charmap.map(c).is_some())
    })
}

/// The text, cut and ended with an ellipsis where it is wider than `limit` pixels.
pub(super) fn fitted(text: &str, size: f64, limit: f64) -> String {
    if width(text, size) <= limit {
        return text.into();
    }
    let mut cut = String::new();
    let mut left = limit - width("…", size);
    for c in text.chars() {
        left -= width(c.encode_utf8(&mut [0; 4]), size);
        if left < 0.0 {
            break;
        }
        cut.push(c);
    }
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_come_from_the_font() {
        assert!(width("iii", 10.0) < width("mmm", 10.0) / 2.0);
        assert!((width("rose", 20.0) - 2.0 * width("rose", 10.0)).abs() < 1e-9);
        assert_eq!(width("玫瑰", 10.0), 20.0);
    }

    #[test]
    fn long_text_is_cut_to_its_limit() {
        assert_eq!(fitted("rose", 10.0, 100.0), "rose");
        let cut = fitted("Chrysanthemum morifolium", 10.0, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 10.0) <= 60.0, "{cut}");
        assert_eq!(fitted("rose", 10.0, 0.0), "…");
    }

    #[test]
    fn the_subset_covers_european_scripts_only() {
        assert!(covers("Löwenzahn, мак, ίριδα → 96.3% − ≥ ½…"));
        assert!(!covers("玫瑰"));
    }
}

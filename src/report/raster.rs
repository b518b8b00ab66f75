//! SVG to PNG.

use std::io::Cursor;
use std::sync::Arc;

use anyhow::Context;
use image::{ImageFormat, RgbImage};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::fontdb::{Database, FaceInfo, ID, Style};
use resvg::usvg::{FontResolver, Options, Tree};
use skrifa::{FontRef, MetadataProvider};

use super::font;
use crate::error::{Error, Result};

/// Pixels a unit of the drawing: sharp on a dense screen and in print.
const SCALE: f32 = 2.0;
/// Longest side of a picture, which drawings of hundreds of classes would pass.
const MAX_SIDE: f32 = 6000.0;

/// Draws an SVG on white, two pixels a unit, as an 8-bit RGB PNG.
///
/// Text is set in the embedded font. The system's fonts are looked at only when it lacks a
/// character, as finding them takes longer than the drawing.
pub(super) fn png(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = Database::new();
    fonts.load_font_data(font::INTER.to_vec());
    if !font::covers(svg) {
        fonts.load_system_fonts();
    }
    let options = Options {
        fontdb: Arc::new(fonts),
        font_resolver: FontResolver {
            select_font: FontResolver::default_font_selector(),
            select_fallback: Box::new(|c, tried, fonts| fallback(c, tried, fonts)),
        },
        font_family: "Inter".into(),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).context("drawing a plot")?;
    let size = tree.size();
    let scale = SCALE.min(MAX_SIDE / size.width().max(size.height()));
    let (width, height) = (
        (size.width() * scale).ceil() as u32,
        (size.height() * scale).ceil() as u32,
    );
    let mut pixmap = Pixmap::new(width, height).ok_or_else(|| {
        Error::Environment(format!("not enough memory for a {width}x{height} picture"))
    })?;
    pixmap.fill(Color::WHITE);
    resvg::render(
        &tree,
        Transform::from_scale(scale, scale),
        &mut pixmap.as_mut(),
    );

    let rgb = pixmap
        .data()
        .chunks_exact(4)
        .flat_map(|rgba| [rgba[0], rgba[1], rgba[2]]);
    let picture = RgbImage::from_raw(width, height, rgb.collect()).context("drawing a plot")?;
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// The font for a character that Inter lacks: of those that have it, the one most like Inter.
fn fallback(c: char, tried: &[ID], fonts: &Database) -> Option<ID> {
    let unlike = |face: &FaceInfo| {
        let sans = face.families.iter().any(|(name, _)| name.contains("Sans"));
        let tilted = face.style != Style::Normal;
        (tilted, !sans, face.monospaced, face.weight.0.abs_diff(400))
    };
    let has = |face: &&FaceInfo| {
        let found = fonts.with_face_data(face.id, |data, index| {
            FontRef::from_index(data, index).is_ok_and(|font| font.charmap().map(c).is_some())
        });
        found == Some(true)
    };
    let mut faces: Vec<&FaceInfo> = fonts.faces().collect();
    faces.retain(|face| !tried.contains(&face.id));
    faces.sort_by_key(|face| unlike(face));
    faces.into_iter().find(has).map(|face| face.id)
}

//! A small SVG writer: what the plots are drawn with.
//!
//! Every shape has both a colour, for renderers without a style sheet, and a class, by which
//! the report's style sheet gives it another colour in dark mode.

use std::fmt::Write;

use super::font;

/// A colour of the plots: its CSS class and what it is on white paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink {
    class: &'static str,
    colour: &'static str,
}

impl Ink {
    pub(super) const TEXT: Self = Self::new("p-text", "#1b2733");
    pub(super) const MUTED: Self = Self::new("p-muted", "#66737f");
    pub(super) const GRID: Self = Self::new("p-grid", "#e2e7ec");
    pub(super) const PANEL: Self = Self::new("p-panel", "#f4f6f9");
    pub(super) const PAPER: Self = Self::new("p-paper", "#ffffff");
    pub(super) const HEAT: Self = Self::new("p-heat", "#0b4f9f");
    pub(super) const ON_HEAT: Self = Self::new("p-on-heat", "#ffffff");
    pub(super) const TRAIN: Self = Self::new("p-train", "#d9772b");
    pub(super) const VAL: Self = Self::new("p-val", "#1f6fc2");
    pub(super) const GAP: Self = Self::new("p-gap", "#d0473e");

    const fn new(class: &'static str, colour: &'static str) -> Self {
        Self { class, colour }
    }
}

/// Which point of a text stands at its coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text: its baseline starts, is centred, or ends at (x, y), and is turned around
/// that point by `rotate` degrees clockwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub x: f64,
    pub y: f64,
    pub size: f64,
    pub anchor: Anchor,
    pub rotate: f64,
    pub ink: Ink,
}

impl Text {
    /// Upright text that starts at (x, y).
    pub(super) fn at(x: f64, y: f64, size: f64) -> Self {
        Self {
            x,
            y,
            size,
            anchor: Anchor::Start,
            rotate: 0.0,
            ink: Ink::TEXT,
        }
    }

    pub(super) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(super) fn rotate(self, rotate: f64) -> Self {
        Self { rotate, ..self }
    }

    pub(super) fn ink(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }
}

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub(super) fn right(&self) -> f64 {
        self.x + self.width
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// A drawing in the making; sizes are in pixels, y points down.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Svg {
    /// `title` is what a screen reader says of the picture.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self {
            width: width.ceil(),
            height: height.ceil(),
            title: escape(title),
            body: String::new(),
        };
        let paper = Rect {
            x: 0.0,
            y: 0.0,
            width: svg.width,
            height: svg.height,
        };
        svg.rect(paper, Ink::PAPER, 1.0, None);
        svg
    }

    /// A filled rectangle; `hint` is shown where the pointer rests on it.
    pub(super) fn rect(&mut self, rect: Rect, ink: Ink, opacity: f64, hint: Option<&str>) {
        let Rect {
            x,
            y,
            width,
            height,
        } = rect;
        let (x, y, width, height) = (Px(x), Px(y), Px(width), Px(height));
        let opacity = Opacity("fill", opacity);
        let shape = format!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}"{}{opacity}"#,
            Fill(ink)
        );
        match hint {
            Some(hint) => self.push(&format!("{shape}><title>{}</title></rect>", escape(hint))),
            None => self.push(&format!("{shape}/>")),
        }
    }

    /// A rectangle whose opacity changes evenly from its bottom to its top.
    pub(super) fn gradient(&mut self, rect: Rect, ink: Ink, (bottom, top): (f64, f64)) {
        let stop = |offset: u8, opacity| {
            let opacity = Opacity("stop", opacity);
            let Ink { class, colour } = ink;
            format!(r#"<stop offset="{offset}" class="{class}" stop-color="{colour}"{opacity}/>"#)
        };
        self.push(&format!(
            r#"<linearGradient id="{id}" x1="0" y1="1" x2="0" y2="0">{}{}</linearGradient>"#,
            stop(0, bottom),
            stop(1, top),
            id = ink.class
        ));
        self.push(&format!(
            r#"<rect x="{}" y="{}" width="{}" height="{}" fill="url(#{})"/>"#,
            Px(rect.x),
            Px(rect.y),
            Px(rect.width),
            Px(rect.height),
            ink.class
        ));
    }

    pub(super) fn circle(&mut self, (x, y): (f64, f64), radius: f64, ink: Ink) {
        let (x, y, radius) = (Px(x), Px(y), Px(radius));
        self.push(&format!(
            r#"<circle cx="{x}" cy="{y}" r="{radius}"{}/>"#,
            Fill(ink)
        ));
    }

    /// The area within straight lines through `points`.
    pub(super) fn polygon(&mut self, points: &[(f64, f64)], ink: Ink) {
        let corners: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{},{}", Px(x), Px(y)))
            .collect();
        let corners = corners.join(" ");
        self.push(&format!(r#"<polygon points="{corners}"{}/>"#, Fill(ink)));
    }

    /// Straight lines through `points`; `dashed` ones are marks, not data.
    pub(super) fn line(&mut self, points: &[(f64, f64)], ink: Ink, width: f64, dashed: bool) {
        let path = path(points, ink, width, 1.0, dashed);
        self.push(&format!("{path}/>"));
    }

    /// As [`Svg::line`], of some opacity; `hint` is shown where the pointer rests on it.
    pub(super) fn hinted_line(
        &mut self,
        points: &[(f64, f64)],
        (ink, opacity): (Ink, f64),
        width: f64,
        dashed: bool,
        hint: &str,
    ) {
        let path = path(points, ink, width, opacity, dashed);
        self.push(&format!("{path}><title>{}</title></path>", escape(hint)));
    }

    pub(super) fn text(&mut self, text: Text, content: &str) {
        let (x, y, size) = (Px(text.x), Px(text.y), Px(text.size));
        let anchor = match text.anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let turn = match text.rotate {
            0.0 => String::new(),
            angle => format!(r#" transform="rotate({} {x} {y})""#, Px(angle)),
        };
        self.push(&format!(
            r#"<text x="{x}" y="{y}" font-size="{size}"{}{anchor}{turn}>{}</text>"#,
            Fill(text.ink),
            escape(content)
        ));
    }

    fn push(&mut self, shape: &str) {
        self.body.push_str(shape);
        self.body.push('\n');
    }

    /// The finished document.
    pub(super) fn finish(self) -> String {
        let Self {
            width,
            height,
            title,
            body,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" \
             aria-label=\"{title}\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" \
             font-family=\"Inter, system-ui, sans-serif\">\n{body}</svg>\n"
        )
    }
}

/// The beginning of a path element, without its end.
fn path(points: &[(f64, f64)], ink: Ink, width: f64, opacity: f64, dashed: bool) -> String {
    let mut path = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let verb = if index == 0 { 'M' } else { 'L' };
        // Writing to a String can't fail.
        let _ = write!(path, "{verb}{} {}", Px(x), Px(y));
    }
    let dashes = if dashed {
        r#" stroke-dasharray="4 4""#
    } else {
        ""
    };
    format!(
        r#"<path d="{path}" fill="none" stroke-width="{}"{}{}{dashes}"#,
        Px(width),
        Stroke(ink),
        Opacity("stroke", opacity)
    )
}

/// The text with what XML gives a meaning to escaped, and what it forbids replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

struct Px(f64);

impl std::fmt::Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", (self.0 * 100.0).round() / 100.0)
    }
}

struct Opacity(&'static str, f64);

impl std::fmt::Display for Opacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.1 < 1.0 {
            true => write!(f, r#" {}-opacity="{:.3}""#, self.0, self.1),
            false => Ok(()),
        }
    }
}

struct Fill(Ink);

impl std::fmt::Display for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, r#" class="{}" fill="{}""#, self.0.class, self.0.colour)
    }
}

struct Stroke(Ink);

impl std::fmt::Display for Stroke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            r#" class="{}-line" stroke="{}""#,
            self.0.class, self.0.colour
        )
    }
}

/// The font size, at most `size`, at which `text` is no wider than `limit`.
pub(super) fn size_to_fit(text: &str, size: f64, limit: f64) -> f64 {
    size.min(limit / font::width(text, 1.0).max(0.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_text_is_escaped() {
        let mut svg = Svg::new(10.0, 10.0, "\"><script>");
        svg.text(
            Text::at(0.0, 0.0, 12.0),
            "<img src=x onerror=alert(1)> & \u{1}\u{ffff}",
        );
        let svg = svg.finish();
        assert!(!svg.contains("<script") && !svg.contains("<img"));
        assert!(svg.contains("&lt;img src=x onerror=alert(1)&gt; &amp; \u{fffd}\u{fffd}"));
    }
}

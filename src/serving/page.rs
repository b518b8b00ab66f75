//! The upload page, embedded, under a policy that allows what is on it and no more.

use std::fmt::Write;

use axum::http::HeaderValue;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::data::content::sha256;
use crate::labels::{Labels, flora};

const PAGE: &str = include_str!("../../assets/index.html");

/// Where the page says what it is for.
const FACTS: &str = "data-title=\"\" data-subject=\"picture\" data-unsure-below=\"0.5\"";

pub struct Page {
    policy: HeaderValue,
    title: Option<String>,
    unsure_below: f64,
}

impl Page {
    /// A page of this title, or else one that follows from the model, on which an answer of less
    /// confidence than `unsure_below` counts as a guess.
    pub fn new(title: Option<String>, unsure_below: f64) -> Self {
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src blob: data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash("script"),
            hash("style"),
        );
        let policy = HeaderValue::from_str(&policy);
        Self {
            policy: policy.unwrap_or(HeaderValue::from_static("default-src 'none'")),
            title,
            unsure_below,
        }
    }

    /// The page for a model with these classes; they are not known before it is loaded.
    pub fn response(&self, labels: Option<&Labels>) -> Response {
        let headers = [
            ("content-security-policy", self.policy.clone()),
            (
                "cross-origin-opener-policy",
                HeaderValue::from_static("same-origin"),
            ),
            (
                "permissions-policy",
                HeaderValue::from_static("geolocation=(), microphone=()"),
            ),
        ];
        (headers, Html(self.html(labels))).into_response()
    }

    fn html(&self, labels: Option<&Labels>) -> String {
        let names = labels.map_or(&[][..], Labels::names).iter();
        let subject = match flora::are_flowers(names.map(String::as_str)) {
            true => "flower",
            false => "picture",
        };
        let title = escaped(self.title.as_deref().unwrap_or_default());
        let facts = format!(
            "data-title=\"{title}\" data-subject=\"{subject}\" data-unsure-below=\"{}\"",
            self.unsure_below
        );
        PAGE.replacen(FACTS, &facts, 1)
    }
}

/// The text as the value of an attribute.
fn escaped(text: &str) -> String {
    let mut value = String::new();
    for c in text.chars() {
        match c {
            '&' | '"' | '<' | '>' => {
                // Writing to a String can't fail.
                let _ = write!(value, "&#{};", u32::from(c));
            }
            c => value.push(c),
        }
    }
    value
}

/// The hash of the one element `name` on the page, as a policy names it (CSP level 2).
fn hash(name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let rest = PAGE.split_once(&open).map_or("", |(_, rest)| rest);
    let element = rest.split_once(&close).map_or("", |(element, _)| element);
    format!("sha256-{}", STANDARD.encode(sha256(&[element.as_bytes()])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_one_style_and_no_address() {
        for name in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{name}")).count(), 1, "{name}");
            assert_ne!(
                hash(name),
                format!("sha256-{}", STANDARD.encode(sha256(&[b""])))
            );
        }
        // The name of a language, which nothing is loaded from.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "");
        for outside in [
            "http://",
            "https://",
            "src=\"/",
            "href=\"/",
            " onclick",
            " style=\"",
        ] {
            let place = page.find(outside);
            assert_eq!(place, None, "{outside}");
        }
    }

    #[test]
    fn the_page_is_about_what_the_model_knows() {
        assert_eq!(PAGE.matches(FACTS).count(), 1);
        let html = |title: Option<&str>, labels: &[&str]| {
            let labels = Labels::new(labels.iter().copied()).unwrap();
            Page::new(title.map(String::from), 0.25).html(Some(&labels))
        };
        let flowers = html(None, &["rose", "tulip"]);
        assert!(flowers.contains("data-title=\"\" data-subject=\"flower\""));
        assert!(flowers.contains("data-unsure-below=\"0.25\""));
        assert!(html(None, &["cat", "dog"]).contains("data-subject=\"picture\""));
        let titled = html(Some("\"><script>&"), &["cat", "dog"]);
        assert!(titled.contains("data-title=\"&#34;&#62;&#60;script&#62;&#38;\""));
        assert!(Page::new(None, 0.5).html(None).contains(FACTS));
    }
}

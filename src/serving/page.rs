//! The embedded upload page, with a content security policy that allows only its own parts.

use std::fmt::Write;

use axum::http::HeaderValue;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::data::content::sha256;
use crate::labels::{Labels, flora};

const PAGE: &str = include_str!("../../assets/index.html");

/// The attributes of the page that depend on the model and the configuration.
const ATTRIBUTES: &str = "data-title=\"\" data-subject=\"picture\" data-unsure-below=\"0.5\"";

pub struct UploadPage {
    policy: HeaderValue,
    title: Option<String>,
    unsure_below: f64,
}

impl UploadPage {
    /// Without a title, the page has one that fits the model's classes. It calls a prediction a guess
    /// if its confidence is less than `unsure_below`, 0 to 1.
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

    /// The page for a model with these classes, or before a model is loaded.
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
        let subject = labels.map_or("picture", flora::subject);
        let title = escaped(self.title.as_deref().unwrap_or_default());
        let attributes = format!(
            "data-title=\"{title}\" data-subject=\"{subject}\" data-unsure-below=\"{}\"",
            self.unsure_below
        );
        PAGE.replacen(ATTRIBUTES, &attributes, 1)
    }
}

/// The text as the value of an HTML attribute.
fn escaped(text: &str) -> String {
    let mut value = String::new();
    for c in text.chars() {
        match c {
            '&' | '"' | '<' | '>' => {
                // Writing to a string can't fail.
                let _ = write!(value, "&#{};", u32::from(c));
            }
            c => value.push(c),
        }
    }
    value
}

/// The hash of the only element `name` of the page, as a hash source (CSP level 2).
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
        // An XML namespace, from which nothing is loaded.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "");
        for outside in [
            "http://",
            "https://",
            "src=\"/",
            "href=\"/",
            " onclick",
            " style=\"",
        ] {
            assert_eq!(page.find(outside), None, "{outside}");
        }
    }

    #[test]
    fn the_page_is_about_what_the_model_knows() {
        assert_eq!(PAGE.matches(ATTRIBUTES).count(), 1);
        let html = |title: Option<&str>, labels: &[&str]| {
            let labels = Labels::new(labels.iter().copied()).unwrap();
            UploadPage::new(title.map(String::from), 0.25).html(Some(&labels))
        };
        let flowers = html(None, &["rose", "tulip"]);
        assert!(flowers.contains("data-title=\"\" data-subject=\"flower\""));
        assert!(flowers.contains("data-unsure-below=\"0.25\""));
        assert!(html(None, &["cat", "dog"]).contains("data-subject=\"picture\""));
        let titled = html(Some("\"><script>&"), &["cat", "dog"]);
        assert!(titled.contains("data-title=\"&#34;&#62;&#60;script&#62;&#38;\""));
        assert!(UploadPage::new(None, 0.5).html(None).contains(ATTRIBUTES));
    }
}

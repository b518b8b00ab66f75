//! The upload page, embedded, under a policy that allows what is on it and no more.

use axum::http::HeaderValue;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::data::content::sha256;

const PAGE: &str = include_str!("../../assets/index.html");

pub struct Page {
    policy: HeaderValue,
}

impl Page {
    pub fn new() -> Self {
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src blob: data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash("script"),
            hash("style"),
        );
        let policy = HeaderValue::from_str(&policy);
        Self {
            policy: policy.unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }

    pub fn response(&self) -> Response {
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
        (headers, Html(PAGE)).into_response()
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
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
}

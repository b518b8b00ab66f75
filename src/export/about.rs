//! What a file says of its model to people.

use super::Options;
use crate::bundle::Manifest;

/// Texts that some formats have a place for; empty where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    pub author: String,
    pub license: String,
    pub description: String,
    pub version: String,
}

impl Options {
    /// The texts of an export of this model, with a description in any case.
    pub(super) fn about(&self, manifest: &Manifest) -> About {
        let mut about = self.about.clone();
        if about.description.is_empty() {
            let (classes, architecture) = (manifest.labels.len(), &manifest.architecture);
            let classes = match classes {
                1 => "1 class".into(),
                classes => format!("{classes} classes"),
            };
            about.description = format!("Image classifier of {classes}, {architecture}");
        }
        about
    }
}

//! What is known about published weights: where they are, how good, how photos are prepared for them.

use super::pretrained::{Publisher, Source};
use super::{Architecture, Options};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::image::Preprocessing;
use crate::image::preprocess::Interpolation;

/// Who vouches for published weights, and how they may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Who measured their accuracy.
    pub measured_by: &'static str,
    /// The SPDX name of the licence that they come under, or that of the code they come with.
    pub licence: &'static str,
    /// What else the publisher says about their use.
    pub note: &'static str,
}

/// A weight file of torchvision: `STEM-SHA256.pth`, with the first digits of its hash.
macro_rules! torchvision {
    ($stem:literal, $sha256:literal) => {
        $crate::models::pretrained::Source {
            publisher: $crate::models::pretrained::Publisher::Url(concat!(
                "https://download.pytorch.org/models/",
                $stem,
                "-",
                $sha256,
                ".pth"
            )),
            sha256: $sha256,
        }
    };
}
pub(super) use torchvision;

/// An architecture of torchvision for a family to complete: a linear classifier, 224 pixels, and the usual
/// preprocessing.
pub(super) const TORCHVISION: Architecture = Architecture {
    name: "",
    family: "",
    paper: "",
    summary: "",
    head: "fc",
    fine_tune_from: "",
    dropout: 0.0,
    image_size: 224,
    preprocessing: Preprocessing::imagenet,
    source: Source {
        publisher: Publisher::Url(""),
        sha256: "",
    },
    accuracy: 0.0,
    terms: Terms {
        measured_by: "torchvision 0.28, weights IMAGENET1K_V1",
        licence: "BSD-3-Clause",
        note: "BSD-3-Clause is the licence of torchvision's code. It names none for these weights, and says \
               that they may have terms of their own, derived from the data they were trained on (ImageNet)",
    },
    ignored: &[],
    renamed: |_| None,
    build: unbuilt,
};

fn unbuilt(_: &Options) -> Result<Graph> {
    Err(Error::Usage("an architecture without a network".into()).into())
}

/// torchvision's `ImageClassification(crop_size=crop, resize_size=resize)`, in proportion at another size.
pub(super) fn in_proportion(
    size: u32,
    resize: u32,
    crop: u32,
    interpolation: Interpolation,
) -> Preprocessing {
    let resize = (u64::from(size) * u64::from(resize) + u64::from(crop / 2)) / u64::from(crop);
    Preprocessing {
        resize: u32::try_from(resize).unwrap_or(u32::MAX),
        interpolation,
        ..Preprocessing::imagenet(size)
    }
}

/// ImageNet's usual preprocessing, but values from -1 to 1: what torchvision's `transform_input` turns its
/// own normalisation into.
pub(super) fn from_minus_one(size: u32) -> Preprocessing {
    Preprocessing {
        mean: [0.5; 3],
        std: [0.5; 3],
        ..Preprocessing::imagenet(size)
    }
}

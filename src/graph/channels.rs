//! The same network with fewer channels.

use std::collections::BTreeMap;

use super::op::{BatchNorm2d, LayerNorm, Linear, Op};
use super::shape::{feature_axis, infer};
use super::window::Conv2d;
use super::{Graph, Node};
use crate::error::{Error, Result};

/// Output channels of convolutions and output features of linear layers, by the names of their nodes,
/// where they are fewer than the architecture's.
pub type Channels = BTreeMap<String, usize>;

impl Graph {
    /// The graph in which some layers have fewer outputs. Whatever reads them follows: inputs,
    /// normalisations, the groups of grouped convolutions, which keep their widths, and slices, which keep
    /// their share.
    ///
    /// # Errors
    /// [`Error::Usage`] for a layer that there is not, none or more outputs than it has, and
    /// shapes that do not fit together then.
    pub fn with_channels(&self, channels: &Channels) -> Result<Self> {
        if let Some(unknown) = channels.keys().find(|name| self.find(name).is_none()) {
            let message = format!("there is no layer {unknown:?} to have other channels");
            return Err(Error::Usage(message).into());
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let before: Vec<&[usize]> = node.inputs.iter().map(|x| &*self[*x].shape).collect();
            let after: Vec<&[usize]> = node.inputs.iter().map(|x| &*nodes[x.0].shape).collect();
            let wanted = channels.get(&node.name).copied();
            let (op, shape) = match (&node.op, wanted) {
                (Op::Input, None) => (Op::Input, node.shape.clone()),
                (op, wanted) => narrowed(op, &before, &after, wanted)
                    .and_then(|op| infer(&op, &after).map(|shape| (op, shape)))
                    .map_err(|why| {
                        Error::Usage(format!("{} {}: {why}", node.op.name(), node.name))
                    })?,
            };
            nodes.push(Node {
                name: node.name.clone(),
                op,
                inputs: node.inputs.clone(),
                shape,
            });
        }
        Ok(Self {
            nodes,
            output: self.output,
        })
    }
}

/// An operator for other inputs, with as many outputs as are wanted.
fn narrowed(
    op: &Op,
    before: &[&[usize]],
    after: &[&[usize]],
    wanted: Option<usize>,
) -> Result<Op, String> {
    let features = |shapes: &[&[usize]]| {
        let shape = shapes.first().copied().unwrap_or_default();
        shape.get(feature_axis(shape)).copied().unwrap_or_default()
    };
    let (had, has) = (features(before), features(after));
    let outputs = |own: usize| match wanted {
        Some(wanted) if wanted == 0 || wanted > own => {
            Err(format!("can't have {wanted} of its {own} channels"))
        }
        wanted => Ok(wanted.unwrap_or(own)),
    };
    Ok(match op {
        Op::Conv2d(conv) => Op::Conv2d(convolution(conv, has, wanted)?),
        Op::Linear(linear) => Op::Linear(Linear {
            in_features: has,
            out_features: outputs(linear.out_features)?,
            ..linear.clone()
        }),
        _ if wanted.is_some() => return Err("has the channels of what it reads".into()),
        Op::BatchNorm2d(norm) => Op::BatchNorm2d(BatchNorm2d {
            channels: has,
            ..norm.clone()
        }),
        Op::LayerNorm(norm) => Op::LayerNorm(LayerNorm {
            features: has,
            ..norm.clone()
        }),
        Op::LayerScale { of_map, .. } => Op::LayerScale {
            features: has,
            of_map: *of_map,
        },
        Op::Slice { start, end } => {
            let share = |at: usize| match (at * has).is_multiple_of(had.max(1)) {
                true => Ok(at * has / had.max(1)),
                false => Err(format!("{has} channels can't be divided as {had} were")),
            };
            Op::Slice {
                start: share(*start)?,
                end: share(*end)?,
            }
        }
        other => other.clone(),
    })
}

fn convolution(conv: &Conv2d, has: usize, wanted: Option<usize>) -> Result<Conv2d, String> {
    let groups = match conv.groups {
        1 => 1,
        groups => {
            let width = conv.in_channels / groups;
            if !has.is_multiple_of(width) {
                return Err(format!("groups of {width} channels do not divide {has}"));
            }
            has / width
        }
    };
    let most = conv.out_channels / conv.groups * groups;
    match wanted {
        Some(wanted) if wanted == 0 || wanted > most => {
            Err(format!("can't have {wanted} of its {most} channels"))
        }
        wanted => Ok(Conv2d {
            in_channels: has,
            out_channels: wanted.unwrap_or(most),
            groups,
            ..conv.clone()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;

    /// A residual block around a depthwise convolution, and a classifier.
    fn block() -> Graph {
        let (mut g, x) = Builder::new(8);
        let x = g.conv2d("stem", x, Conv2d::new(16, 3));
        let wide = g.conv2d("expand", x, Conv2d::new(32, 1));
        let wide = g.batch_norm("norm", wide, 1e-5, 0.1);
        let wide = g.conv2d("depthwise", wide, Conv2d::new(32, 3).groups(32));
        let narrow = g.conv2d("project", wide, Conv2d::new(16, 1));
        let sum = g.add("sum", x, narrow);
        let half = g.slice("half", sum, 8..16);
        let flat = g.flatten("flat", half);
        let out = g.linear("fc", flat, 5);
        g.finish(out).unwrap()
    }

    fn channels(of: &[(&str, usize)]) -> Channels {
        of.iter().map(|&(name, n)| (name.into(), n)).collect()
    }

    #[test]
    fn what_reads_a_layer_follows_it() {
        let whole = block();
        assert_eq!(whole.with_channels(&Channels::new()).unwrap(), whole);
        let few = channels(&[("stem", 12), ("expand", 20), ("project", 12)]);
        let few = whole.with_channels(&few).unwrap();
        let shape = |name: &str| few[few.find(name).unwrap()].shape.clone();
        assert_eq!(shape("norm"), [20, 8, 8]);
        assert_eq!(shape("depthwise"), [20, 8, 8]);
        assert_eq!(shape("sum"), [12, 8, 8]);
        // The upper half stays the upper half.
        let half = &few[few.find("half").unwrap()];
        assert_eq!(half.op, Op::Slice { start: 6, end: 12 });
        assert_eq!(few.output_shape(), [5]);
        let shapes: BTreeMap<String, Vec<usize>> = few
            .parameters()
            .map(|parameter| (parameter.name, parameter.shape))
            .collect();
        assert_eq!(shapes["depthwise.weight"], [20, 1, 3, 3]);
        assert_eq!(shapes["project.weight"], [12, 20, 1, 1]);
        assert_eq!(shapes["fc.weight"], [5, 6 * 64]);
    }

    #[test]
    fn what_does_not_fit_names_its_node() {
        for (of, message) in [
            (
                &[("stem", 12)][..],
                "Add sum: the shapes [12, 8, 8] and [16, 8, 8] differ",
            ),
            (&[("expand", 0)], "Conv2d expand: can't have 0 of its 32"),
            (&[("expand", 33)], "Conv2d expand: can't have 33 of its 32"),
            (&[("fc", 6)], "Linear fc: can't have 6 of its 5"),
            (&[("norm", 3)], "BatchNorm2d norm: has the channels of what"),
            (&[("input", 2)], "Input input: has the channels of what"),
            (&[("stam", 3)], "there is no layer \"stam\""),
            (
                &[("stem", 13), ("project", 13)],
                "Slice half: 13 channels can't be divided as 16 were",
            ),
        ] {
            let refused = block().with_channels(&channels(of)).unwrap_err();
            let refused = refused.to_string();
            assert!(refused.contains(message), "{refused}");
        }
    }

    #[test]
    fn groups_keep_their_width() {
        let (mut g, x) = Builder::new(4);
        let x = g.conv2d("a", x, Conv2d::new(12, 1));
        let x = g.conv2d("b", x, Conv2d::new(24, 3).groups(3));
        let whole = g.finish(x).unwrap();
        let few = whole.with_channels(&channels(&[("a", 8)])).unwrap();
        let Op::Conv2d(conv) = &few[few.output()].op else {
            panic!("a convolution");
        };
        assert_eq!(
            (conv.in_channels, conv.out_channels, conv.groups),
            (8, 16, 2)
        );
        let refused = whole.with_channels(&channels(&[("a", 9)])).unwrap_err();
        assert!(refused.to_string().contains("groups of 4 channels"));
    }
}

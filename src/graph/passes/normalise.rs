//! Moves the normalisation of pixels into the network.

use super::Rewrite;
use crate::error::Result;
use crate::graph::{Conv2d, Graph, NodeId, Op, Padding};
use crate::weights::{StateDict, Tensor};

/// The node of [`with_pixel_input`] whose value is what the network took before.
pub const NORMALIZE: &str = "normalise";

/// Lets a network take 8-bit RGB images `[size, size, 3]`: its input is followed by an
/// [`Op::PixelsToFloat`] named `planes`, and by an [`Op::Normalize`] named [`NORMALIZE`] that computes
/// `(x / 255 - mean) / std`.
pub fn with_pixel_input(graph: &Graph, mean: [f32; 3], std: [f32; 3]) -> Graph {
    let normalize = Op::Normalize {
        scale: std.map(|std| 1.0 / (255.0 * std)),
        shift: std::array::from_fn(|c| -mean[c] / std[c]),
    };
    let mut rewrite = Rewrite::new(graph);
    for node in graph.nodes() {
        rewrite.keep(|node| {
            if node.op == Op::Input {
                node.shape.rotate_left(1);
            }
        });
        if node.op == Op::Input {
            rewrite.insert("planes", Op::PixelsToFloat, node.shape.clone());
            rewrite.insert(NORMALIZE, normalize.clone(), node.shape.clone());
        }
    }
    rewrite.finish()
}

/// An [`Op::Normalize`] and the convolution that alone reads it.
struct Target<'a> {
    normalize: NodeId,
    scale: [f32; 3],
    shift: [f32; 3],
    conv: NodeId,
    op: &'a Conv2d,
}

impl<'a> Target<'a> {
    fn of(graph: &'a Graph) -> Option<Self> {
        graph.iter().find_map(|(id, node)| {
            let Op::Normalize { scale, shift } = node.op else {
                return None;
            };
            let reader = graph.only_reader(id)?;
            match &graph[reader].op {
                Op::Conv2d(op) if op.groups == 1 && scale.iter().all(|s| *s != 0.0) => Some(Self {
                    normalize: id,
                    scale,
                    shift,
                    conv: reader,
                    op,
                }),
                _ => None,
            }
        })
    }

    /// Without padding the shift goes into the bias.
    fn folds_shift(&self) -> bool {
        self.op.padding == [Padding::both(0); 2]
    }

    fn fold_weights(&self, name: &str, weights: &mut StateDict) -> Result<()> {
        let taps = self.op.taps();
        if self.folds_shift() {
            let bias_name = format!("{name}.bias");
            let outputs = self.op.out_channels;
            let mut bias = match self.op.bias {
                true => weights.f32(&bias_name, &[outputs])?.to_vec(),
                false => vec![0.0; outputs],
            };
            let weight = weights.f32_mut(&format!("{name}.weight"))?;
            for (value, row) in bias.iter_mut().zip(weight.chunks(3 * taps)) {
                let shifted = row.iter().enumerate();
                let shifted =
                    shifted.map(|(at, w)| f64::from(*w) * f64::from(self.shift[at / taps]));
                *value = (f64::from(*value) + shifted.sum::<f64>()) as f32;
            }
            weights.insert(bias_name, Tensor::f32([outputs], bias));
        }
        let weight = weights.f32_mut(&format!("{name}.weight"))?;
        for (at, w) in weight.iter_mut().enumerate() {
            *w *= self.scale[at / taps % 3];
        }
        Ok(())
    }
}

/// Folds an [`Op::Normalize`] into the convolution that alone reads it, as far as that is exact:
/// the scale always, since padding is zero before and after; the shift too when there is no
/// padding. With padding a scale of 1 and the shift `shift / scale` are left.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when the convolution's weight is missing or holds
/// integers.
pub fn fold_normalize(graph: &Graph, weights: &mut StateDict) -> Result<Graph> {
    let Some(target) = Target::of(graph) else {
        return Ok(graph.clone());
    };
    target.fold_weights(&graph[target.conv].name, weights)?;
    let whole = target.folds_shift();
    let mut rewrite = Rewrite::new(graph);
    for (id, node) in graph.iter() {
        if id == target.normalize && whole {
            rewrite.replace_by(node.inputs[0]);
            continue;
        }
        rewrite.keep(|node| match &mut node.op {
            Op::Normalize { scale, shift } if id == target.normalize => {
                *shift = std::array::from_fn(|c| target.shift[c] / target.scale[c]);
                *scale = [1.0; 3];
            }
            Op::Conv2d(conv) if id == target.conv => conv.bias |= whole,
            _ => (),
        });
    }
    Ok(rewrite.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Conv2d};

    const MEAN: [f32; 3] = [0.4, 0.5, 0.25];
    const STD: [f32; 3] = [0.2, 0.25, 0.5];

    fn network(padding: usize) -> (Graph, StateDict) {
        let (mut g, x) = Builder::new(4);
        let conv = Conv2d::new(1, 1).padding(Padding::both(padding));
        let x = g.conv2d("conv", x, conv);
        let graph = with_pixel_input(&g.finish(x).unwrap(), MEAN, STD);
        let weight = Tensor::f32([1, 3, 1, 1], vec![1.0, 2.0, 3.0]);
        (graph, StateDict::from([("conv.weight".into(), weight)]))
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn without_padding_nothing_is_left() {
        let (graph, mut weights) = network(0);
        assert_eq!(graph.nodes()[0].shape, [4, 4, 3]);
        assert_eq!(graph.nodes()[2].name, NORMALIZE);
        assert_eq!(graph.nodes()[3].inputs, [graph.find(NORMALIZE).unwrap()]);
        let graph = fold_normalize(&graph, &mut weights).unwrap();
        assert_eq!(graph.nodes().len(), 3);
        // w / (255 std), and -w mean / std summed: -2 - 4 - 1.5.
        close(
            weights["conv.weight"].as_f32().unwrap(),
            &[1.0 / 51.0, 2.0 / 63.75, 3.0 / 127.5],
        );
        close(weights["conv.bias"].as_f32().unwrap(), &[-7.5]);
    }

    #[test]
    fn with_padding_the_mean_is_left() {
        let (graph, mut weights) = network(1);
        let graph = fold_normalize(&graph, &mut weights).unwrap();
        let Op::Normalize { scale, shift } = graph.nodes()[2].op else {
            panic!("the shift stays");
        };
        assert_eq!(scale, [1.0; 3]);
        close(&shift, &[-102.0, -127.5, -63.75]);
        assert!(!weights.contains_key("conv.bias"));
    }
}

//! Folds batch normalisation and layer scale into the layer before it.

use super::Rewrite;
use crate::error::Result;
use crate::graph::{Epilogue, Graph, Node, NodeId, Op};
use crate::weights::{StateDict, Tensor};

/// What is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foldable {
    /// Batch normalisation and layer scale.
    All,
    /// Layer scale, which is the same in training.
    LayerScale,
}

/// The layer that a normalisation or scale can be folded into: the one whose output it alone reads.
fn target(graph: &Graph, id: NodeId, foldable: Foldable) -> Option<NodeId> {
    let node = &graph[id];
    match node.op {
        Op::LayerScale { .. } => {}
        Op::BatchNorm2d(_) if foldable == Foldable::All => {}
        _ => return None,
    }
    let layer = node.inputs[0];
    let is_plain = match &graph[layer].op {
        Op::Conv2d(conv) => conv.epilogue == Epilogue::default(),
        op => matches!(op, Op::Linear(_)),
    };
    (graph.only_reader(layer) == Some(id) && is_plain).then_some(layer)
}

/// The graph without the normalisations and scales that can be folded; convolutions that are normalised get
/// a bias.
pub fn fold_affine(graph: &Graph, foldable: Foldable) -> Graph {
    let targets = graph.ids().map(|id| target(graph, id, foldable));
    let targets: Vec<Option<NodeId>> = targets.collect();
    let mut rewrite = Rewrite::new(graph);
    for (id, fold) in graph.ids().zip(&targets) {
        match fold {
            Some(layer) => rewrite.replace_by(*layer),
            None => rewrite.keep(|node| {
                if let Op::Conv2d(conv) = &mut node.op {
                    conv.bias |= targets.contains(&Some(id));
                }
            }),
        }
    }
    rewrite.finish()
}

/// The parameters of [`fold_affine`]'s graph, from those of the graph it is made of: with a normalisation's
/// `g = weight / sqrt(running_var + eps)` the layer's weight becomes `W g` and its bias
/// `(b - running_mean) g + bias`, computed in float64; a scale `g` gives `W g` and `b g`.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) for a parameter that is missing, has another shape, or
/// holds integers.
pub fn folded_weights(graph: &Graph, weights: &StateDict, foldable: Foldable) -> Result<StateDict> {
    let mut folded = StateDict::new();
    for (id, node) in graph.iter() {
        if let Some(layer) = target(graph, id, foldable) {
            Affine::of(node, weights)?.fold_into(&graph[layer], &mut folded)?;
            continue;
        }
        for slot in node.op.slots() {
            let name = node.parameter(slot.suffix);
            let tensor = weights.tensor(&name, &slot.shape)?.clone();
            folded.insert(name, tensor);
        }
    }
    Ok(folded)
}

/// `(x - centre) * gain + shift` for each channel.
struct Affine {
    centre: Vec<f64>,
    gain: Vec<f64>,
    shift: Vec<f64>,
}

impl Affine {
    /// What a normalisation or a scale computes.
    fn of(node: &Node, weights: &StateDict) -> Result<Self> {
        let parameter = |suffix: &str, shape: &[usize]| -> Result<Vec<f64>> {
            let values = weights.f32(&node.parameter(suffix), shape)?;
            Ok(values.iter().map(|&value| f64::from(value)).collect())
        };
        match &node.op {
            Op::BatchNorm2d(norm) => {
                let each = |suffix| parameter(suffix, &[norm.channels]);
                let gain = each("weight")?.into_iter().zip(each("running_var")?);
                Ok(Self {
                    centre: each("running_mean")?,
                    gain: gain.map(|(g, v)| g / (v + norm.eps).sqrt()).collect(),
                    shift: each("bias")?,
                })
            }
            op => {
                let slot = op.slots();
                let shape = slot.first().map_or(&[][..], |slot| &slot.shape);
                let gain = parameter("", shape)?;
                let zeros = vec![0.0; gain.len()];
                Ok(Self {
                    centre: zeros.clone(),
                    gain,
                    shift: zeros,
                })
            }
        }
    }

    fn fold_into(&self, layer: &Node, folded: &mut StateDict) -> Result<()> {
        let channels = self.gain.len();
        let name = layer.parameter("bias");
        let before = match folded.get(&name).and_then(Tensor::as_f32) {
            Some(bias) => bias.to_vec(),
            None => vec![0.0; channels],
        };
        let bias = (0..channels).map(|c| {
            let centred = f64::from(before[c]) - self.centre[c];
            (centred * self.gain[c] + self.shift[c]) as f32
        });
        folded.insert(name, Tensor::f32([channels], bias.collect()));
        let weight = folded.f32_mut(&layer.parameter("weight"))?;
        let taps = (weight.len() / channels.max(1)).max(1);
        for (row, gain) in weight.chunks_mut(taps).zip(&self.gain) {
            for w in row {
                *w = (f64::from(*w) * gain) as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Builder, Conv2d};

    fn f32s(values: &[f32]) -> Tensor {
        Tensor::f32([values.len()], values.to_vec())
    }

    #[test]
    fn a_hand_computed_fold() {
        let (mut g, x) = Builder::new(4);
        let x = g.conv2d("conv", x, Conv2d::new(2, 1));
        let x = g.batch_norm("bn", x, 0.0, 0.1);
        let graph = g.finish(x).unwrap();
        let weights = StateDict::from([
            (
                "conv.weight".into(),
                Tensor::f32([2, 3, 1, 1], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ),
            ("bn.weight".into(), f32s(&[2.0, 1.0])),
            ("bn.bias".into(), f32s(&[0.5, -1.0])),
            ("bn.running_mean".into(), f32s(&[1.0, 2.0])),
            ("bn.running_var".into(), f32s(&[4.0, 0.25])),
            (
                "bn.num_batches_tracked".into(),
                Tensor {
                    shape: vec![],
                    values: crate::weights::Values::I64(vec![7]),
                },
            ),
        ]);
        let folded = folded_weights(&graph, &weights, Foldable::All).unwrap();
        assert_eq!(folded.len(), 2);
        assert_eq!(
            folded["conv.weight"].as_f32().unwrap(),
            [1.0, 2.0, 3.0, 8.0, 10.0, 12.0]
        );
        assert_eq!(folded["conv.bias"].as_f32().unwrap(), [-0.5, -5.0]);
        let after = fold_affine(&graph, Foldable::All);
        assert_eq!(after.nodes().len(), 2);
        let names: Vec<String> = after.parameters().map(|p| p.name).collect();
        assert_eq!(names, ["conv.weight", "conv.bias"]);
    }

    #[test]
    fn a_convolution_that_others_read_keeps_its_norm() {
        let (mut g, x) = Builder::new(4);
        let a = g.conv2d("conv", x, Conv2d::new(2, 1));
        let b = g.batch_norm("bn", a, 1e-5, 0.1);
        let sum = g.add("sum", a, b);
        let graph = g.finish(sum).unwrap();
        assert_eq!(fold_affine(&graph, Foldable::All), graph);
        let relu = {
            let (mut g, x) = Builder::new(4);
            let x = g.activation("relu", x, Activation::Relu);
            let x = g.batch_norm("bn", x, 1e-5, 0.1);
            g.finish(x).unwrap()
        };
        assert_eq!(fold_affine(&relu, Foldable::All), relu);
    }

    #[test]
    fn a_scale_goes_into_the_linear_layer_before_it() {
        let (mut g, x) = Builder::new(2);
        let x = g.linear("fc", x, 2);
        let x = g.layer_scale("scale", x);
        let graph = g.finish(x).unwrap();
        let weights = StateDict::from([
            (
                "fc.weight".into(),
                Tensor::f32([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ),
            ("fc.bias".into(), f32s(&[1.0, 2.0])),
            ("scale".into(), Tensor::f32([2, 1, 1], vec![2.0, 0.5])),
        ]);
        let folded = folded_weights(&graph, &weights, Foldable::All).unwrap();
        assert_eq!(folded.len(), 2);
        let values = folded["fc.weight"].as_f32().unwrap();
        assert_eq!(values, [2.0, 4.0, 6.0, 2.0, 2.5, 3.0]);
        assert_eq!(folded["fc.bias"].as_f32().unwrap(), [2.0, 1.0]);
        assert_eq!(fold_affine(&graph, Foldable::All).nodes().len(), 2);
    }

    #[test]
    fn a_missing_statistic_is_named() {
        let (mut g, x) = Builder::new(4);
        let x = g.conv2d("conv", x, Conv2d::new(2, 1));
        let x = g.batch_norm("bn", x, 1e-5, 0.1);
        let graph = g.finish(x).unwrap();
        let mut weights = graph.initialise(0);
        weights.remove("bn.running_var");
        let error = folded_weights(&graph, &weights, Foldable::All)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the weights lack bn.running_var");
    }
}

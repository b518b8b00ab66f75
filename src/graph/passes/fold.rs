//! Folds batch normalisation into the convolution before it.

use super::Rewrite;
use crate::error::Result;
use crate::graph::{BatchNorm2d, Epilogue, Graph, NodeId, Op};
use crate::weights::{StateDict, Tensor};

/// The convolution that a normalisation can be folded into: the one whose output it alone reads.
fn target(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let node = &graph[id];
    let Op::BatchNorm2d(_) = node.op else {
        return None;
    };
    let conv = node.inputs[0];
    let Op::Conv2d(before) = &graph[conv].op else {
        return None;
    };
    (graph.only_reader(conv) == Some(id) && before.epilogue == Epilogue::default()).then_some(conv)
}

/// The graph without the normalisations that can be folded; their convolutions get a bias.
pub fn fold_batch_norm(graph: &Graph) -> Graph {
    let targets: Vec<Option<NodeId>> = graph.ids().map(|id| target(graph, id)).collect();
    let mut rewrite = Rewrite::new(graph);
    for (id, fold) in graph.ids().zip(&targets) {
        match fold {
            Some(conv) => rewrite.replace_by(*conv),
            None => rewrite.keep(|node| {
                if let Op::Conv2d(conv) = &mut node.op {
                    conv.bias |= targets.contains(&Some(id));
                }
            }),
        }
    }
    rewrite.finish()
}

/// The parameters of [`fold_batch_norm`]'s graph, from those of the graph it is made of: with
/// `g = weight / sqrt(running_var + eps)` the convolution's weight becomes `W g` and its bias
/// `(b - running_mean) g + bias`, computed in float64.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) for a parameter that is missing, has another shape, or
/// holds integers.
pub fn folded_weights(graph: &Graph, weights: &StateDict) -> Result<StateDict> {
    let mut folded = StateDict::new();
    for (id, node) in graph.iter() {
        match (&node.op, target(graph, id)) {
            (Op::BatchNorm2d(norm), Some(conv)) => {
                let conv = &graph[conv].name;
                fold(&mut folded, conv, &node.name, norm, weights)?;
            }
            _ => {
                for slot in node.op.slots() {
                    let name = format!("{}.{}", node.name, slot.suffix);
                    let tensor = weights.tensor(&name, &slot.shape)?.clone();
                    folded.insert(name, tensor);
                }
            }
        }
    }
    Ok(folded)
}

fn fold(
    folded: &mut StateDict,
    conv: &str,
    norm: &str,
    op: &BatchNorm2d,
    weights: &StateDict,
) -> Result<()> {
    let statistic = |suffix: &str| -> Result<&[f32]> {
        weights.f32(&format!("{norm}.{suffix}"), &[op.channels])
    };
    let (gamma, beta) = (statistic("weight")?, statistic("bias")?);
    let (mean, variance) = (statistic("running_mean")?, statistic("running_var")?);
    let gain: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + op.eps).sqrt())
        .collect();
    let name = format!("{conv}.bias");
    let before = match folded.get(&name).and_then(Tensor::as_f32) {
        Some(bias) => bias.to_vec(),
        None => vec![0.0; op.channels],
    };
    let bias = (0..op.channels)
        .map(|c| {
            let centred = f64::from(before[c]) - f64::from(mean[c]);
            (centred * gain[c] + f64::from(beta[c])) as f32
        })
        .collect();
    folded.insert(name, Tensor::f32([op.channels], bias));
    let weight = folded.f32_mut(&format!("{conv}.weight"))?;
    let taps = (weight.len() / op.channels.max(1)).max(1);
    for (row, gain) in weight.chunks_mut(taps).zip(&gain) {
        for w in row {
            *w = (f64::from(*w) * gain) as f32;
        }
    }
    Ok(())
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
        let folded = folded_weights(&graph, &weights).unwrap();
        assert_eq!(folded.len(), 2);
        assert_eq!(
            folded["conv.weight"].as_f32().unwrap(),
            [1.0, 2.0, 3.0, 8.0, 10.0, 12.0]
        );
        assert_eq!(folded["conv.bias"].as_f32().unwrap(), [-0.5, -5.0]);
        let after = fold_batch_norm(&graph);
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
        assert_eq!(fold_batch_norm(&graph), graph);
        let relu = {
            let (mut g, x) = Builder::new(4);
            let x = g.activation("relu", x, Activation::Relu);
            let x = g.batch_norm("bn", x, 1e-5, 0.1);
            g.finish(x).unwrap()
        };
        assert_eq!(fold_batch_norm(&relu), relu);
    }

    #[test]
    fn a_missing_statistic_is_named() {
        let (mut g, x) = Builder::new(4);
        let x = g.conv2d("conv", x, Conv2d::new(2, 1));
        let x = g.batch_norm("bn", x, 1e-5, 0.1);
        let graph = g.finish(x).unwrap();
        let mut weights = graph.initialise(0);
        weights.remove("bn.running_var");
        let error = folded_weights(&graph, &weights).unwrap_err().to_string();
        assert_eq!(error, "the weights lack bn.running_var");
    }
}

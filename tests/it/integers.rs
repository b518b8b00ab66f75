//! Every operator of an int8 network against its float32 twin, on the values that it was given.

use flowers::graph::{Activation, Conv2d, InferenceGraph, Int8Weight, Node, NodeId, Op};
use flowers::inference::{self, Choice, Images, Kernels, Options, Precision};

use crate::networks::{graph_of_side, pictures, preprocessing, quantized, ways, weights};

/// The largest error of an operator relative to its output, in L2 norms. Rounding to 8 bits makes
/// up to 0.02 of it, half as large a scale again 0.19 at least.
const TOLERANCE: f64 = 0.05;

/// Sides of the pictures: kernels are chosen by shape, and some were wrong for maps of some sizes only.
const SIDES: [usize; 4] = [64, 96, 144, 224];

#[test]
fn operators_give_what_their_float_twins_give() {
    for architecture in ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0"] {
        for side in SIDES {
            let float = float(architecture, side);
            let int8 = quantized(&float);
            for &way in ways() {
                for (name, error) in errors(&float, &int8, way) {
                    let layer = format!("{architecture} of {side} pixels, {way:?}, {name}");
                    assert!(error < TOLERANCE, "{layer}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_wrong_scale_of_any_layer_is_noticed() {
    let float = float("resnet18", 64);
    let int8 = quantized(&float);
    let layers: Vec<NodeId> = int8.layers().collect();
    assert_eq!(layers.len(), 21);
    for id in layers {
        let mut integers = int8.quantized().unwrap().clone();
        let right = &integers.weights[&id];
        let wrong = right.scales().iter().map(|scale| 1.5 * scale).collect();
        let wrong = Int8Weight::new(right.shape().to_vec(), right.values().to_vec(), wrong);
        integers.weights.insert(id, wrong.unwrap());
        let broken = float.clone().with_int8(integers);
        let errors = errors(&float, &broken, (Choice::Auto, Kernels::Auto));
        let layer = &int8.graph()[id].name;
        let (_, error) = errors.iter().find(|(name, _)| name == layer).unwrap();
        assert!(*error > 2.0 * TOLERANCE, "{layer}: {error}");
    }
}

fn float(architecture: &str, side: usize) -> InferenceGraph {
    let graph = graph_of_side(architecture, side);
    InferenceGraph::float(&graph, &weights(&graph)).unwrap()
}

/// The error of each operator, by its name.
fn errors(
    float: &InferenceGraph,
    int8: &InferenceGraph,
    (backend, kernels): (Choice, Kernels),
) -> Vec<(String, f64)> {
    let graph = float.graph();
    let all: Vec<NodeId> = graph.ids().collect();
    let options = Options {
        precision: Precision::Int8,
        kernels,
        backend,
        ..Options::cpu()
    };
    let preprocessing = preprocessing(float);
    let extractor = inference::load_extractor(int8, &preprocessing, &options, &all).unwrap();
    let pixels = pictures(2, graph.image_size());
    let values = extractor.values(Images::Rgb8(&pixels)).unwrap();
    let given = values.iter().zip(graph.nodes());
    let given: Vec<tch::Tensor> = given
        .map(|(value, node)| feature_map(&value.values, &node.shape))
        .collect();
    let side = graph.image_size() as i64;
    let planes = tch::Tensor::from_slice(&preprocessing.planes(&pixels));
    let planes = planes.reshape([-1, 3, side, side]);
    let errors = graph.iter().zip(&given).filter_map(|((id, node), found)| {
        let inputs = node.inputs.iter().map(|input| &given[input.index()]);
        let expected = match node.op {
            Op::Input => planes.shallow_clone(),
            _ => computed(float, id, node, &inputs.collect::<Vec<_>>())?,
        };
        let error = (found - &expected).norm() / expected.norm();
        Some((node.name.clone(), error.double_value(&[])))
    });
    errors.collect()
}

/// Values (n, h, w, c) as a tensor (n, c, h, w), or (n, c) as they are.
fn feature_map(values: &[f32], shape: &[usize]) -> tch::Tensor {
    let values = tch::Tensor::from_slice(values);
    match shape.iter().map(|&side| side as i64).collect::<Vec<_>>()[..] {
        [c, h, w] => values.reshape([-1, h, w, c]).permute([0, 3, 1, 2]),
        [c] => values.reshape([-1, c]),
        _ => panic!("{shape:?} is neither a feature map nor a vector"),
    }
}

/// The value of a node in float32; `None` where it passes its input on.
fn computed(
    network: &InferenceGraph,
    id: NodeId,
    node: &Node,
    inputs: &[&tch::Tensor],
) -> Option<tch::Tensor> {
    let parameter = |suffix: &str| {
        let stored = network.parameter(id, suffix).ok()?;
        let shape: Vec<i64> = stored.shape.iter().map(|&side| side as i64).collect();
        Some(tch::Tensor::from_slice(stored.as_f32().unwrap()).reshape(shape))
    };
    let x = inputs[0];
    Some(match &node.op {
        Op::Conv2d(conv) => {
            let mut y = convolve(x, &parameter("weight")?, parameter("bias"), conv);
            if let Some(addend) = inputs.get(1) {
                y += *addend;
            }
            match conv.epilogue.activation {
                None => y,
                Some(Activation::Relu) => y.relu(),
                Some(Activation::Relu6) => y.clamp(0.0, 6.0),
                Some(other) => panic!("{}: {other:?} has no twin here", node.name),
            }
        }
        Op::Linear(_) => x.linear(&parameter("weight")?, parameter("bias")),
        Op::MaxPool2d(pool) => {
            let [kernel, stride, padding] =
                [pool.kernel, pool.stride, pool.padding].map(|pixels| [pixels as i64; 2]);
            x.max_pool2d(kernel, stride, padding, [1; 2], pool.ceil_mode)
        }
        Op::GlobalAvgPool => x.adaptive_avg_pool2d([1, 1]),
        Op::Flatten | Op::Dropout { .. } => return None,
        other => panic!("{}: {} has no twin here", node.name, other.name()),
    })
}

fn convolve(
    x: &tch::Tensor,
    weight: &tch::Tensor,
    bias: Option<tch::Tensor>,
    conv: &Conv2d,
) -> tch::Tensor {
    let sides = conv
        .padding
        .map(|sides| [sides.before as i64, sides.after as i64]);
    let [[above, below], [left, right]] = sides;
    let x = x.constant_pad_nd([left, right, above, below]);
    let [stride, dilation] = [conv.stride, conv.dilation].map(|step| [step as i64; 2]);
    x.conv2d(weight, bias, stride, [0; 2], dilation, conv.groups as i64)
}

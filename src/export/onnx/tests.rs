//! Operators that no architecture of today has, written and read back.

use prost::Message;

use super::*;
use crate::graph::{
    Activation, Builder, Conv2d, Graph as Layers, Linear, Method, Op, Padding, Pool2d,
};
use crate::graph::{Quantization, QuantizationParameters, passes};
use crate::image::Preprocessing;
use crate::inference::onnx::Interpreter;
use crate::inference::{self, Backend, Images, Kernels, Precision};
use crate::weights::{StateDict, Tensor, Values};

const SIZE: usize = 12;

/// Every operator and every activation.
fn all_operators() -> Layers {
    let (mut g, x) = Builder::new(SIZE);
    let odd = Padding {
        before: 0,
        after: 1,
    };
    let mut x = g.conv2d("stem", x, Conv2d::new(8, 3).padding(odd).bias());
    let activations = [
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Hardsigmoid,
        Activation::Silu,
        Activation::Sigmoid,
    ];
    for (at, kind) in activations.into_iter().enumerate() {
        let y = g.conv2d(format!("conv{at}"), x, Conv2d::new(8, 3).groups(2));
        x = g.activation(format!("activation{at}"), y, kind);
    }
    let pool = Pool2d::new(3, 2).padding(1);
    x = g.max_pool2d("largest", x, pool.clone());
    x = g.batch_norm("norm", x, 1e-3, 0.1);
    let y = g.avg_pool2d("mean", x, pool);
    let z = g.conv2d(
        "dilated",
        x,
        Conv2d::new(8, 3)
            .stride(2)
            .dilation(2)
            .padding(Padding::both(2)),
    );
    let sum = g.add("sum", y, z);
    let gate = g.global_avg_pool("gate", sum);
    let x = g.mul("scaled", sum, gate);
    let x = g.concat("joined", &[x, sum]);
    let x = g.channel_shuffle("shuffled", x, 4);
    let x = g.slice("some", x, 3..11);
    let x = g.conv2d("wide", x, Conv2d::rectangular(8, [1, 3]));
    let x = g.max_pool2d("up", x, Pool2d::new(2, 2).ceil_mode());
    let x = g.global_avg_pool("pool", x);
    let x = g.flatten("flat", x);
    let x = g.linear("fc", x, 5);
    g.finish(x).unwrap()
}

/// A block of a transformer, after one of layer norms and linear layers on maps.
fn transformer() -> Layers {
    let (mut g, x) = Builder::new(SIZE);
    let x = g.conv2d(
        "patches",
        x,
        Conv2d::new(12, 4)
            .stride(4)
            .padding(Padding::both(0))
            .bias(),
    );
    let y = g.layer_norm("pixels", x, 1e-6);
    let y = g.linear("wide", y, 24);
    let y = g.activation("gelu", y, Activation::Gelu);
    let y = g.linear("narrow", y, 12);
    let y = g.layer_scale("narrow_scale", y);
    let x = g.add("residual", y, x);
    let x = g.push("tokens", Op::Tokens, &[x]);
    let x = g.push("class_token", Op::ClassToken { features: 12 }, &[x]);
    let positions = Op::PositionEmbedding {
        tokens: 10,
        features: 12,
    };
    let x = g.push("positions", positions, &[x]);
    let y = g.layer_norm("before", x, 1e-6);
    let qkv = Linear {
        in_features: 12,
        separator: '_',
        ..Linear::new(36)
    };
    let y = g.push("attention.in_proj", Op::Linear(qkv), &[y]);
    let y = g.push("attention", Op::Attention { heads: 3 }, &[y]);
    let y = g.linear("out_proj", y, 12);
    let y = g.layer_scale("scale", y);
    let x = g.add("sum", x, y);
    let x = g.activation("tokens.gelu", x, Activation::Gelu);
    let x = g.push("first", Op::FirstToken, &[x]);
    let x = g.linear("fc", x, 5);
    g.finish(x).unwrap()
}

fn weights(graph: &Layers) -> StateDict {
    let mut weights = graph.initialise(3);
    for name in ["norm.running_mean", "norm.bias", "stem.bias", "fc.bias"] {
        if let Some(Values::F32(values)) = weights.get_mut(name).map(|t| &mut t.values) {
            let many = values.iter_mut().enumerate();
            many.for_each(|(at, value)| *value = 0.1 * at as f32 - 0.2);
        }
    }
    weights
}

fn pixels(n: usize) -> Vec<u8> {
    (0..n * 3 * SIZE * SIZE)
        .map(|at| (at * 37 % 251) as u8)
        .collect()
}

/// The largest difference between the scores of libtorch and those of the interpreter.
fn difference(network: &InferenceGraph, opset: i64, precision: Precision) -> f32 {
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let options = inference::Options {
        precision,
        kernels: Kernels::Plain,
        ..inference::Options::cpu()
    };
    let backend = inference::load(network, &preprocessing, &options).unwrap();
    let options = Options {
        opset,
        ..Options::default()
    };
    let file = model(network, &options).unwrap().encode_to_vec();
    let exported = Interpreter::read(&file).unwrap();
    let pixels = pixels(2);
    let planes = preprocessing.planes(&pixels);
    let expected = backend.logits(Images::Normalised(&planes)).unwrap();
    let found = exported.logits(Images::Normalised(&planes)).unwrap();
    assert_eq!(expected.len(), found.len());
    let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).abs());
    // NaN is as far away as can be.
    let apart = apart.map(|x| if x.is_nan() { f32::INFINITY } else { x });
    apart.fold(0.0, f32::max)
}

#[test]
fn every_operator_means_the_same_to_the_interpreter() {
    let graph = all_operators();
    let network = InferenceGraph::float(&graph, &weights(&graph)).unwrap();
    for opset in OPSETS {
        let apart = difference(&network, opset, Precision::Float32);
        assert!(apart < 1e-5, "opset {opset}: {apart}");
    }
}

#[test]
fn a_transformer_means_the_same_to_the_interpreter() {
    let graph = transformer();
    let mut weights = graph.initialise(3);
    for name in [
        "narrow_scale",
        "scale",
        "pixels.bias",
        "before.weight",
        "class_token",
    ] {
        let values = weights.f32_mut(name).unwrap().iter_mut().enumerate();
        values.for_each(|(at, value)| *value = 0.3 * at as f32 - 0.7);
    }
    let network = InferenceGraph::float(&graph, &weights).unwrap();
    for opset in [17, 21] {
        let apart = difference(&network, opset, Precision::Float32);
        assert!(apart < 1e-5, "opset {opset}: {apart}");
    }
    let options = Options {
        opset: 16,
        ..Options::default()
    };
    let error = model(&network, &options).unwrap_err().to_string();
    assert!(
        error.starts_with("LayerNorm pixels needs ONNX opset 17"),
        "{error}"
    );
}

#[test]
fn hardswish_is_spelt_out_before_it_was_an_operator() {
    let graph = all_operators();
    let network = InferenceGraph::float(&graph, &weights(&graph)).unwrap();
    let has = |opset, operator: &str| {
        let options = Options {
            opset,
            ..Options::default()
        };
        let graph = model(&network, &options).unwrap().graph.unwrap();
        graph.node.iter().any(|node| node.op_type == operator)
    };
    assert!(has(14, "HardSwish") && !has(13, "HardSwish"));
    assert!(
        has(13, "BatchNormalization"),
        "one that follows no convolution stays"
    );
}

#[test]
fn a_dynamic_int8_layer_rounds_its_input_as_it_comes() {
    let graph = all_operators();
    let mut weights = passes::for_inference_with(&graph, &weights(&graph))
        .unwrap()
        .1;
    let real = weights["fc.weight"].as_f32().unwrap().to_vec();
    let q = real.iter().map(|w| (w * 100.0).round() as i8).collect();
    let weight = Tensor {
        shape: weights["fc.weight"].shape.clone(),
        values: Values::I8(q),
    };
    weights.insert("fc.weight".into(), weight);
    weights.insert("fc.weight_scale".into(), Tensor::f32([5], vec![0.01; 5]));
    let quantization = Quantization {
        method: Method::Dynamic,
        values: Default::default(),
        ranges: Default::default(),
        before_add: Default::default(),
        details: Default::default(),
    };
    let network = InferenceGraph::int8(&graph, weights, &quantization).unwrap();
    for opset in [11, 21] {
        let apart = difference(&network, opset, Precision::Int8);
        // Plain operators leave the input as it is.
        assert!(apart < 0.02 && apart > 0.0, "opset {opset}: {apart}");
    }
}

#[test]
fn a_static_int8_layer_is_refused_by_name_where_channels_have_no_scale() {
    let (mut g, x) = Builder::new(4);
    let x = g.conv2d("stem", x, Conv2d::new(2, 1));
    let graph = g.finish(x).unwrap();
    let tensor = |shape: &[usize], values| Tensor {
        shape: shape.to_vec(),
        values,
    };
    let weights = StateDict::from([
        (
            "stem.weight".into(),
            tensor(&[2, 3, 1, 1], Values::I8(vec![1; 6])),
        ),
        ("stem.weight_scale".into(), Tensor::f32([2], vec![0.5; 2])),
        ("stem.bias".into(), Tensor::f32([2], vec![0.0; 2])),
    ]);
    let quantization = Quantization {
        method: Method::Static,
        values: [("input".into(), QuantizationParameters::covering(-1.0, 1.0))].into(),
        ranges: Default::default(),
        before_add: Default::default(),
        details: Default::default(),
    };
    let network = InferenceGraph::int8(&graph, weights, &quantization).unwrap();
    let options = Options {
        opset: 12,
        ..Options::default()
    };
    let error = model(&network, &options).unwrap_err();
    assert_eq!(crate::error::exit_code(&error), 2);
    assert!(
        error.to_string().starts_with("stem has int8 weights"),
        "{error}"
    );
}

//! Networks and optimizers against PyTorch: golden values by `tests/golden/models.py`.

use flowers::device::Device;
use flowers::graph::{Activation, Builder, Conv2d, Graph, Linear, Op, Pool2d, Role};
use flowers::models::{self, Options};
use flowers::training::{Activations, Algorithm, Mode, Network, Optimizer};
use flowers::weights::{StateDict, Tensor, Values};
use serde_json::Value;
use tch::Kind;

use crate::golden::{TOLERANCE, difference, pictures, uniform};

#[test]
fn every_architecture_gives_pytorchs_logits() {
    let golden: Value = serde_json::from_str(include_str!("../golden/models/logits.json")).unwrap();
    let cases = golden.as_array().unwrap();
    let has_logits = |family: &str| {
        let mut tested = cases.iter().map(|case| case["name"].as_str().unwrap());
        tested.any(|name| models::find(name).unwrap().family == family)
    };
    for architecture in models::ARCHITECTURES {
        let name = architecture.name;
        assert!(
            has_logits(architecture.family),
            "{name} has no golden values"
        );
    }
    let mut apart = Vec::new();
    for case in cases {
        let (name, size) = (
            case["name"].as_str().unwrap(),
            case["size"].as_u64().unwrap() as usize,
        );
        let logits = network(name, size, 10)
            .forward(&pictures(2, size), Mode::Evaluate)
            .unwrap();
        let worst = difference(&logits, &case["logits"]);
        if worst.is_nan() || worst > TOLERANCE {
            apart.push(format!("{name} at {size} pixels by {worst}"));
        }
    }
    assert!(apart.is_empty(), "logits differ: {apart:?}");
}

#[test]
fn training_steps_are_pytorchs() {
    let golden: Value = serde_json::from_str(include_str!("../golden/models/steps.json")).unwrap();
    let algorithms = [
        ("adam", Algorithm::Adam, 1e-3),
        ("adamw", Algorithm::Adamw, 1e-3),
        ("sgd", Algorithm::Sgd, 1e-2),
    ];
    for (name, algorithm, rate) in algorithms {
        let network = network("resnet18", 64, 10);
        let mut optimizer = Optimizer::new(algorithm, network.trainable(), 0.01).unwrap();
        let (x, y) = (pictures(4, 64), tch::Tensor::from_slice(&[0i64, 3, 3, 9]));
        for (step, expected) in golden[name]["losses"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let logits = network.forward(&x, Mode::Train).unwrap();
            let reduction = tch::Reduction::Mean;
            let loss = logits.cross_entropy_loss::<tch::Tensor>(&y, None, reduction, -100, 0.1);
            let (actual, expected) = (loss.double_value(&[]), expected.as_f64().unwrap());
            // Rounding grows from step to step: Adam divides by tiny second moments.
            let tolerance = [1e-5, 1e-3, 2e-2, 2e-2, 2e-2][step];
            assert!(
                (actual - expected).abs() < tolerance,
                "{name} step {step}: {actual} {expected}"
            );
            let gradients = optimizer.gradients(&loss).unwrap();
            optimizer.apply(gradients, rate).unwrap();
        }
        let state = network.state_dict().unwrap();
        for (parameter, key) in [("fc.bias", "fc_bias"), ("bn1.running_mean", "running_mean")] {
            let expected = golden[name][key].as_array().unwrap();
            for (actual, expected) in state[parameter].as_f32().unwrap().iter().zip(expected) {
                let worst = (f64::from(*actual) - expected.as_f64().unwrap()).abs();
                assert!(worst < 1e-3, "{name}: {parameter} differs by {worst}");
            }
        }
        assert_eq!(
            state["bn1.num_batches_tracked"].values,
            Values::I64(vec![5])
        );
    }
}

#[test]
fn freezing_keeps_parameters_and_statistics() {
    let mut network = network("resnet18", 64, 10);
    let layer4 = network.graph().layer("layer4").unwrap();
    network.freeze_until(layer4).unwrap();
    let before = network.state_dict().unwrap();
    let trainable = network.trainable();
    assert!(
        trainable
            .iter()
            .all(|(name, ..)| name.starts_with("layer4") || name.starts_with("fc"))
    );
    let mut optimizer = Optimizer::new(Algorithm::Adam, trainable, 0.0).unwrap();
    let logits = network.forward(&pictures(4, 64), Mode::Train).unwrap();
    let loss = logits.square().sum(Kind::Float);
    let gradients = optimizer.gradients(&loss).unwrap();
    optimizer.apply(gradients, 1e-3).unwrap();
    let after = network.state_dict().unwrap();
    for (name, tensor) in &before {
        let moved = &after[name] != tensor;
        let trained = name.starts_with("layer4") || name.starts_with("fc");
        assert_eq!(moved, trained, "{name}");
    }
}

/// The network of the same name in `tests/golden/gradients.py`.
fn operators() -> Graph {
    let (mut g, x) = Builder::new(8);
    let x = g.conv2d("stem", x, Conv2d::new(6, 3).bias());
    let x = g.activation("hardswish", x, Activation::Hardswish);
    let gate = g.global_avg_pool("squeeze", x);
    let gate = g.conv2d("gate", gate, Conv2d::new(6, 1).bias());
    let gate = g.activation("hardsigmoid", gate, Activation::Hardsigmoid);
    let x = g.push("mul", Op::Mul, &[x, gate]);
    let left = g.conv2d("left", x, Conv2d::new(4, 3).bias());
    let left = g.activation("silu", left, Activation::Silu);
    let right = g.conv2d("right", x, Conv2d::new(4, 3).bias());
    let right = g.activation("sigmoid", right, Activation::Sigmoid);
    let x = g.push("concat", Op::Concat, &[left, right]);
    let pool = Pool2d::new(3, 2).padding(1);
    let x = g.push("pool", Op::AvgPool2d(pool), &[x]);
    let x = g.flatten("flatten", x);
    let x = g.linear("fc", x, 3);
    g.finish(x).unwrap()
}

/// The network `Tokens` of `tests/golden/gradients.py`.
fn tokens() -> Graph {
    let (mut g, x) = Builder::new(8);
    let x = g.conv2d("stem", x, Conv2d::new(8, 3).bias());
    let x = g.activation("relu", x, Activation::Relu);
    let x = g.max_pool2d("pool", x, Pool2d::new(3, 2).ceil_mode());
    let x = g.channel_shuffle("shuffle", x, 2);
    let x = g.slice("slice", x, 1..7);
    let x = g.conv2d("wide", x, Conv2d::rectangular(8, [1, 3]).bias());
    let y = g.layer_norm("norm", x, 1e-6);
    let y = g.linear("pointwise", y, 8);
    let y = g.activation("gelu", y, Activation::Gelu);
    let y = g.layer_scale("layer_scale", y);
    let x = g.add("residual", x, y);
    let x = g.push("tokens", Op::Tokens, &[x]);
    let x = g.push("class_token", Op::ClassToken { features: 8 }, &[x]);
    let positions = Op::PositionEmbedding {
        tokens: 17,
        features: 8,
    };
    let x = g.push("positions", positions, &[x]);
    let y = g.layer_norm("before", x, 1e-6);
    let packed = Linear {
        in_features: 8,
        separator: '_',
        ..Linear::new(24)
    };
    let y = g.push("attention.in_proj", Op::Linear(packed), &[y]);
    let y = g.push("attention", Op::Attention { heads: 2 }, &[y]);
    let y = g.linear("attention.out_proj", y, 8);
    let y = g.layer_scale("gamma", y);
    let x = g.add("sum", x, y);
    let x = g.push("first", Op::FirstToken, &[x]);
    let x = g.linear("fc", x, 3);
    g.finish(x).unwrap()
}

#[test]
fn operators_have_pytorchs_gradients() {
    let golden = include_str!("../golden/models/gradients.json");
    let golden: Value = serde_json::from_str(golden).unwrap();
    for (name, graph) in [("operators", operators()), ("tokens", tokens())] {
        gradients_are(&golden[name], graph);
    }
}

fn gradients_are(golden: &Value, graph: Graph) {
    let weights = generated(&graph);
    let network = Network::new(graph, &weights, Device::Cpu).unwrap();
    let logits = network.forward(&pictures(4, 8), Mode::Train).unwrap();
    let worst = difference(&logits, &golden["logits"]);
    assert!(worst < 1e-5, "logits differ by {worst}");

    let labels = tch::Tensor::from_slice(&[0i64, 2, 1, 1]);
    logits.cross_entropy_for_logits(&labels).backward();
    let trainable = network.trainable();
    let expected = golden["gradients"].as_object().unwrap();
    assert_eq!(trainable.len(), expected.len());
    for (name, _, parameter) in &trainable {
        let golden = tensor(&expected[name]);
        let gradient = parameter
            .grad()
            .to_kind(Kind::Double)
            .contiguous()
            .flatten(0, -1);
        let apart = (&gradient - &golden).abs().max() / golden.abs().max();
        let apart = apart.double_value(&[]);
        assert!(apart < 1e-4, "the gradient of {name} differs by {apart}");
    }
}

/// A list of numbers in float64.
fn tensor(golden: &Value) -> tch::Tensor {
    let values: Vec<f64> = serde_json::from_value(golden.clone()).unwrap();
    tch::Tensor::from_slice(&values)
}

#[test]
fn a_network_cut_at_any_node_computes_the_same() {
    for name in ["resnet18", "mobilenet_v2"] {
        let network = network(name, 64, 10);
        let x = pictures(2, 64);
        let whole = network.forward(&x, Mode::Evaluate).unwrap();
        for cut in 0..=network.graph().nodes().len() {
            let input = network.input(&x).unwrap();
            let values = network.forward_range(0..cut, input, Mode::Evaluate);
            let values = values.unwrap();
            // Twice, since the first time must not modify what it was given.
            for _ in 0..2 {
                let given: Activations = values
                    .iter()
                    .map(|(&n, x)| (n, x.shallow_clone()))
                    .collect();
                let logits = network.logits(cut, given, Mode::Evaluate).unwrap();
                assert!(logits.equal(&whole), "{name} cut at node {cut}");
            }
        }
    }
}

#[test]
fn a_frozen_prefix_that_ran_before_gives_the_same_step() {
    let stepped = |ahead: bool| {
        let mut network = network("resnet18", 64, 10);
        let layer4 = network.graph().layer("layer4").unwrap();
        network.freeze_until(layer4).unwrap();
        let mut optimizer = Optimizer::new(Algorithm::Adam, network.trainable(), 0.0).unwrap();
        let x = pictures(4, 64);
        let logits = if ahead {
            let input = network.input(&x).unwrap();
            let features = network.forward_range(0..layer4.index(), input, Mode::Evaluate);
            network.logits(layer4.index(), features.unwrap(), Mode::Train)
        } else {
            network.forward(&x, Mode::Train)
        };
        let loss = logits.unwrap().square().sum(Kind::Float);
        let gradients = optimizer.gradients(&loss).unwrap();
        optimizer.apply(gradients, 1e-3).unwrap();
        network.state_dict().unwrap()
    };
    assert!(stepped(true) == stepped(false));
}

fn network(name: &str, image_size: usize, classes: usize) -> Network {
    let architecture = models::find(name).unwrap();
    let options = Options {
        classes,
        image_size,
        head: architecture.default_head(),
        channels: Default::default(),
    };
    let graph = architecture.graph(&options).unwrap();
    let weights = generated(&graph);
    Network::new(graph, &weights, Device::Cpu).unwrap()
}

/// The parameters that the golden values were computed with.
fn generated(graph: &Graph) -> StateDict {
    let parameters = graph.parameters().map(|parameter| {
        let count = parameter.shape.iter().product();
        let fan_in = parameter.shape.iter().skip(1).product::<usize>() as f64;
        let scaled = |u: f64| match parameter.role {
            Role::RunningVariance => 0.5 + u,
            Role::Scale => 0.3 + 0.4 * u,
            Role::Weight | Role::Embedding => (2.0 * u - 1.0) * (6.0 / fan_in).sqrt(),
            _ => 0.2 * u - 0.1,
        };
        let tensor = if parameter.role == Role::BatchesTracked {
            Tensor {
                shape: vec![],
                values: Values::I64(vec![0]),
            }
        } else {
            let values = uniform(&parameter.name, count).map(|u| scaled(u) as f32);
            Tensor::f32(parameter.shape.clone(), values.collect())
        };
        (parameter.name, tensor)
    });
    parameters.collect()
}

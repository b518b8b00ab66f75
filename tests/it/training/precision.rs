//! Mixed precision: the numbers of float32, rounded.

use std::ffi::OsStr;

use flowers::device::Device;
use flowers::training::{Algorithm, Mode, Network, Optimizer, Precision};
use flowers::weights::StateDict;
use tch::{Kind, Reduction, Tensor};

use super::model_bytes;
use crate::networks::{SIZE, graph, weights};
use crate::support::{photos, run, train};

/// Logits before and parameters after a step of plain gradient descent.
fn stepped(precision: Precision) -> (Vec<f32>, StateDict) {
    let graph = graph("resnet18");
    let weights = weights(&graph);
    let network = Network::new(graph, &weights, Device::Cpu)
        .unwrap()
        .with_precision(precision);
    tch::manual_seed(3);
    let side = SIZE as i64;
    let pixels = Tensor::randn([8, 3, side, side], (Kind::Float, tch::Device::Cpu));
    let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 5, 6, 7]);
    let logits = network.forward(&pixels, Mode::Train).unwrap();
    assert_eq!(logits.kind(), Kind::Float);
    let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    let mut optimizer = Optimizer::new(Algorithm::Sgd, network.trainable(), 0.0).unwrap();
    let gradients = optimizer.gradients(&loss).unwrap();
    optimizer.apply(gradients, 1.0).unwrap();
    let logits = Vec::<f32>::try_from(logits.flatten(0, -1)).unwrap();
    (logits, network.state_dict().unwrap())
}

/// How far apart two vectors are, as a fraction of the length of the first.
fn relative(a: &[f32], b: &[f32]) -> f32 {
    let apart: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (apart / a.iter().map(|a| a * a).sum::<f32>()).sqrt()
}

/// Also of a network whose classifier is a convolution.
#[test]
fn logits_are_float32_in_either_precision() {
    let network = || {
        Network::new(
            graph("squeezenet1_1"),
            &weights(&graph("squeezenet1_1")),
            Device::Cpu,
        )
    };
    for precision in [Precision::Float32, Precision::Bfloat16] {
        let network = network().unwrap().with_precision(precision);
        let side = SIZE as i64;
        let pixels = Tensor::zeros([2, 3, side, side], (Kind::Float, tch::Device::Cpu));
        let logits = network.forward(&pixels, Mode::Train).unwrap();
        assert_eq!(logits.kind(), Kind::Float);
    }
}

/// bfloat16 has 8 significant bits, and each layer on the way back loses some: the gradient of the
/// first layer is 0.39 of its length off, which it is in PyTorch's autocast too. A missing or
/// doubled one would be off by all of it.
#[test]
fn a_step_in_bfloat16_is_the_step_in_float32_but_for_rounding() {
    let (logits, after) = stepped(Precision::Float32);
    let (rounded, after_rounded) = stepped(Precision::Bfloat16);
    let apart = relative(&logits, &rounded);
    assert!((1e-6..0.1).contains(&apart), "{apart}");
    let before = weights(&graph("resnet18"));
    for (name, tolerance) in [("fc.weight", 0.1), ("conv1.weight", 0.6)] {
        let moved = |after: &StateDict| -> Vec<f32> {
            let pair = [after, &before].map(|state| state[name].as_f32().unwrap());
            pair[0].iter().zip(pair[1]).map(|(a, b)| a - b).collect()
        };
        let apart = relative(&moved(&after), &moved(&after_rounded));
        assert!(apart < tolerance, "{name}: {apart}");
    }
}

#[test]
fn evaluation_is_in_float32() {
    let side = SIZE as i64;
    let pixels = Tensor::full([2, 3, side, side], 0.5, (Kind::Float, tch::Device::Cpu));
    let logits = |precision| {
        let graph = graph("resnet18");
        let weights = weights(&graph);
        let network = Network::new(graph, &weights, Device::Cpu).unwrap();
        let network = network.with_precision(precision);
        network.forward(&pixels, Mode::Evaluate).unwrap()
    };
    assert!(logits(Precision::Bfloat16).equal(&logits(Precision::Float32)));
}

#[test]
fn a_run_in_bfloat16_is_repeated_by_its_config() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(
        photos(),
        &out,
        &["--epochs", "1", "--precision", "bfloat16"],
    )
    .done();
    let config = out.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("precision = \"bfloat16\""), "{text}");
    let again = folder.path().join("again");
    let arguments: [&OsStr; 6] = [
        "train".as_ref(),
        photos().as_ref(),
        "--config".as_ref(),
        config.as_ref(),
        "--out".as_ref(),
        again.as_ref(),
    ];
    run(arguments).done();
    assert!(model_bytes(&out) == model_bytes(&again));
}

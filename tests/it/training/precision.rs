//! Mixed precision: the numbers of float32, rounded.

use std::ffi::OsStr;

use flowers::training::{Algorithm, Mode, Network, Optimizer, Precision};
use flowers::weights::{StateDict, Values};
use tch::{Device, Kind, Reduction, Tensor};

use super::model_bytes;
use crate::networks::{SIZE, graph, weights};
use crate::support::{photos, run, train};

/// Logits before and parameters after a step of plain gradient descent.
fn stepped(architecture: &str, precision: Precision) -> (Vec<f32>, StateDict) {
    let graph = graph(architecture);
    let weights = weights(&graph);
    let network = Network::new(graph, &weights, Device::Cpu)
        .unwrap()
        .with_precision(precision);
    tch::manual_seed(3);
    let side = SIZE as i64;
    let pixels = Tensor::randn([8, 3, side, side], (Kind::Float, Device::Cpu));
    let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 5, 6, 7]);
    let logits = network.forward(&pixels, Mode::Train).unwrap();
    assert_eq!(logits.kind(), Kind::Float);
    let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    let mut optimizer = Optimizer::new(Algorithm::Sgd, network.trainable(), 0.0).unwrap();
    optimizer.step(&loss, 1.0).unwrap();
    let logits = Vec::<f32>::try_from(logits.flatten(0, -1)).unwrap();
    (logits, network.state_dict().unwrap())
}

fn norm(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|value| value * value).sum::<f32>().sqrt()
}

/// bfloat16 has 8 significant bits, and each layer on the way back loses some: the gradient of
/// ResNet18's first layer is 0.39 of its length off, which it is in PyTorch's autocast too. A missing
/// or doubled one would be off by all of it.
#[test]
fn a_step_in_bfloat16_is_the_step_in_float32_but_for_rounding() {
    for architecture in ["resnet18", "mobilenet_v2"] {
        let (logits, after) = stepped(architecture, Precision::Float32);
        let (rounded, after_rounded) = stepped(architecture, Precision::Bfloat16);
        let apart = norm(logits.iter().zip(&rounded).map(|(a, b)| a - b));
        let relative = apart / norm(logits.iter().copied());
        assert!(
            (1e-6..0.1).contains(&relative),
            "{architecture}: {relative}"
        );
        let before = weights(&graph(architecture));
        for name in ["fc.weight", "classifier.1.weight", "conv1.weight"] {
            let Some(before) = before.get(name) else {
                continue;
            };
            let moved = |after: &StateDict| -> Vec<f32> {
                let after = after[name].as_f32().unwrap();
                let before = before.as_f32().unwrap();
                after.iter().zip(before).map(|(a, b)| a - b).collect()
            };
            let (exact, rounded) = (moved(&after), moved(&after_rounded));
            let apart = norm(exact.iter().zip(&rounded).map(|(a, b)| a - b));
            let relative = apart / norm(exact.into_iter());
            assert!(relative < 0.6, "{architecture} {name}: {relative}");
        }
        let float = |state: &StateDict| {
            let floats = |t: &&flowers::weights::Tensor| matches!(t.values, Values::F32(_));
            state.values().filter(floats).count()
        };
        assert_eq!(
            float(&after),
            float(&after_rounded),
            "parameters stay float32"
        );
    }
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

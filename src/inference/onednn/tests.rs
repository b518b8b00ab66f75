//! A small network whose scores are known: also what a memory checker runs.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::sync::Arc;
use std::thread;

use super::Session;
use super::constants::Constants;
use super::plan::{Context, build};
use crate::device::Device;
use crate::graph::{Activation, Builder, Conv2d, Graph, InferenceGraph, Op, Pool2d};
use crate::image::Preprocessing;
use crate::inference::{Arithmetic, Backend, Images, Options};
#[cfg(all(target_env = "gnu", not(fuzzing)))]
use crate::memory;
use crate::weights::{StateDict, Tensor};

const SIZE: usize = 8;
const CHANNELS: usize = 16;

/// Means over the channels, one for each of as many: convolutions, a sum, a gate, a pool, parts that change
/// places, and a linear layer.
fn graph() -> Graph {
    let (mut g, x) = Builder::new(SIZE);
    let x = g.conv2d("mean", x, Conv2d::new(CHANNELS, 1));
    let y = g.conv2d("same", x, Conv2d::new(CHANNELS, 1).groups(CHANNELS));
    let x = g.add("twice", x, y);
    let gate = g.global_avg_pool("squeeze", x);
    let gate = g.conv2d("ones", gate, Conv2d::new(CHANNELS, 1).bias());
    let gate = g.activation("gate", gate, Activation::Relu);
    let x = g.push("gated", Op::Mul, &[x, gate]);
    let x = g.push("pool", Op::MaxPool2d(Pool2d::new(2, 2)), &[x]);
    let half = CHANNELS / 2;
    let [a, b] = [0, half].map(|start| {
        let end = start + half;
        g.push(format!("part{start}"), Op::Slice { start, end }, &[x])
    });
    let x = g.push("joined", Op::Concat, &[b, a]);
    let x = g.push("shuffled", Op::ChannelShuffle { groups: 2 }, &[x]);
    let x = g.global_avg_pool("average", x);
    let x = g.flatten("flat", x);
    let x = g.linear("fc", x, 2);
    g.finish(x).unwrap()
}

/// The first score is the mean of all channels, which are twice the mean of the picture's; the second
/// is one more.
fn network() -> InferenceGraph {
    let mut weights = StateDict::default();
    let mut set = |name: &str, shape: &[usize], value: f32| {
        let count = shape.iter().product();
        weights.insert(name.into(), Tensor::f32(shape, vec![value; count]));
    };
    set("mean.weight", &[CHANNELS, 3, 1, 1], 1.0 / 3.0);
    set("same.weight", &[CHANNELS, 1, 1, 1], 1.0);
    set("ones.weight", &[CHANNELS, CHANNELS, 1, 1], 0.0);
    set("ones.bias", &[CHANNELS], 1.0);
    set("fc.weight", &[2, CHANNELS], 1.0 / CHANNELS as f32);
    weights.insert("fc.bias".into(), Tensor::f32([2], vec![0.0, 1.0]));
    InferenceGraph::float(&graph(), &weights).unwrap()
}

#[test]
fn scores_are_those_of_the_picture_in_every_batch_and_on_every_thread() {
    let options = Options::float32(Device::Cpu);
    let preprocessing = Preprocessing::imagenet(SIZE as u32);
    let session = Session::new(&network(), &preprocessing, &options).unwrap();
    let planes = 3 * SIZE * SIZE;
    let check = || {
        for n in [0, 1, 2, 7, 4] {
            // Each picture is of one number.
            let pictures = (0..n).flat_map(|at| vec![at as f32 - 1.0; planes]);
            let pictures: Vec<f32> = pictures.collect();
            let scores = session.logits(Images::Normalised(&pictures)).unwrap();
            assert_eq!(scores.len(), 2 * n);
            for (at, scores) in scores.chunks(2).enumerate() {
                let expected = 2.0 * (at as f32 - 1.0);
                assert!((scores[0] - expected).abs() < 1e-5, "{at}: {scores:?}");
                assert!(
                    (scores[1] - expected - 1.0).abs() < 1e-5,
                    "{at}: {scores:?}"
                );
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(check);
        }
    });
}

/// oneDNN makes a list of a primitive's arguments whenever it runs; there is no room for a value in it.
#[test]
#[cfg(all(target_env = "gnu", not(fuzzing)))]
fn a_run_allocates_no_values() {
    let plan = build(
        &network(),
        Arithmetic::Float32,
        4,
        &[],
        &Constants::default(),
    );
    let plan = Arc::new(plan.unwrap());
    let mut context = Context::new(&plan).unwrap();
    let mut allocated = || {
        let before = memory::allocated();
        context.run(|input| input.fill(0)).unwrap();
        (memory::allocated() - before) as usize
    };
    let runs: Vec<usize> = (0..20).map(|_| allocated()).collect();
    let last = runs[19];
    assert!(runs[10..].iter().all(|&bytes| bytes == last), "{runs:?}");
    assert!(
        last < 1024 * plan.steps(),
        "{last} bytes, {} steps",
        plan.steps()
    );
}

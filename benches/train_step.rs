//! Steps of fine-tuning on random pictures: throughput and peak memory, as one JSON object.
//!
//! usage: train_step [ARCH] [IMAGE_SIZE] [BATCH] [STEPS] [THREADS] [cpu|cuda] [float32|bfloat16]
//!
//! `benches/peers/train_step.py` and `gpu.py` run it beside the same step in PyTorch.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;
use flowers::device::DeviceChoice;
use flowers::inference::{resolve_device, set_threads};
use flowers::models::{self, Options};
use flowers::training::{Algorithm, Mode, Network, Optimizer, Precision};
use tch::{Kind, Reduction, Tensor};

fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let argument = |place: usize, default: &str| {
        arguments
            .get(place)
            .cloned()
            .unwrap_or_else(|| default.to_string())
    };
    let architecture = models::find(&argument(0, "resnet18"))?;
    let image_size: usize = argument(1, "224").parse()?;
    let batch: i64 = argument(2, "32").parse()?;
    let steps: usize = argument(3, "8").parse()?;
    set_threads(argument(4, "2").parse()?);
    let device = DeviceChoice::from_str(&argument(5, "cpu"), false).map_err(anyhow::Error::msg)?;
    let device = resolve_device(device)?;
    let on_device = tch::Device::from(device);
    let precision = match argument(6, "float32").as_str() {
        "bfloat16" => Precision::Bfloat16,
        _ => Precision::Float32,
    };

    let options = Options {
        classes: 10,
        image_size,
        ..architecture.imagenet()
    };
    let graph = architecture.graph(&options)?;
    let weights = graph.initialise(0);
    let network = Network::new(graph, &weights, device)?.with_precision(precision);
    drop(weights);
    let mut optimizer = Optimizer::new(Algorithm::Adam, network.trainable(), 0.0)?;
    let side = image_size as i64;
    let pixels = Tensor::randn([batch, 3, side, side], (Kind::Float, on_device));
    let labels = Tensor::randint(10, [batch], (Kind::Int64, on_device));

    let mut seconds = Vec::with_capacity(steps);
    for _ in 0..steps + 2 {
        let started = Instant::now();
        let logits = network.forward(&pixels, Mode::Train)?;
        let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
        optimizer.apply(optimizer.gradients(&loss)?, 1e-4)?;
        let value = loss.double_value(&[]);
        anyhow::ensure!(value.is_finite(), "the loss is {value}");
        seconds.push(started.elapsed().as_secs_f64());
    }
    // The first steps allocate and warm up.
    let mut timed = seconds.split_off(2);
    timed.sort_by(f64::total_cmp);
    let median = timed[timed.len() / 2];
    println!(
        "{{\"images_per_second\": {:.2}, \"step_ms\": {:.1}, \"peak_mb\": {:.0}}}",
        batch as f64 / median,
        1e3 * median,
        peak_megabytes()?
    );
    Ok(())
}

/// The largest resident memory of this process so far.
fn peak_megabytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kilobytes
        .context("no peak memory in /proc")?
        .parse::<f64>()?
        / 1024.0)
}

//! `flowers bench`: how fast a network answers on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::compute;
use super::output::{Output, note};
use super::progress::Bar;
use super::table::table;
use crate::bundle::Bundle;
use crate::cli::bench::BenchArgs;
use crate::error::{Error, Result, shown};
use crate::graph::{Graph, InferenceGraph};
use crate::image::Preprocessing;
use crate::inference::{self, Backend, Images, Options};
use crate::memory;
use crate::models;
use crate::progress::Progress;

/// Share of the time that a network warms up for: caches fill, threads start, clocks rise.
const WARM_UP: f64 = 0.2;
/// Passes that warm up, and that are timed, however long they take.
const FEWEST: [usize; 2] = [1, 3];

/// The speed of one precision at one batch size.
#[derive(Serialize)]
struct Measurement {
    /// File or architecture.
    model: String,
    device: String,
    precision: String,
    /// Whether this machine computes in that precision, or imitates it in float32.
    native: bool,
    kernels: &'static str,
    batch: usize,
    threads: usize,
    images_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of the process after its passes; unknown outside Linux.
    resident_mb: Option<f64>,
    /// From the file, or from random weights in memory, until it is ready.
    load_ms: f64,
}

/// Runs `flowers bench`.
///
/// # Errors
/// [`Error::Data`] for a model that can't be used, [`Error::Usage`] for an architecture that is
/// not known or a precision that the model can't have.
pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let subject = Subject::of(args)?;
    let device = compute::set_up(&args.compute)?;
    let progress = Bar::new();
    let measurements = args.precision.len() * args.batch.len();
    progress.begin(&format!("timing {}", subject.name()), measurements as u64);
    let mut figures = Vec::new();
    for &precision in &args.precision {
        let options = Options {
            device,
            precision,
            kernels: args.kernels,
        };
        let (backend, load) = subject.load(&options)?;
        let execution = backend.execution();
        note(format_args!("precision: {execution}"));
        let largest = args.batch.iter().copied().max().unwrap_or(1) as usize;
        let pixels = random_images(largest, backend.image_size());
        for &batch in &args.batch {
            let batch = batch as usize;
            let images = &pixels[..pixels.len() / largest * batch];
            let passes = time(&*backend, images, args.seconds);
            let passes = passes.with_context(|| subject.name())?;
            progress.advance(1);
            let p50 = percentile(&passes, 0.5);
            figures.push(Measurement {
                model: subject.name(),
                device: execution.device.to_string(),
                precision: execution.arithmetic.to_string(),
                native: execution.native,
                kernels: if execution.fused { "fused" } else { "plain" },
                batch,
                threads: compute::threads(&args.compute),
                images_per_second: batch as f64 / p50,
                p50_ms: 1e3 * p50,
                p99_ms: 1e3 * percentile(&passes, 0.99),
                resident_mb: memory::resident().map(|bytes| bytes as f64 / f64::from(1 << 20)),
                load_ms: 1e3 * load.as_secs_f64(),
            });
        }
    }
    progress.finish();
    report(&figures, args.json)
}

/// What is timed.
enum Subject<'a> {
    File(&'a Path),
    Architecture {
        name: &'static str,
        graph: Graph,
        preprocessing: Preprocessing,
    },
}

impl<'a> Subject<'a> {
    fn of(args: &'a BenchArgs) -> Result<Self> {
        let Some(name) = &args.arch else {
            let message = "give a model file or --arch";
            let file = args.model.as_deref();
            let file = file.ok_or_else(|| Error::Usage(message.into()))?;
            return Ok(Self::File(file));
        };
        let architecture = models::find(name)?;
        let image_size = args.image_size.map(|size| size as usize);
        let options = models::Options {
            classes: args.classes as usize,
            image_size: image_size.unwrap_or(architecture.image_size),
            head: architecture.default_head(),
        };
        Ok(Self::Architecture {
            name: architecture.name,
            graph: architecture.graph(&options)?,
            preprocessing: (architecture.preprocessing)(options.image_size as u32),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => shown(path),
            Self::Architecture { name, .. } => (*name).into(),
        }
    }

    /// The loaded network, and how long loading took.
    fn load(&self, options: &Options) -> Result<(Box<dyn Backend>, Duration)> {
        let mut started = Instant::now();
        let backend = match self {
            Self::File(path) => inference::load_bundle(Bundle::read(path)?.0, options),
            Self::Architecture {
                graph,
                preprocessing,
                ..
            } => {
                let weights = graph.initialise(0);
                started = Instant::now();
                let network = InferenceGraph::float(graph, &weights)?;
                inference::load(&network, preprocessing, options)
            }
        };
        let backend = backend.with_context(|| self.name())?;
        Ok((backend, started.elapsed()))
    }
}

/// 8-bit RGB of `n` images, the same each time.
fn random_images(n: usize, size: usize) -> Vec<u8> {
    let mut pixels = vec![0; n * 3 * size * size];
    ChaCha8Rng::seed_from_u64(0).fill_bytes(&mut pixels);
    pixels
}

/// Seconds of each pass over the pictures, sorted, after a warm-up.
fn time(backend: &dyn Backend, pixels: &[u8], seconds: f64) -> Result<Vec<f64>> {
    let [warm_up, timed] = FEWEST;
    repeat(backend, pixels, WARM_UP * seconds, warm_up)?;
    let mut passes = repeat(backend, pixels, seconds, timed)?;
    passes.sort_by(f64::total_cmp);
    Ok(passes)
}

/// Seconds of each pass until `seconds` are over and there are `fewest`.
fn repeat(backend: &dyn Backend, pixels: &[u8], seconds: f64, fewest: usize) -> Result<Vec<f64>> {
    let begin = Instant::now();
    let mut passes = Vec::new();
    while passes.len() < fewest || begin.elapsed().as_secs_f64() < seconds {
        let started = Instant::now();
        backend.logits(Images::Rgb8(pixels))?;
        passes.push(started.elapsed().as_secs_f64());
    }
    Ok(passes)
}

/// The value below which a share of the sorted values lies, between neighbours in proportion, as
/// NumPy's `quantile` has it by default. None have the percentile 0.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = share * last as f64;
    let below = sorted[place as usize];
    let above = sorted[(place as usize + 1).min(last)];
    below + (above - below) * place.fract()
}

fn report(figures: &[Measurement], json: bool) -> Result<()> {
    let mut output = Output::stdout(json);
    output.json(&figures)?;
    let heads = [
        "precision",
        "kernels",
        "batch",
        "images/s",
        "p50 ms",
        "p99 ms",
        "resident MB",
        "load ms",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    rows.extend(figures.iter().map(|figure| {
        let resident = figure.resident_mb.map(|mb| format!("{mb:.0}"));
        vec![
            figure.precision.clone(),
            figure.kernels.into(),
            figure.batch.to_string(),
            format!("{:.1}", figure.images_per_second),
            format!("{:.2}", figure.p50_ms),
            format!("{:.2}", figure.p99_ms),
            resident.unwrap_or_default(),
            format!("{:.0}", figure.load_ms),
        ]
    }));
    output.text(table(&rows).trim_end())?;
    if let Some(figure) = figures.first() {
        let (model, device, threads) = (&figure.model, &figure.device, figure.threads);
        output.text(format_args!("{model} on {device}, threads: {threads}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(percentile(&sorted, 0.0), 1.0);
        assert_eq!(percentile(&sorted, 0.5), 3.0);
        assert_eq!(percentile(&sorted, 1.0), 8.0);
        // Place 2.97 of 0 to 3: 4 + 0.97 * (8 - 4).
        assert!((percentile(&sorted, 0.99) - 7.88).abs() < 1e-9);
        assert_eq!(percentile(&[5.0], 0.99), 5.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
        let hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.99), 99.0);
    }

    #[test]
    fn images_are_the_same_each_time() {
        assert_eq!(random_images(2, 4).len(), 96);
        assert_eq!(random_images(2, 4), random_images(2, 4));
        assert!(random_images(2, 4)[..48] != random_images(2, 4)[48..]);
    }
}

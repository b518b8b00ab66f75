//! `flowers bench`: how fast a network answers on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use super::compute;
use super::output::Output;
use super::progress::Bar;
use super::table::table;
use crate::bundle::Bundle;
use crate::cli::bench::BenchArgs;
use crate::error::{Error, Result, shown};
use crate::evaluation::speed::{percentile, random_images, repeat};
use crate::graph::{Graph, InferenceGraph};
use crate::image::Preprocessing;
use crate::inference::{self, Backend, Options};
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
    /// With its version.
    backend: String,
    kernels: &'static str,
    batch: usize,
    threads: usize,
    images_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of the process after its passes; unknown outside Linux.
    resident_mb: Option<f64>,
    /// The most that the process has ever had, loading included; unknown outside Linux.
    peak_mb: Option<f64>,
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
            backend: args.compute.backend,
        };
        let (backend, load) = subject.load(&options)?;
        let execution = backend.execution();
        compute::note_execution(&execution);
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
                backend: inference::version(execution.backend),
                kernels: if execution.fused { "fused" } else { "plain" },
                batch,
                threads: compute::threads(&args.compute),
                images_per_second: batch as f64 / p50,
                p50_ms: 1e3 * p50,
                p99_ms: 1e3 * percentile(&passes, 0.99),
                resident_mb: memory::resident().map(megabytes),
                peak_mb: memory::peak().map(megabytes),
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
            ..architecture.imagenet()
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

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Seconds of each pass over the pictures, sorted, after a warm-up.
fn time(backend: &dyn Backend, pixels: &[u8], seconds: f64) -> Result<Vec<f64>> {
    let [warm_up, timed] = FEWEST;
    repeat(backend, pixels, WARM_UP * seconds, warm_up)?;
    let mut passes = repeat(backend, pixels, seconds, timed)?;
    passes.sort_by(f64::total_cmp);
    Ok(passes)
}

fn report(figures: &[Measurement], json: bool) -> Result<()> {
    let mut output = Output::stdout(json);
    output.json(&figures)?;
    let heads = [
        "precision",
        "backend",
        "kernels",
        "batch",
        "images/s",
        "p50 ms",
        "p99 ms",
        "resident MB",
        "peak MB",
        "load ms",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    rows.extend(figures.iter().map(|figure| {
        let memory = |mb: Option<f64>| mb.map(|mb| format!("{mb:.0}")).unwrap_or_default();
        vec![
            figure.precision.clone(),
            figure.backend.split(' ').next().unwrap_or_default().into(),
            figure.kernels.into(),
            figure.batch.to_string(),
            format!("{:.1}", figure.images_per_second),
            format!("{:.2}", figure.p50_ms),
            format!("{:.2}", figure.p99_ms),
            memory(figure.resident_mb),
            memory(figure.peak_mb),
            format!("{:.0}", figure.load_ms),
        ]
    }));
    output.text(table(&rows).trim_end())?;
    if let Some(figure) = figures.first() {
        let (model, device, threads) = (&figure.model, &figure.device, figure.threads);
        let mut backends: Vec<&str> = figures.iter().map(|one| &*one.backend).collect();
        backends.dedup();
        let backends = backends.join(", ");
        output.text(format_args!(
            "{model} on {device}, threads: {threads}; by {backends}"
        ))?;
    }
    Ok(())
}

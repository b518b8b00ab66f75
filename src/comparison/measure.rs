//! Trained candidates measured: accuracy on the same photos, speed in turns, memory one by one.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context;

use super::choice::{best, front, is_noise};
use super::memory;
use super::plan::Candidate;
use super::quantized::Quantizer;
use super::results::{CandidateResult, Comparison, ModelResult};
use crate::bundle::{self, Bundle, Manifest};
use crate::data::{Part, Source};
use crate::device::Device;
use crate::error::{Error, Result, shown};
use crate::evaluation::speed::{self, alternate, percentile, random_images};
use crate::evaluation::{Photos, predicted_by};
use crate::inference::{self, Backend, Options, Precision};
use crate::machine;
use crate::metrics::{Evaluation, Paired, Predictions};
use crate::models;
use crate::quantization::is_quantizable;
use crate::training::Recorded;

/// Pictures in a batch whose throughput is measured.
const BATCH: usize = 32;

/// What candidates are measured with.
pub(crate) struct Bench<'a> {
    pub data: &'a Source,
    pub part: Part,
    pub photos: &'a Photos,
    pub quantizer: Quantizer<'a>,
    pub threads: usize,
    /// Seconds that each model is timed for, at each batch size.
    pub seconds: f64,
}

/// A candidate with its models loaded.
pub(crate) struct Subject<'a> {
    candidate: &'a Candidate,
    manifest: Manifest,
    history: usize,
    training_seconds: f64,
    models: Vec<Model>,
}

/// A network in one precision.
struct Model {
    precision: Precision,
    file: PathBuf,
    bytes: u64,
    backend: Box<dyn Backend>,
}

/// How fast a model is.
struct Speed {
    /// Milliseconds for a picture: of each pass, sorted.
    one: Vec<f64>,
    images_per_second: f64,
}

/// The distance of the quartiles of latencies, as a share of their median, from which on a machine
/// counts as busy with something else.
const BUSY: f64 = 0.3;

impl<'a> Subject<'a> {
    /// Loads the model of a finished run in float32, in bfloat16 where the machine computes in it, and
    /// in int8, which is made if need be.
    ///
    /// # Errors
    /// Those of reading and loading the models, and of [`Quantizer::int8`].
    pub(crate) fn load(
        candidate: &'a Candidate,
        recorded: &Recorded,
        quantizer: &Quantizer<'_>,
    ) -> Result<Self> {
        let device = quantizer.device;
        let float = candidate.folder.join(bundle::FILE);
        let int8 = quantizer.int8(&candidate.folder)?;
        let (bundle, _) = Bundle::read(&float)?;
        let of_float = [Precision::Float32, Precision::Bfloat16].map(|p| (p, &float));
        let mut models = Vec::new();
        let of_int8 = int8.iter().map(|file| (Precision::Int8, file));
        for (precision, file) in of_float.into_iter().chain(of_int8) {
            let model = Model::load(file, precision, device).with_context(|| shown(file))?;
            models.extend(model);
        }
        Ok(Self {
            candidate,
            manifest: bundle.manifest,
            history: recorded.history.len(),
            training_seconds: recorded.seconds,
            models,
        })
    }

    fn backends(&self) -> Vec<&dyn Backend> {
        self.models.iter().map(|model| &*model.backend).collect()
    }
}

impl Model {
    /// The model of a file; `None` in a precision that the machine only imitates.
    fn load(file: &Path, precision: Precision, device: Device) -> Result<Option<Self>> {
        let options = Options {
            precision,
            ..Options::auto(device)
        };
        let (bundle, _) = Bundle::read(file)?;
        let backend = inference::load_bundle(bundle, &options)?;
        let is_imitated = precision == Precision::Bfloat16 && !backend.execution().native;
        Ok((!is_imitated).then_some(Self {
            precision,
            file: file.into(),
            bytes: file.metadata()?.len(),
            backend,
        }))
    }
}

/// Measures all subjects.
///
/// # Errors
/// Those of reading photos and of computing, and [`Error::Interrupted`].
pub(crate) fn measured(subjects: &[Subject<'_>], bench: &Bench<'_>) -> Result<Comparison> {
    let predictions = evaluated(subjects, bench)?;
    let speeds = timed(subjects, bench)?;
    let mut notes = Vec::new();
    let peaks = peaks(subjects, bench, &mut notes)?;
    let mut figures = predictions.into_iter().zip(speeds).zip(peaks);
    let mut candidates = Vec::new();
    for subject in subjects {
        let mut models = Vec::new();
        for (model, figures) in subject.models.iter().zip(figures.by_ref()) {
            let ((predictions, speed), peak) = figures;
            models.push(model_result(model, predictions, &speed, peak)?);
        }
        candidates.push(candidate_result(subject, models)?);
    }
    compared(candidates, notes, subjects, bench)
}

fn candidate_result(subject: &Subject<'_>, models: Vec<ModelResult>) -> Result<CandidateResult> {
    let (candidate, graph) = (subject.candidate, subject.manifest.graph()?);
    let record = subject.manifest.recipe.as_ref();
    let weights = record.and_then(|record| record.weights());
    Ok(CandidateResult {
        architecture: candidate.name(),
        run: candidate.folder.to_string_lossy().into_owned(),
        image_size: candidate.config.image_size,
        weights: weights.unwrap_or("unknown").into(),
        parameters: graph.parameter_count(),
        macs: graph.macs(),
        epochs: subject.history,
        training_seconds: subject.training_seconds,
        models,
    })
}

fn model_result(
    model: &Model,
    predictions: Predictions,
    speed: &Speed,
    peak_memory_bytes: Option<u64>,
) -> Result<ModelResult> {
    let evaluation = Evaluation::of(&predictions)?;
    Ok(ModelResult {
        precision: model.precision.to_string(),
        file: model.file.to_string_lossy().into_owned(),
        bytes: model.bytes,
        accuracy: evaluation.accuracy,
        accuracy_interval: evaluation.accuracy_interval,
        is_best: false,
        to_best: Paired::of(&predictions, &predictions)?,
        latency_ms: percentile(&speed.one, 0.5),
        latency_quartiles_ms: [0.25, 0.75].map(|share| percentile(&speed.one, share)),
        images_per_second: speed.images_per_second,
        peak_memory_bytes,
        pareto: false,
        predictions,
    })
}

/// Fills in what needs all results: differences to the best, the front, and what to note.
fn compared(
    mut candidates: Vec<CandidateResult>,
    mut notes: Vec<String>,
    subjects: &[Subject<'_>],
    bench: &Bench<'_>,
) -> Result<Comparison> {
    let models = candidates
        .iter()
        .flat_map(|c| c.models.iter().map(move |m| (c, m)));
    let all: Vec<_> = models
        .map(|(candidate, model)| model.choice(candidate))
        .collect();
    let best = best(&all).context("there is a model")?;
    let (name, best) = (best.name.clone(), best.predictions.clone());
    let points: Vec<(f64, f64)> = all.iter().map(|c| (c.accuracy, c.latency_ms)).collect();
    drop(all);
    let mut fronts = front(&points).into_iter();
    for candidate in &mut candidates {
        for (index, is_on_front) in (0..candidate.models.len()).zip(&mut fronts) {
            let is_best = candidate.name(&candidate.models[index]) == name;
            let model = &mut candidate.models[index];
            model.to_best = Paired::of(&best, &model.predictions)?;
            model.is_best = is_best;
            model.pareto = is_on_front;
        }
    }
    let near = candidates.iter().flat_map(|candidate| &candidate.models);
    let near = near.filter(|model| !model.is_best && is_noise(&model.to_best));
    let near = near.count();
    let photos = best.outcomes().len();
    notes.splice(
        0..0,
        remarks(&candidates, [near, points.len() - 1], photos, bench.part),
    );
    let config = &subjects
        .first()
        .context("there is a candidate")?
        .candidate
        .config;
    Ok(Comparison {
        data: bench.data.to_string(),
        measured_on: bench.part.name(),
        photos,
        recipe: config.recipe.name,
        seed: config.seed,
        processor: machine::processor(),
        device: bench.quantizer.device.to_string(),
        threads: bench.threads,
        batch: BATCH,
        best: name,
        advice: Vec::new(),
        notes,
        candidates,
    })
}

/// What the figures do not say of themselves; `near` of the `others` are within noise of the best.
fn remarks(
    candidates: &[CandidateResult],
    [near, others]: [usize; 2],
    photos: usize,
    part: Part,
) -> Vec<String> {
    let verb = if near > 1 && near < others {
        "are"
    } else {
        "is"
    };
    let near = match near {
        0 => "none".into(),
        _ if near == others => "each".into(),
        _ => near.to_string(),
    };
    let mut remarks = vec![
        format!(
            "{near} of the {others} other models {verb} within noise of the best: the 95% interval of the \
             difference holds 0. One of the {photos} photos is {:.2} points; an interval is for one \
             comparison, not for all at once",
            100.0 / photos as f64
        ),
        "the best was chosen by these photos: its accuracy on new ones may be a little lower"
            .into(),
    ];
    remarks.extend(unsteady(candidates));
    let has_no_int8 = |candidate: &&CandidateResult| {
        let found = models::find(candidate.architecture);
        let graph = found.and_then(|found| found.graph(&found.imagenet()));
        graph.is_ok_and(|graph| !is_quantizable(&graph))
    };
    let without = candidates.iter().filter(has_no_int8);
    remarks.extend(without.map(|candidate| {
        let name = candidate.architecture;
        format!("{name} has no int8 model: attention is not computed with integers")
    }));
    if part != Part::Test {
        remarks.push(
            "measured on the validation photos, as there are none for testing: the best epochs were \
             chosen on them, so accuracy on new photos may be a little lower"
                .into(),
        );
    }
    let mut starts: Vec<&str> = candidates.iter().map(|c| &*c.weights).collect();
    starts.sort_unstable();
    starts.dedup();
    if starts.len() > 1 {
        let random: Vec<&str> = candidates
            .iter()
            .filter(|candidate| candidate.weights == "none")
            .map(|candidate| candidate.architecture)
            .collect();
        remarks.push(format!(
            "not a fair comparison: {} started from random weights, the others from pretrained ones",
            random.join(", ")
        ));
    }
    remarks
}

/// What to say when something else kept the machine busy.
fn unsteady(candidates: &[CandidateResult]) -> Option<String> {
    let models = candidates.iter().flat_map(|candidate| &candidate.models);
    let spread = |model: &ModelResult| {
        let [low, high] = model.latency_quartiles_ms;
        (high - low) / model.latency_ms
    };
    let largest = models.map(spread).fold(0.0, f64::max);
    (largest > BUSY).then(|| {
        format!(
            "the machine was busy with something else: the quartiles of a model's latency are up to \
             {:.0}% apart, so models that are about as fast may change places when measured again",
            100.0 * largest
        )
    })
}

/// Predictions of every model, in order.
fn evaluated(subjects: &[Subject<'_>], bench: &Bench<'_>) -> Result<Vec<Predictions>> {
    let (stop, progress) = (bench.quantizer.stop, bench.quantizer.progress);
    let mut all = Vec::new();
    for subject in subjects {
        let what = format!("evaluating {}", subject.candidate.name());
        progress.begin(&what, bench.photos.indices.len() as u64);
        let (backends, manifest) = (subject.backends(), &subject.manifest);
        let found = predicted_by(&backends, manifest, bench.photos, stop, progress);
        all.extend(found.with_context(|| subject.candidate.name())?);
        progress.finish();
    }
    Ok(all)
}

/// The speed of every model, in order.
fn timed(subjects: &[Subject<'_>], bench: &Bench<'_>) -> Result<Vec<Speed>> {
    let backends: Vec<&dyn Backend> = subjects.iter().flat_map(Subject::backends).collect();
    let progress = bench.quantizer.progress;
    progress.begin(
        "timing all models in turns",
        2 * speed::most_turns(backends.len()) as u64,
    );
    let passes = |batch: usize| -> Result<Vec<Vec<f64>>> {
        let sizes = backends.iter().map(|backend| backend.image_size());
        let pixels: Vec<Vec<u8>> = sizes.map(|size| random_images(batch, size)).collect();
        let subjects = backends.iter().zip(&pixels);
        let subjects: Vec<_> = subjects
            .map(|(&backend, pixels)| speed::Subject { backend, pixels })
            .collect();
        let stop = bench.quantizer.stop;
        alternate(&subjects, bench.seconds, stop, || progress.advance(1))
    };
    let (one, many) = (passes(1)?, passes(BATCH)?);
    progress.finish();
    let both = one.into_iter().zip(many);
    Ok(both
        .map(|(one, many)| Speed {
            one: one.into_iter().map(|seconds| 1e3 * seconds).collect(),
            images_per_second: BATCH as f64 / percentile(&many, 0.5),
        })
        .collect())
}

/// The peak memory of every model, in order, and in the notes why one is not known.
fn peaks(
    subjects: &[Subject<'_>],
    bench: &Bench<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Option<u64>>> {
    let quantizer = &bench.quantizer;
    let models: Vec<&Model> = subjects
        .iter()
        .flat_map(|subject| &subject.models)
        .collect();
    let progress = quantizer.progress;
    progress.begin("measuring memory", models.len() as u64);
    let mut peaks = Vec::new();
    for model in models {
        let found = memory::peak(
            &model.file,
            model.precision,
            quantizer.device,
            bench.threads,
        );
        if quantizer.stop.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        peaks.push(found.unwrap_or_else(|cause| {
            let (file, precision) = (shown(&model.file), model.precision);
            notes.push(format!(
                "peak memory of {file} in {precision} is not known: {cause:#}"
            ));
            None
        }));
        progress.advance(1);
    }
    progress.finish();
    Ok(peaks)
}

fn interrupted() -> anyhow::Error {
    Error::Interrupted("stopped".into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(architecture: &'static str, weights: &str) -> CandidateResult {
        CandidateResult {
            architecture,
            run: String::new(),
            image_size: 224,
            weights: weights.into(),
            parameters: 0,
            macs: 0,
            epochs: 1,
            training_seconds: 1.0,
            models: Vec::new(),
        }
    }

    #[test]
    fn what_the_figures_hide_is_remarked() {
        let fair = ["resnet18", "resnet34"].map(|name| candidate(name, "imagenet"));
        let starts = |near, part| remarks(&fair, [near, 5], 250, part)[0].clone();
        assert!(starts(5, Part::Test).starts_with("each of the 5 other models is within noise"));
        assert!(starts(0, Part::Test).starts_with("none of the 5 other models is within noise"));
        assert!(starts(2, Part::Test).starts_with("2 of the 5 other models are within noise"));
        assert!(starts(1, Part::Test).starts_with("1 of the 5 other models is within noise"));
        assert!(starts(1, Part::Test).contains("One of the 250 photos is 0.40 points"));
        assert_eq!(remarks(&fair, [1, 5], 250, Part::Test).len(), 2);
        let validated = remarks(&fair, [1, 5], 250, Part::Val);
        assert!(validated[2].starts_with("measured on the validation photos"));
        let unfair = [
            candidate("resnet18", "imagenet"),
            candidate("resnet34", "none"),
        ];
        let remarked = remarks(&unfair, [1, 5], 250, Part::Test);
        assert!(
            remarked[2].contains("resnet34 started from random weights"),
            "{remarked:?}"
        );
    }

    #[test]
    fn a_busy_machine_is_remarked() {
        let labels = crate::labels::Labels::new(["a", "b"]).unwrap();
        let of = |quartiles| {
            let model = ModelResult {
                precision: "int8".into(),
                file: String::new(),
                bytes: 0,
                accuracy: 1.0,
                accuracy_interval: [0.5, 1.0],
                is_best: true,
                to_best: Paired {
                    difference: 0.0,
                    interval: [0.0, 0.0],
                    lost: 0,
                    gained: 0,
                    n: 1,
                },
                latency_ms: 10.0,
                latency_quartiles_ms: quartiles,
                images_per_second: 100.0,
                peak_memory_bytes: None,
                pareto: true,
                predictions: Predictions::new(labels.clone()),
            };
            unsteady(&[CandidateResult {
                models: vec![model],
                ..candidate("resnet18", "none")
            }])
        };
        assert!(of([8.0, 12.0]).unwrap().contains("up to 40% apart"));
        assert_eq!(of([9.0, 11.0]), None);
    }
}

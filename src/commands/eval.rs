//! `flowers eval`: measure a model, report, and judge it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use super::compute;
use super::evaluation;
use super::facts::{self, fact};
use super::output::Output;
use super::photos;
use super::progress::Bar;
use super::stop::stop_flag;
use crate::bundle::{Bundle, Manifest};
use crate::cli::eval::EvalArgs;
use crate::data::{Folder, Source, Split};
use crate::device::Device;
use crate::error::{Error, Result, shown};
use crate::evaluation::{Measured, Photos, ReportContext, measure, parts};
use crate::files;
use crate::inference::Precision;
use crate::machine;
use crate::metrics::junit::junit;
use crate::metrics::{Evaluation, GateResult, Gates};
use crate::report::Fact;
use crate::training::Run;

/// Runs `flowers eval`.
///
/// # Errors
/// [`Error::Gate`] after the whole report when a threshold is missed.
pub(super) fn run(args: &EvalArgs) -> Result<()> {
    let source = args.source.named()?;
    let (bundle, _) = Bundle::read(&args.model)?;
    let manifest = &bundle.manifest.clone();
    let gates = gates(args)?;
    gates.check(&manifest.labels)?;
    let _lock = args.report.as_deref().map(Run::create).transpose()?;
    if let Some(path) = &args.junit {
        files::check_writable(path)?;
    }
    let precision = precision(args, manifest);
    let backend =
        compute::load(&args.compute, bundle, precision).with_context(|| shown(&args.model))?;

    let progress = Bar::new();
    let stored = args.split_manifest.as_deref();
    let depth = parts::depth(&args.model, stored, manifest);
    let folder = photos::scan(&source, args.bad.max_bad, depth, &progress)?;
    let (photos, split) = chosen(args, manifest, &folder)?;
    let stop = stop_flag()?;
    let started = Instant::now();
    let measured = measure(&*backend, manifest, photos, &stop, &progress)?;
    let took = started.elapsed();

    let results = gates.judge(&measured.evaluation)?;
    print(args, &measured, &results)?;
    if let Some(report) = &args.report {
        let device = backend.execution().device;
        let context = ReportContext {
            title: facts::title(manifest, &source),
            facts: facts(args, device, &source, manifest, &measured, took),
            manifest,
            folder: &folder,
            split: split.as_ref(),
            history: Vec::new(),
            gates: results.clone(),
            warnings: Vec::new(),
            command: std::env::args_os().map(shown).collect(),
        };
        measured.write(report, &context)?;
    }
    judged(&results)
}

fn gates(args: &EvalArgs) -> Result<Gates> {
    Ok(Gates {
        min_accuracy: args.min_accuracy,
        min_macro_f1: args.min_macro_f1,
        baseline: args.baseline.as_deref().map(baseline).transpose()?,
        max_regression: args.max_regression,
    })
}

fn print(args: &EvalArgs, measured: &Measured, results: &[GateResult]) -> Result<()> {
    let mut output = Output::stdout(args.json);
    output.json(&measured.evaluation)?;
    output.text(evaluation::text(measured))?;
    for result in results {
        output.text(line(result))?;
    }
    if let Some(path) = &args.junit {
        let xml = junit(&measured.evaluation, results)?;
        files::write_atomically(path, |sink| sink.write_all(xml.as_bytes()))?;
    }
    Ok(())
}

fn facts(
    args: &EvalArgs,
    device: Device,
    source: &Source,
    manifest: &Manifest,
    measured: &Measured,
    took: Duration,
) -> Vec<Fact> {
    let threads = compute::threads(&args.compute);
    let mut facts = vec![
        fact("Model", shown(&args.model)),
        fact("Data", source.to_string()),
    ];
    facts.extend(facts::starting_weights(manifest));
    facts.extend([
        facts::measured_on(args.split.part(), measured.evaluation.n as usize),
        facts::duration("Measured in", took),
        facts::processor(device, threads),
        facts::date(SystemTime::now()),
    ]);
    facts
}

/// Float32 unless asked otherwise, since a measurement should not depend on the processor.
fn precision(args: &EvalArgs, manifest: &Manifest) -> Precision {
    let integers = manifest.quantization.is_some();
    args.precision.unwrap_or(match integers {
        true => Precision::Int8,
        false => Precision::Float32,
    })
}

fn baseline(path: &Path) -> Result<Evaluation> {
    Evaluation::from_json(&files::read(path)?)
        .map_err(|cause| Error::Data(format!("{}: {cause}", shown(path))).into())
}

/// The photos to measure on, and the split they come from.
fn chosen(
    args: &EvalArgs,
    manifest: &Manifest,
    folder: &Folder,
) -> Result<(Photos, Option<Split>)> {
    let stored = args.split_manifest.as_deref();
    let remedy = "give --split-manifest RUN/split.json, or use --split all if the model was not \
                  trained on any of them";
    let (indices, split) = match args.split.part() {
        None => ((0..folder.photos.len()).collect(), None),
        Some(part) => {
            let model = (&*args.model, manifest);
            let chosen = parts::of_part(part, stored, model, folder, remedy)?;
            photos::warn(&chosen);
            (chosen.indices, chosen.split)
        }
    };
    let photos = Photos {
        all: parts::relabelled(folder, manifest)?,
        undecodable: photos::tolerated(folder, args.bad.max_bad),
        seen: parts::seen(&args.model, stored, manifest, folder, &indices),
        indices,
        workers: machine::cores(),
    };
    Ok((photos, split))
}

fn line(result: &GateResult) -> String {
    let verdict = if result.passed { "passed" } else { "FAILED" };
    format!(
        "{verdict}: {} {:.4}, required {:.4}",
        result.name, result.actual, result.required
    )
}

fn judged(results: &[GateResult]) -> Result<()> {
    let missed: Vec<String> = results
        .iter()
        .filter(|result| !result.passed)
        .map(|r| format!("{} {:.4} is below {:.4}", r.name, r.actual, r.required))
        .collect();
    if missed.is_empty() {
        Ok(())
    } else {
        Err(Error::Gate(missed.join("; ")).into())
    }
}

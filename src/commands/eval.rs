//! `flowers eval`: measure a model, report, and judge it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::compute;
use super::evaluation::{self, Photos, measure};
use super::output::{Output, note};
use super::progress::Bar;
use super::stop::stop_flag;
use crate::bundle::{Bundle, Manifest};
use crate::cli::eval::EvalArgs;
use crate::data::{Folder, Part, Photo, ScanOptions, Split, SplitOptions};
use crate::engine::Precision;
use crate::error::{Error, Result, shown};
use crate::files;
use crate::metrics::junit::junit;
use crate::metrics::{Evaluation, GateResult, Gates};
use crate::training::{Config, Run};

/// Runs `flowers eval`.
///
/// # Errors
/// [`Error::Gate`] after the whole report when a threshold is missed.
pub fn run(args: &EvalArgs) -> Result<()> {
    let (bundle, _) = Bundle::read(&args.model)?;
    let manifest = &bundle.manifest.clone();
    let gates = Gates {
        min_accuracy: args.min_accuracy,
        min_macro_f1: args.min_macro_f1,
        baseline: args.baseline.as_deref().map(baseline).transpose()?,
        max_regression: args.max_regression,
    };
    gates.check(&manifest.labels)?;
    if let Some(folder) = &args.report {
        Run::create(folder)?;
    }
    if let Some(path) = &args.junit {
        files::check_writable(path)?;
    }
    let precision = precision(args, manifest);
    let session =
        compute::session(&args.compute, bundle, precision).with_context(|| shown(&args.model))?;

    let progress = Bar::new();
    let options = ScanOptions {
        max_bad: args.bad.max_bad,
        ..ScanOptions::default()
    };
    let folder = Folder::scan(&args.data, &options, &progress)?;
    let (places, split) = chosen(args, manifest, &folder)?;
    let photos = relabelled(&folder, manifest)?;
    let photos = Photos {
        all: &photos,
        places,
        workers: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let stop = stop_flag()?;
    let measured = measure(&session, manifest, photos, &stop, &progress)?;

    let results = gates.judge(&measured.evaluation)?;
    let mut output = Output::stdout(args.json);
    output.json(&measured.evaluation)?;
    output.text(measured.text())?;
    for result in &results {
        output.text(line(result))?;
    }
    if let Some(path) = &args.junit {
        let xml = junit(&measured.evaluation, &results)?;
        files::write_atomically(path, |sink| sink.write_all(xml.as_bytes()))?;
    }
    if let Some(report) = &args.report {
        let context = evaluation::Context {
            title: shown(&args.model),
            facts: vec![
                manifest.architecture.clone(),
                shown(&args.data),
                format!(
                    "measured on {}",
                    args.split.part().map_or("all", Part::name)
                ),
            ],
            manifest,
            folder: &folder,
            split: split.as_ref(),
            history: Vec::new(),
            gates: results.clone(),
            command: std::env::args_os().map(shown).collect(),
        };
        measured.write(report, &context)?;
    }
    judged(&results)
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

/// The photos to measure on, and the split they come from: that of the manifest given, the one
/// that the model was trained with, made again, or the folder's own parts.
fn chosen(
    args: &EvalArgs,
    manifest: &Manifest,
    folder: &Folder,
) -> Result<(Vec<usize>, Option<Split>)> {
    let Some(part) = args.split.part() else {
        return Ok(((0..folder.photos.len()).collect(), None));
    };
    let trained_with = |split: &Split| -> Result<bool> {
        Ok(manifest.split_sha256.as_ref() == Some(&split.manifest.sha256()?))
    };
    if let Some(path) = &args.split_manifest {
        let split = Split::load(path, folder)?;
        if !trained_with(&split)? {
            let message = format!(
                "{} is not the split that the model was trained with: give split.json of its run",
                shown(path)
            );
            return Err(Error::Data(message).into());
        }
        return Ok((split.part(part).to_vec(), Some(split)));
    }
    if let Ok(split) = Split::make(folder, &split_options(manifest))
        && trained_with(&split)?
    {
        return Ok((split.part(part).to_vec(), Some(split)));
    }
    let own = |place: &usize| folder.photos[*place].part == Some(part);
    let places: Vec<usize> = (0..folder.photos.len()).filter(own).collect();
    if !places.is_empty() {
        note(format_args!(
            "warning: the model was trained with other parts than those of {}; measuring on its \
             {part} photos as they are",
            shown(&args.data)
        ));
        return Ok((places, None));
    }
    let message = format!(
        "{} does not split into the parts that the model was trained with, so {part} photos can't \
         be told from others: give --split-manifest RUN/split.json, or --split all if the model \
         has seen none of them",
        shown(&args.data)
    );
    Err(Error::Data(message).into())
}

/// How the model's photos were split, as far as it remembers.
fn split_options(manifest: &Manifest) -> SplitOptions {
    let config = manifest
        .recipe
        .clone()
        .map(serde_json::from_value::<Config>);
    match config {
        Some(Ok(config)) => config.split_options(),
        _ => SplitOptions::default(),
    }
}

/// The folder's photos with the model's class ids, matched by name.
fn relabelled(folder: &Folder, manifest: &Manifest) -> Result<Arc<[Photo]>> {
    let ids: BTreeMap<usize, usize> = folder
        .labels
        .names()
        .iter()
        .enumerate()
        .filter_map(|(id, name)| Some((id, manifest.labels.id(name)?)))
        .collect();
    let unknown: Vec<String> = folder
        .labels
        .names()
        .iter()
        .filter(|name| manifest.labels.id(name).is_none())
        .map(shown)
        .collect();
    if !unknown.is_empty() {
        let message = format!(
            "{} has classes that the model does not know: {}; it knows {}",
            shown(&folder.root),
            unknown.join(", "),
            manifest
                .labels
                .names()
                .iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join(", ")
        );
        return Err(Error::Data(message).into());
    }
    let photos = folder.photos.iter().map(|photo| Photo {
        class: ids[&photo.class],
        ..photo.clone()
    });
    Ok(photos.collect())
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

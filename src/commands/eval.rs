//! `flowers eval`: measure a model, report, and judge it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::compute;
use super::evaluation::{Context, measure};
use super::output::{Output, note};
use super::progress::Bar;
use crate::bundle::{Bundle, Manifest};
use crate::cli::eval::{EvalArgs, EvalPart};
use crate::data::folder::Layout;
use crate::data::{Folder, Part, Photo, ScanOptions, Split, SplitOptions};
use crate::error::{Error, Result, shown};
use crate::files;
use crate::metrics::junit::junit;
use crate::metrics::{Evaluation, GateResult, Gates};
use crate::training::{Config, Run, evaluate};

/// Runs `flowers eval`.
///
/// # Errors
/// [`Error::Gate`] after the whole report when a threshold is missed.
pub fn run(args: &EvalArgs) -> Result<()> {
    let (bundle, _) = Bundle::read(&args.model)?;
    let manifest = &bundle.manifest;
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
    let device = compute::set_up(&args.compute)?;
    let network = evaluate::network_of(&bundle, device)?;

    let progress = Bar::new();
    let options = ScanOptions {
        max_bad: args.bad.max_bad,
        ..ScanOptions::default()
    };
    let folder = Folder::scan(&args.data, &options, &progress)?;
    let split = chosen_split(args, manifest, &folder)?;
    let places: Vec<usize> = match (args.split, &split) {
        (EvalPart::Train, Some(split)) => split.train.clone(),
        (EvalPart::Val, Some(split)) => split.val.clone(),
        (EvalPart::Test, Some(split)) => split.test.clone(),
        _ => (0..folder.photos.len()).collect(),
    };
    let photos = relabelled(&folder, manifest)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let measured = measure(&network, manifest, &photos, places, workers, &progress)?;

    let results = gates.judge(&measured.evaluation)?;
    if let Some(path) = &args.junit {
        let xml = junit(&measured.evaluation, &results)?;
        files::write_atomically(path, |sink| sink.write_all(xml.as_bytes()))?;
    }
    if let Some(report) = &args.report {
        let context = Context {
            title: shown(&args.model),
            facts: vec![
                manifest.architecture.clone(),
                shown(&args.data),
                format!("split {}", name(args.split)),
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
    let mut output = Output::stdout(args.json);
    output.json(&measured.evaluation)?;
    output.text(measured.text())?;
    for result in &results {
        output.text(line(result))?;
    }
    judged(&results)
}

fn baseline(path: &Path) -> Result<Evaluation> {
    Evaluation::from_json(&files::read(path)?)
        .map_err(|cause| Error::Data(format!("{}: {cause}", shown(path))).into())
}

fn name(part: EvalPart) -> &'static str {
    match part {
        EvalPart::Train => Part::Train.name(),
        EvalPart::Val => Part::Val.name(),
        EvalPart::Test => Part::Test.name(),
        EvalPart::All => "all",
    }
}

/// The split to take photos from: of a manifest, of the folder's own parts, or the one that the
/// model was trained with, made again.
fn chosen_split(args: &EvalArgs, manifest: &Manifest, folder: &Folder) -> Result<Option<Split>> {
    if args.split == EvalPart::All {
        return Ok(None);
    }
    if let Some(path) = &args.split_manifest {
        return Split::load(path, folder).map(Some);
    }
    let config = manifest
        .recipe
        .clone()
        .map(serde_json::from_value::<Config>);
    let options = match config {
        Some(Ok(config)) => SplitOptions {
            val: config.val,
            test: config.test,
            seed: config.seed,
        },
        _ => SplitOptions::default(),
    };
    let own = match (&folder.layout, args.split) {
        (Layout::Parts(parts), EvalPart::Test) => parts.contains_key(&Part::Test),
        (Layout::Parts(parts), EvalPart::Val) => parts.contains_key(&Part::Val),
        _ => false,
    };
    let split = Split::make(folder, &options)?;
    let same = manifest.split_sha256.as_ref() == Some(&split.manifest.sha256()?);
    if same || own {
        for warning in split.warnings(folder) {
            note(format_args!("warning: {warning}"));
        }
        return Ok(Some(split));
    }
    let message = format!(
        "{} does not split into the parts that the model was trained with, so test photos can't be \
         told from training photos: give --split-manifest RUN/split.json, or --split all if the \
         model has seen none of them",
        shown(&args.data)
    );
    Err(Error::Data(message).into())
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

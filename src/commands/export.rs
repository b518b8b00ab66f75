//! `flowers export`: a model file for another runtime, verified.

mod report;
mod samples;

use std::path::Path;

use anyhow::Context;

use super::output::path_text;
use super::progress::Bar;
use super::stop::stop_flag;
use crate::bundle::Bundle;
use crate::cli::export::{Batch, ExportArgs};
use crate::error::{Error, Result, shown};
use crate::export::{
    self, About, Artifact, Format, FormatOption, Options, Verified, compare_geometries,
};
use crate::files;
use report::Exported;
use samples::Pictures;

/// Runs `flowers export`.
///
/// # Errors
/// [`Error::Usage`] for options that the format has no use for, or an output that is there;
/// [`Error::Data`] for a model or photos that can't be used; [`Error::Gate`] when the file does not
/// give the model's answers; [`Error::Environment`] when it can't be written.
pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let format = export::find(&args.format)?;
    let options = options(format, args)?;
    match format.layout() {
        Some(layout) => files::check_folder_replaceable(&args.out, layout, args.force)?,
        None => files::check_replaceable(&args.out, &args.model, args.force)?,
    }
    let (bundle, _) = Bundle::read(&args.model)?;
    let stop = stop_flag()?;
    let pictures = match !args.no_verify && format.needs_images() {
        true => Pictures::new(args, &bundle.manifest, &stop)?,
        false => Pictures::default(),
    };
    let classes = &pictures.samples.classes;
    let geometries = match pictures.decoded() {
        photos if photos.len() > 0 => {
            compare_geometries(&bundle, photos, classes, &stop, &Bar::new())?
        }
        _ => Vec::new(),
    };
    let encoded = format.encode(&bundle, &options);
    let exported = encoded.with_context(|| shown(&args.model))?;
    let bytes = exported.byte_len();
    let manifest = bundle.manifest.clone();
    let verification = format.write(exported, &args.out, args.force, |part| {
        if args.no_verify {
            return Ok(None);
        }
        let written = || Artifact::read(part);
        let samples = &pictures.samples;
        let verified = format.verify(written, bundle, &options, samples, &stop, &Bar::new());
        let verified = verified.with_context(|| shown(&args.model))?;
        passed(verified, &args.out).map(Some)
    })?;
    let file = path_text(&args.out);
    let exported = Exported {
        example: format.example(&file, &manifest, &options),
        file,
        format: format.name,
        bytes,
        verification,
        geometries,
    };
    exported.report(&manifest.preprocessing, args.json)
}

/// A verification that was passed.
///
/// # Errors
/// [`Error::Gate`] for another.
fn passed(verified: Verified, out: &Path) -> Result<Verified> {
    if verified.passed {
        return Ok(verified);
    }
    let message = format!(
        "the export does not match the model, {} was not written: {}",
        shown(out),
        report::line(&verified)
    );
    Err(Error::Gate(message).into())
}

/// The options, for a format that has a use for those that were given.
fn options(format: &Format, args: &ExportArgs) -> Result<Options> {
    let given = [
        (FormatOption::Opset, "--opset", args.opset.is_some()),
        (FormatOption::Input, "--input", args.input.is_some()),
        (FormatOption::Softmax, "--softmax", args.softmax),
        (FormatOption::Batch, "--batch", args.batch.is_some()),
        (FormatOption::Weights, "--weights", args.weights.is_some()),
        (FormatOption::Trainable, "--trainable", args.trainable),
        (FormatOption::About, "--author", args.author.is_some()),
        (FormatOption::About, "--license", args.license.is_some()),
        (
            FormatOption::About,
            "--description",
            args.description.is_some(),
        ),
        (
            FormatOption::About,
            "--model-version",
            args.model_version.is_some(),
        ),
        (
            FormatOption::Calibration,
            "--calibration",
            args.calibration.is_some(),
        ),
    ];
    for (choice, option, is_given) in given {
        if is_given && !format.options.contains(&choice) {
            let name = format.name;
            let message = format!("--format {name} does not use {option}: leave it out");
            return Err(Error::Usage(message).into());
        }
    }
    let default = Options::default();
    Ok(Options {
        opset: args.opset.unwrap_or(default.opset),
        input: args.input.unwrap_or(format.defaults.input),
        softmax: args.softmax || format.defaults.softmax,
        batch: match args.batch {
            Some(Batch::Fixed(pictures)) => Some(pictures),
            Some(Batch::Dynamic) | None => None,
        },
        weights: args.weights.unwrap_or(default.weights),
        trainable: args.trainable,
        about: About {
            author: args.author.clone().unwrap_or_default(),
            license: args.license.clone().unwrap_or_default(),
            description: args.description.clone().unwrap_or_default(),
            version: args.model_version.clone().unwrap_or_default(),
        },
    })
}

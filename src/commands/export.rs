//! `flowers export`: a model file for another runtime, verified.

use anyhow::Context;
use image::RgbImage;
use serde::Serialize;

use super::output::{Output, path_text};
use super::photos;
use super::progress::Bar;
use super::stop::stop_flag;
use crate::bundle::Bundle;
use crate::cli::export::{Batch, ExportArgs};
use crate::data::{Depth, ScanOptions, Source, load_all};
use crate::error::{Error, Result, shown};
use crate::export::{self, About, Artifact, Format, FormatOption, Options, Verdict, Verified};
use crate::files;
use crate::image::Preprocessing;
use crate::sample;

/// Pictures to verify on: drawn ones, or photos from all over a folder.
const DRAWN: usize = 16;
const PHOTOS: usize = 64;

/// Side of drawn pictures in pixels, before they are fitted to the network.
const SIDE: u32 = 256;

#[derive(Serialize)]
struct Exported {
    file: String,
    format: &'static str,
    bytes: usize,
    verification: Option<Verified>,
}

/// Runs `flowers export`.
///
/// # Errors
/// [`Error::Usage`] for options that the format has no use for, or an output that is there;
/// [`Error::Data`] for a model or photos that can't be used; [`Error::Gate`] when the file does not
/// give the model's answers; [`Error::Environment`] when it can't be written.
pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let format = export::find(&args.format)?;
    let options = options(format, args)?;
    match format.members() {
        Some(members) => files::check_folder_replaceable(&args.out, members, args.force)?,
        None => files::check_replaceable(&args.out, &args.model, args.force)?,
    }
    let (bundle, _) = Bundle::read(&args.model)?;
    let encoded = format.encode(&bundle, &options);
    let exported = encoded.with_context(|| shown(&args.model))?;
    let bytes = exported.byte_len();
    let verified = exported.write_checked(&args.out, |part| {
        if args.no_verify {
            return Ok(None);
        }
        let pictures = match format.needs_images() {
            true => pictures(args, &bundle.manifest.preprocessing)?,
            false => Vec::new(),
        };
        let written = Artifact::read(part)?;
        let verified = format.verify(&written, &bundle, &options, &pictures, &Bar::new());
        let verified = verified.with_context(|| shown(&args.model))?;
        if verified.passed {
            return Ok(Some(verified));
        }
        let message = format!(
            "the export does not match the model, {} was not written: {}",
            shown(&args.out),
            line(&verified)
        );
        Err(Error::Gate(message).into())
    })?;
    report(args, format, bytes, verified)
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
        (FormatOption::About, "--description", args.description.is_some()),
        (FormatOption::About, "--model-version", args.model_version.is_some()),
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

/// Pictures of the network's size, 8-bit RGB one after the other.
fn pictures(args: &ExportArgs, preprocessing: &Preprocessing) -> Result<Vec<u8>> {
    let fitted = |picture: &RgbImage| preprocessing.fit(picture).into_raw();
    let Some(folder) = &args.calibration else {
        let kinds = sample::KINDS.iter().cycle().take(DRAWN).enumerate();
        let drawn = kinds.map(|(at, kind)| fitted(&sample::draw(kind, 0, at, SIDE)));
        return Ok(drawn.collect::<Vec<_>>().concat());
    };
    let (source, max_bad) = (Source::from(&**folder), ScanOptions::default().max_bad);
    let folder = photos::scan(&source, max_bad, Depth::Headers, &Bar::new())?;
    let step = folder.photos.len().div_ceil(PHOTOS).max(1);
    let chosen: Vec<usize> = (0..folder.photos.len()).step_by(step).collect();
    let undecodable = photos::tolerated(&folder, max_bad);
    load_all(
        &folder.photos,
        &chosen,
        preprocessing,
        &undecodable,
        &*stop_flag()?,
        &Bar::new(),
    )
}

fn report(
    args: &ExportArgs,
    format: &Format,
    bytes: usize,
    verification: Option<Verified>,
) -> Result<()> {
    let mut output = Output::stdout(args.json);
    let size = bytes as f64 / 1e6;
    let out = shown(&args.out);
    output.text(format_args!("{out}: {}, {size:.1} MB", format.name))?;
    output.text(match &verification {
        Some(verified) => line(verified),
        None => "not verified (--no-verify)".into(),
    })?;
    output.json(&Exported {
        file: path_text(&args.out),
        format: format.name,
        bytes,
        verification,
    })
}

/// A verification as a person reads it.
fn line(verified: &Verified) -> String {
    let reader = verified.reader;
    let found = match &verified.verdict {
        Verdict::Scores(agreement) => format!(
            "same label on {} of {} pictures, scores differ by at most {} (tolerance {})",
            agreement.same_label,
            agreement.pictures,
            rounded(agreement.largest_difference),
            rounded(agreement.tolerance)
        ),
        Verdict::Parameters { equal, parameters } => {
            format!("{equal} of {parameters} parameters are bit for bit the same")
        }
    };
    let verdict = if verified.passed { "passed" } else { "FAILED" };
    format!("{verdict}: read back by {reader}, {found}")
}

/// A few significant digits, as a decimal where that is short.
fn rounded(value: f32) -> String {
    let decimal = match value {
        v if (1.0..1000.0).contains(&v) => format!("{v:.2}"),
        v if (0.001..1.0).contains(&v) => format!("{v:.5}"),
        0.0 => return "0".into(),
        v => return format!("{v:.1e}"),
    };
    decimal.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_short() {
        let shown = [0.0, 1.32, 0.05, 0.001, 250.0, 3.21e-6].map(rounded);
        assert_eq!(shown, ["0", "1.32", "0.05", "0.001", "250", "3.2e-6"]);
    }
}

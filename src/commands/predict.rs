//! `flowers predict`: pictures in, classes out.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use super::compute;
use super::output::{Output, note, path_text};
use crate::bundle::Bundle;
use crate::cli::predict::PredictArgs;
use crate::data::is_hidden;
use crate::engine::{Pictures, Session};
use crate::error::{Error, Result, shown};
use crate::image::decode::{Warning, read_bytes};
use crate::image::{DecodeError, Decoded, Limits, Preprocessing};
use crate::metrics::Answer;

/// Pictures that are decoded and run together.
const BATCH: usize = 32;

#[derive(Serialize)]
struct Success<'a> {
    file: String,
    #[serde(flatten)]
    answer: Answer,
    #[serde(skip_serializing_if = "<[Warning]>::is_empty")]
    warnings: &'a [Warning],
}

#[derive(Serialize)]
struct Failure {
    file: String,
    error: String,
}

/// Runs `flowers predict`.
///
/// # Errors
/// [`Error::Data`] for a model that can't be used, and after all answers when some files could
/// not be read.
pub fn run(args: &PredictArgs) -> Result<()> {
    let (bundle, _) = Bundle::read(&args.model)?;
    let files = listed(&args.files)?;
    let manifest = bundle.manifest.clone();
    let session = compute::session(&args.compute, bundle, args.precision)
        .with_context(|| shown(&args.model))?;
    let mut output = Output::stdout(args.json);
    let mut failures = 0;
    for files in files.chunks(BATCH) {
        let pictures = pixels(files, &manifest.preprocessing);
        let rows = scores(&session, &pictures).with_context(|| shown(&args.model))?;
        let mut rows = rows.chunks(session.classes());
        for (file, picture) in files.iter().zip(&pictures) {
            let file = file.as_ref().unwrap_or_else(|(file, _)| file);
            match picture {
                Ok(decoded) => {
                    let logits = rows.next().unwrap_or_default();
                    let found = Answer::of(logits, &manifest.labels, args.top_k as usize);
                    answer(file, found, &decoded.warnings, &mut output)?;
                }
                Err(why) => {
                    failures += 1;
                    fail(file, why, &mut output)?;
                }
            }
        }
    }
    if failures > 0 {
        let message = format!("{failures} of {} files can't be read", files.len());
        return Err(Error::Data(message).into());
    }
    Ok(())
}

/// A file to predict, or one that can't be reached and why.
type Found = Result<PathBuf, (PathBuf, String)>;

/// The files as given, and those inside folders in the order of their paths.
fn listed(given: &[PathBuf]) -> Result<Vec<Found>> {
    let mut files: Vec<Found> = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(Ok(path.clone()));
            continue;
        }
        let before = files.len();
        let entries = WalkDir::new(path).follow_links(true).sort_by_file_name();
        let kept = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name());
        for entry in entries.into_iter().filter_entry(kept) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => files.push(Ok(entry.into_path())),
                Ok(_) => {}
                // A link back to its own parent: its pictures are listed there.
                Err(cause) if cause.loop_ancestor().is_some() => {}
                Err(cause) => {
                    let place = cause.path().unwrap_or(path).to_path_buf();
                    let why = cause
                        .io_error()
                        .map_or_else(|| cause.to_string(), ToString::to_string);
                    files.push(Err((place, why)));
                }
            }
        }
        if files.len() == before {
            let message = format!("there are no files in {}", shown(path));
            return Err(Error::Data(message).into());
        }
    }
    Ok(files)
}

/// Each file as 8-bit RGB of crop x crop pixels, or why it can't be read.
fn pixels(files: &[Found], preprocessing: &Preprocessing) -> Vec<Result<Decoded, String>> {
    let limits = Limits::default();
    let load = |file: &Found| {
        let file = file.as_ref().map_err(|(_, why)| why.clone())?;
        let read = read_bytes(file, &limits).map_err(DecodeError::from);
        let picture = read.and_then(|bytes| preprocessing.read(&bytes, &limits));
        picture.map_err(|cause| cause.to_string())
    };
    files.par_iter().map(load).collect()
}

/// Logits (n, classes) of the pictures that could be read.
fn scores(session: &Session, pictures: &[Result<Decoded, String>]) -> Result<Vec<f32>> {
    let read = pictures.iter().flatten();
    let read: Vec<&[u8]> = read.map(|decoded| &decoded.picture.as_raw()[..]).collect();
    session.logits(Pictures::Rgb8(&read.concat()))
}

fn answer(
    file: &Path,
    answer: Answer,
    warnings: &[Warning],
    output: &mut Output<'_>,
) -> Result<()> {
    for warning in warnings {
        note(format_args!("warning: {}: {warning}", shown(file)));
    }
    let others: Vec<String> = answer.top_predictions[1..]
        .iter()
        .map(|guess| format!("{} {:.3}", shown(&guess.class), guess.confidence))
        .collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("  ({})", others.join(", "))
    };
    output.text(format_args!(
        "{}: {} {:.3}{others}",
        shown(file),
        shown(&answer.class),
        answer.confidence
    ))?;
    output.json(&Success {
        file: path_text(file),
        answer,
        warnings,
    })
}

fn fail(file: &Path, why: &str, output: &mut Output<'_>) -> Result<()> {
    output.text(format_args!("{}: error: {why}", shown(file)))?;
    output.json(&Failure {
        file: path_text(file),
        error: why.into(),
    })
}

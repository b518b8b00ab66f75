//! `flowers predict`: pictures in, classes out.

mod answers;

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::Context;
use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::compute;
use super::output::note;
use super::progress::Bar;
use crate::bundle::Bundle;
use crate::cli::predict::PredictArgs;
use crate::data::is_hidden;
use crate::error::{Error, Result, shown};
use crate::image::decode::read_bytes;
use crate::image::kind::is_picture;
use crate::image::{DecodeError, Decoded, Limits, Preprocessing};
use crate::inference::{Backend, Images};
use crate::metrics::Answer;
use crate::progress::{Progress, Silent};
use answers::Answers;

/// Pictures that are decoded and run together.
const BATCH: usize = 32;

/// What standard input is called in place of a file.
const STDIN: &str = "-";

/// Runs `flowers predict`.
///
/// # Errors
/// [`Error::Data`] for a model that can't be used, and after all answers when some files could
/// not be read.
pub(super) fn run(args: &PredictArgs) -> Result<()> {
    let (bundle, _) = Bundle::read(&args.model)?;
    let files = listed(&args.files)?;
    let manifest = bundle.manifest.clone();
    let backend =
        compute::load(&args.compute, bundle, args.precision).with_context(|| shown(&args.model))?;
    let named = (args.top_k as usize).min(manifest.labels.len());
    let mut answers = Answers::begin(args.json, args.csv, named)?;
    let mut failures = 0;
    // On a terminal the answers themselves are the progress.
    let bar = Bar::new();
    let progress: &dyn Progress = match io::stdout().is_terminal() {
        true => &Silent,
        false => &bar,
    };
    progress.begin("predicting", files.len() as u64);
    for files in files.chunks(BATCH) {
        let pictures = pixels(files, &manifest.preprocessing);
        let rows = scores(&*backend, &pictures).with_context(|| shown(&args.model))?;
        let mut rows = rows.chunks(backend.classes());
        for (file, picture) in files.iter().zip(&pictures) {
            let file = file.as_ref().unwrap_or_else(|(file, _)| file);
            match picture {
                Ok(decoded) => {
                    let logits = rows.next().unwrap_or_default();
                    for warning in &decoded.warnings {
                        bar.note(format_args!("warning: {}: {warning}", shown(file)));
                    }
                    let answer = Answer::of(logits, &manifest.labels, named);
                    answers.answer(file, answer, &decoded.warnings)?;
                }
                Err(why) => {
                    failures += 1;
                    answers.fail(file, why)?;
                }
            }
        }
        progress.advance(files.len() as u64);
    }
    progress.finish();
    if failures > 0 {
        let message = format!("{failures} of {} files can't be read", files.len());
        return Err(Error::Data(message).into());
    }
    Ok(())
}

/// A file to predict, or one that can't be reached and why.
type Found = Result<PathBuf, (PathBuf, String)>;

/// The files as given, and the pictures inside folders in the order of their paths.
fn listed(given: &[PathBuf]) -> Result<Vec<Found>> {
    let mut files: Vec<Found> = Vec::new();
    let mut skipped = 0;
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
                Ok(entry) if !entry.file_type().is_file() => {}
                // A file that can't be opened is reported when it is read.
                Ok(entry) if is_picture(entry.path()).unwrap_or(true) => {
                    files.push(Ok(entry.into_path()));
                }
                Ok(_) => skipped += 1,
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
            let message = format!("there are no pictures in {}", shown(path));
            return Err(Error::Data(message).into());
        }
    }
    if skipped > 0 {
        note(format_args!(
            "files that are not pictures, skipped: {skipped}"
        ));
    }
    Ok(files)
}

/// Each file as 8-bit RGB of crop x crop pixels, or why it can't be read.
fn pixels(files: &[Found], preprocessing: &Preprocessing) -> Vec<Result<Decoded, String>> {
    let limits = Limits::default();
    let load = |file: &Found| {
        let file = file.as_ref().map_err(|(_, why)| why.clone())?;
        let read = match file.as_os_str() == STDIN {
            true => from_stdin(&limits),
            false => read_bytes(file, &limits),
        };
        let read = read.map_err(DecodeError::from);
        let picture = read.and_then(|bytes| preprocessing.read(&bytes, &limits));
        picture.map_err(|cause| cause.to_string())
    };
    files.par_iter().map(load).collect()
}

/// The bytes of a picture on standard input, but never more than one beyond the limit.
fn from_stdin(limits: &Limits) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limits.max_bytes.saturating_add(1);
    io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Logits (n, classes) of the pictures that could be read.
fn scores(backend: &dyn Backend, pictures: &[Result<Decoded, String>]) -> Result<Vec<f32>> {
    let read = pictures.iter().flatten();
    let read: Vec<&[u8]> = read.map(|decoded| &decoded.picture.as_raw()[..]).collect();
    backend.logits(Images::Rgb8(&read.concat()))
}

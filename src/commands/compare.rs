//! `flowers compare`: train candidates in turn, measure them together, and recommend one.

mod page;
mod text;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;

use super::compute;
use super::output::{Output, note};
use super::photos;
use super::progress::Bar;
use super::stop::{explain_interruption, stop_flag};
use super::train;
use crate::cli::compare::CompareArgs;
use crate::comparison::{
    Bench, Candidate, Comparison, Limits, Quantizer, Subject, candidates, is_own, measured,
};
use crate::data::Source;
use crate::error::Result;
use crate::evaluation::Photos;
use crate::files;
use crate::machine;
use crate::models::pretrained;
use crate::runs::{self, SharedSplit, Standing};
use crate::training::{Recorded, WeightsSource, refuse_inside};

/// Runs `flowers compare`.
///
/// # Errors
/// [`Error::Interrupted`] when it was stopped, and those of each step.
pub(super) fn run(args: &CompareArgs) -> Result<()> {
    let data = args.source.named()?;
    let settings = train::completed(&args.settings, args.config.as_deref())?;
    let candidates = candidates(&settings, &args.out)?;
    refuse_inside(&args.out, &data)?;
    let is_new = !args.out.exists();
    let done = compare(args, &data, &candidates);
    if done.is_err() && is_new {
        // Succeeds only while the folder is empty: nothing is lost.
        fs::remove_dir(&args.out).ok();
    }
    done.map_err(explain_interruption)
}

fn compare(args: &CompareArgs, data: &Source, candidates: &[Candidate]) -> Result<()> {
    let lock = runs::open(&args.out, "a comparison", is_own)?;
    let recorded = candidates.iter().map(|one| Recorded::read(&one.folder));
    let recorded: Vec<Option<Recorded>> = recorded.collect::<Result<_>>()?;
    let standings = standings(candidates, &recorded)?;
    fetch_weights(candidates, &standings)?;
    let shared = prepared(args, data, candidates, &recorded)?;
    drop(recorded);
    // Before this, Ctrl-C ends the program at once: nothing is lost.
    let stop = stop_flag()?;
    train_all(candidates, &standings, data, &shared.path, &stop)?;
    note("measuring accuracy, speed and memory");
    let mut comparison = measure(args, data, candidates, &shared, &stop)?;
    let limits = Limits {
        latency_ms: args.max_latency,
        megabytes: args.max_size,
    };
    comparison.advise(limits)?;
    write(&args.out, &comparison)?;
    drop(lock);
    let mut output = Output::stdout(args.json);
    output.json(&comparison)?;
    output.text(text::text(&comparison, &args.out))
}

fn standings(candidates: &[Candidate], recorded: &[Option<Recorded>]) -> Result<Vec<Standing>> {
    let both = candidates.iter().zip(recorded);
    both.map(|(candidate, recorded)| {
        Standing::of(&candidate.folder, &candidate.config, recorded.as_ref())
    })
    .collect()
}

/// Gets the pretrained weights of all runs that are still to start: before the first is trained, so
/// that none is missing hours later.
fn fetch_weights(candidates: &[Candidate], standings: &[Standing]) -> Result<()> {
    let starts = |(candidate, standing): &(&Candidate, &Standing)| {
        let is_to_start = matches!(standing, Standing::New | Standing::Begun);
        is_to_start && candidate.config.weights == WeightsSource::Imagenet
    };
    for (candidate, _) in candidates.iter().zip(standings).filter(starts) {
        pretrained::fetch(&candidate.config.arch.source, &Bar::new())
            .with_context(|| candidate.name())?;
    }
    Ok(())
}

fn prepared(
    args: &CompareArgs,
    data: &Source,
    candidates: &[Candidate],
    recorded: &[Option<Recorded>],
) -> Result<SharedSplit> {
    let both = candidates.iter().zip(recorded);
    let earlier = both.filter_map(|(candidate, run)| {
        let split = run.as_ref()?.split_sha256.as_deref();
        Some((&*candidate.folder, split))
    });
    let earlier: Vec<(&Path, Option<&str>)> = earlier.collect();
    let first = candidates.first().context("there are candidates")?;
    let split = args.split.as_deref();
    SharedSplit::prepare(data, split, &args.out, &first.config, &earlier, &Bar::new())
}

/// Trains the candidates in turn.
fn train_all(
    candidates: &[Candidate],
    standings: &[Standing],
    data: &Source,
    split: &Path,
    stop: &AtomicBool,
) -> Result<()> {
    let mut told = Vec::new();
    for (index, (candidate, &standing)) in candidates.iter().zip(standings).enumerate() {
        let already = match standing {
            Standing::Finished => ", trained already",
            _ => "",
        };
        let (number, of, name) = (index + 1, candidates.len(), candidate.name());
        note(format_args!("candidate {number} of {of}: {name}{already}"));
        let folder = &candidate.folder;
        let session = match standing {
            Standing::Finished => continue,
            Standing::Interrupted => train::resumed(folder, Some(data.clone()), None, None),
            Standing::New | Standing::Begun => {
                runs::remove(folder)?;
                let config = candidate.config.clone();
                train::begun(config, data, folder, Some(split), None, &mut told)
            }
        };
        let trained = session.and_then(|session| train::complete(session, stop));
        trained.with_context(|| name)?;
    }
    Ok(())
}

fn measure(
    args: &CompareArgs,
    data: &Source,
    candidates: &[Candidate],
    shared: &SharedSplit,
    stop: &AtomicBool,
) -> Result<Comparison> {
    let config = &candidates.first().context("there are candidates")?.config;
    let device = compute::with_threads(config.device, config.threads)?;
    let undecodable = photos::tolerated(&shared.folder, config.max_bad);
    let part = shared.measured_on();
    let progress = Bar::new();
    let quantizer = || Quantizer {
        shared,
        undecodable: &undecodable,
        samples: args.samples as usize,
        device,
        stop,
        progress: &progress,
    };
    let mut subjects = Vec::new();
    for candidate in candidates {
        let recorded = Recorded::read(&candidate.folder)?;
        let recorded = recorded.context("a trained candidate has a checkpoint")?;
        let subject = Subject::load(candidate, &recorded, &quantizer());
        subjects.push(subject.with_context(|| candidate.name())?);
    }
    let bench = Bench {
        data,
        part,
        photos: &Photos {
            all: Arc::clone(&shared.folder.photos),
            indices: shared.split.part(part).to_vec(),
            workers: machine::cores(),
            seen: None,
            undecodable: Arc::clone(&undecodable),
        },
        quantizer: quantizer(),
        threads: config.threads,
        seconds: args.seconds,
    };
    measured(&subjects, &bench)
}

/// Writes the files of the comparison.
fn write(out: &Path, comparison: &Comparison) -> Result<()> {
    let page = page::page(comparison);
    let mut csv = Vec::new();
    comparison.csv(&mut csv)?;
    for (name, content) in [
        ("compare.json", comparison.json()?.into_bytes()),
        ("compare.csv", csv),
        ("compare.png", page.png()?),
        ("compare.html", page.html()?.into_bytes()),
    ] {
        files::write_atomically(&out.join(name), |sink| sink.write_all(&content))?;
    }
    Ok(())
}

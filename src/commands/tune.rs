//! `flowers tune`: search for better options, and write down the best.

mod page;
mod text;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use indicatif::HumanDuration;

use super::output::{Output, note};
use super::progress::Bar;
use super::stop::{explain_interruption, stop_flag};
use super::train;
use super::watch::Watch;
use crate::bundle::{self, Bundle, TestAccuracy};
use crate::cli::tune::TuneArgs;
use crate::data::Source;
use crate::error::{Error, Result, shown};
use crate::files;
use crate::models::pretrained;
use crate::runs::{self, SharedSplit, Standing};
use crate::training::{Recorded, Settings, State, TrainingSession, WeightsSource, refuse_inside};
use crate::tuning::{
    Dimension, Limits, Search, Task, Trial, Tuning, best, default_space, is_own, read,
};
use crate::values::plural;

/// Trials where neither their number nor a time is given.
const TRIALS: usize = 30;

/// Runs `flowers tune`.
///
/// # Errors
/// [`Error::Interrupted`] when it was stopped, [`Error::Gate`] when every trial failed, and those of each
/// step.
pub(super) fn run(args: &TuneArgs) -> Result<()> {
    let data = args.source.named()?;
    let mut shared = train::completed(&args.settings, args.config.as_deref())?;
    let seconds = shared.time_budget.take();
    let limits = Limits {
        trials: match (args.trials, seconds) {
            (Some(trials), _) => Some(trials as usize),
            (None, Some(_)) => None,
            (None, None) => Some(TRIALS),
        },
        seconds,
    };
    let space = space(args.space.as_deref(), &shared)?;
    refuse_inside(&args.out, &data)?;
    let is_new = !args.out.exists();
    let done = tune(args, &data, &shared, space, &limits);
    if done.is_err() && is_new {
        // Succeeds only while the folder is empty: nothing is lost.
        fs::remove_dir(&args.out).ok();
    }
    done.map_err(explain_interruption)
}

/// The options to search: those of a file, or those around the defaults.
fn space(file: Option<&Path>, shared: &Settings) -> Result<Vec<Dimension>> {
    // Whatever is wrong with these is not the fault of the space.
    shared.clone().resolve()?;
    let Some(path) = file else {
        return default_space(shared);
    };
    let text = String::from_utf8(files::read(path)?)
        .map_err(|_| Error::Usage(format!("{} is not text", shown(path))))?;
    read(&text, shared).with_context(|| shown(path))
}

/// What the trials are trained on and with.
struct Bench<'a> {
    data: &'a Source,
    shared: &'a SharedSplit,
    limits: &'a Limits,
    stop: &'a AtomicBool,
}

fn tune(
    args: &TuneArgs,
    data: &Source,
    settings: &Settings,
    space: Vec<Dimension>,
    limits: &Limits,
) -> Result<()> {
    let lock = runs::open(&args.out, "a search", is_own)?;
    let mut search = Search::open(&args.out, settings, space, args.reduction as usize)?;
    if search.trials.is_empty() && search.config.weights == WeightsSource::Imagenet {
        pretrained::fetch(&search.config.arch.source, &Bar::new())?;
    }
    let earlier = search.split_sha256().map(|split| (&*args.out, Some(split)));
    let shared = SharedSplit::prepare(
        data,
        args.split.as_deref(),
        &args.out,
        &search.config,
        earlier.as_slice(),
        &Bar::new(),
    )?;
    search.begin(&shared.sha256)?;
    // Before this, Ctrl-C ends the program at once: nothing is lost.
    let stop = stop_flag()?;
    let bench = Bench {
        data,
        shared: &shared,
        limits,
        stop: &stop,
    };
    say_what(&search, &bench);
    train_all(&mut search, &bench)?;
    let best = best(&search)?;
    let test = tested(&search, best, &bench)?;
    let config = best_config(best, &shared)?;
    fs::remove_dir_all(search.features()).ok();
    let tuning = Tuning::of(&search, data.to_string(), shared.split.val.len(), test)?;
    write(&args.out, &tuning, &config)?;
    drop(lock);
    let mut output = Output::stdout(args.json);
    output.json(&tuning)?;
    output.text(text::text(&tuning, &args.out))
}

fn say_what(search: &Search, bench: &Bench<'_>) {
    let split = &bench.shared.split;
    note(format_args!(
        "{}: {} classes; {} photos for training, {} for validation, {} for testing; {} by the recipe {}",
        bench.data,
        bench.shared.folder.labels.len(),
        split.train.len(),
        split.val.len(),
        split.test.len(),
        search.config.arch.name,
        search.config.recipe.name,
    ));
    let options: Vec<&str> = search.space.iter().map(|one| &*one.option).collect();
    let rungs: Vec<String> = search.rungs.iter().map(ToString::to_string).collect();
    note(format_args!(
        "searching {}; trials are compared after epoch {}",
        options.join(", "),
        rungs.join(", ")
    ));
}

/// Trains as the search asks for, until it is over.
fn train_all(search: &mut Search, bench: &Bench<'_>) -> Result<()> {
    let mut told = Vec::new();
    while let Some(task) = search.next(bench.limits)? {
        let trial = &search.trials[task.trial];
        let name = format!("trial {}", trial.number);
        note(announced(search, &task, trial, bench.limits)?);
        let trained = train_one(search, &task, trial, bench, &mut told);
        let failed = search
            .record(&task, trained)
            .with_context(|| name.clone())?;
        match failed {
            Some(why) => note(format_args!("{name} failed: {why}")),
            None => note(reached(search, &task)),
        }
        trim_features(search)?;
    }
    Ok(())
}

/// A trial's values, and how far it is going to be trained.
fn announced(search: &Search, task: &Task, trial: &Trial, limits: &Limits) -> Result<String> {
    let until = format!(
        "epoch {} of {}",
        task.until,
        search.rungs[search.rungs.len() - 1]
    );
    let left = limits.seconds.map_or(String::new(), |all| {
        let left = Duration::try_from_secs_f64(all - search.spent()).unwrap_or_default();
        format!("; {} left", HumanDuration(left))
    });
    let number = trial.number;
    if task.from > 0 {
        let from = plural(task.from, "epoch");
        return Ok(format!(
            "trial {number} goes on after {from} to {until}{left}"
        ));
    }
    let what = match number {
        0 => "the defaults, ".into(),
        _ => String::new(),
    };
    let values = text::values(&search.space, &trial.config)?;
    Ok(format!("trial {number}: {what}{values}; to {until}{left}"))
}

/// Where a trial stands after it was trained.
fn reached(search: &Search, task: &Task) -> String {
    let trial = &search.trials[task.trial];
    let number = trial.number;
    let percent = |accuracy: f64| format!("{:.1}% of the validation photos", 100.0 * accuracy);
    if let (true, Some(best)) = (search.is_complete(trial), trial.best()) {
        let (accuracy, epoch) = (percent(best.val_accuracy), best.epoch);
        return format!("trial {number} is complete: {accuracy} by the model of epoch {epoch}");
    }
    match search.place(task) {
        Some((accuracy, [place, of])) => format!(
            "trial {number}: {} after epoch {}, {place} of {of} there",
            percent(accuracy),
            task.until
        ),
        None => format!("trial {number} pauses on its way: the time is up"),
    }
}

/// Trains a trial as far as its task says.
fn train_one(
    search: &Search,
    task: &Task,
    trial: &Trial,
    bench: &Bench<'_>,
    told: &mut Vec<String>,
) -> Result<State> {
    let folder = &trial.folder;
    let recorded = Recorded::read(folder)?;
    let standing = Standing::of(folder, &trial.config, recorded.as_ref())?;
    drop(recorded);
    let mut session = match standing {
        Standing::Finished | Standing::Interrupted => {
            TrainingSession::resume(folder, Some(bench.data.clone()), None, None, &Bar::new())?
        }
        Standing::New | Standing::Begun => {
            runs::remove(folder)?;
            let (config, split) = (trial.config.clone(), Some(&*bench.shared.path));
            let started =
                TrainingSession::start(config, bench.data, folder, split, None, &Bar::new());
            let (session, _) = started?;
            train::say(&session)?;
            session
        }
    };
    train::warn_anew(&session.warnings, told);
    session.share_features(search.features());
    let pauses = |state: &State| search.is_paused(task, bench.limits, state);
    let watch = Watch::of_trial(format!("trial {}", trial.number));
    train::advance(session, &pauses, bench.stop, watch)
}

/// Removes the features that were computed first where all together take more than one run may.
fn trim_features(search: &Search) -> Result<()> {
    let limit = search.config.cache_size.0;
    let mut all = Vec::new();
    for folder in fs::read_dir(search.features()).into_iter().flatten() {
        let folder = folder?;
        let files = fs::read_dir(folder.path()).into_iter().flatten();
        let sizes = files.map(|file| Ok(file?.metadata()?.len()));
        let bytes = sizes.sum::<std::io::Result<u64>>()?;
        all.push((folder.metadata()?.modified()?, bytes, folder.path()));
    }
    all.sort();
    let mut bytes: u64 = all.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, of_folder, folder) in all {
        if bytes > limit {
            runs::remove(&folder)?;
            bytes -= of_folder;
        }
    }
    Ok(())
}

/// Ends the run of the best trial, which tests it, and gives its test accuracy; `None` where there are no
/// test photos.
fn tested(search: &Search, best: &Trial, bench: &Bench<'_>) -> Result<Option<TestAccuracy>> {
    let folder = &best.folder;
    let recorded = Recorded::read(folder)?;
    if Standing::of(folder, &best.config, recorded.as_ref())? != Standing::Finished {
        note(format_args!(
            "trial {} is the best: testing it",
            best.number
        ));
        let mut session = train::resumed(folder, Some(bench.data.clone()), None, None)?;
        session.share_features(search.features());
        train::complete(session, bench.stop)?;
    }
    let (model, _) = Bundle::read(&folder.join(bundle::FILE))?;
    Ok(model.manifest.metrics.and_then(|metrics| metrics.test()))
}

/// The configuration of the best trial as a file, with where it comes from.
fn best_config(best: &Trial, shared: &SharedSplit) -> Result<String> {
    let recorded = Recorded::read(&best.folder)?.context("the best trial has a checkpoint")?;
    let accuracy = best.accuracy().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let photos = shared.split.val.len();
    Ok(format!(
        "# Found by flowers {version} tune: trial {}, {:.1}% of {photos} validation photos.\n\
         # flowers train DATA --out RUN --config best.toml --split split.json\n{}",
        best.number,
        100.0 * accuracy,
        recorded.config.to_toml()?
    ))
}

/// Writes the files of the search.
fn write(out: &Path, tuning: &Tuning, config: &str) -> Result<()> {
    let page = page::page(tuning, config);
    let mut csv = Vec::new();
    tuning.csv(&mut csv)?;
    for (name, content) in [
        ("best.toml", config.as_bytes().to_vec()),
        ("tune.json", tuning.json()?.into_bytes()),
        ("tune.csv", csv),
        ("tune.png", page.png()?),
        ("tune.html", page.html()?.into_bytes()),
    ] {
        files::write_atomically(&out.join(name), |sink| sink.write_all(&content))?;
    }
    Ok(())
}

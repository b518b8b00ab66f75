//! `flowers train`: start or resume a run, train, and report on the best model.

#[cfg_attr(not(target_os = "linux"), path = "train/elsewhere.rs")]
mod processes;
mod shared;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::evaluation;
use super::facts::{self, fact};
use super::output::{Output, note, path_text};
use super::photos;
use super::progress::Bar;
use super::stop::stop_flag;
use super::watch::Watch;
use crate::bundle::Bundle;
use crate::cli::train::TrainArgs;
use crate::data::{Folder, Part, Source, Undecodable, Unreadable};
use crate::distributed::{Group, Place};
use crate::error::{Error, Result, shown};
use crate::evaluation::{Measured, Photos, ReportContext, Seen, measure};
use crate::files;
use crate::inference::{self, Options};
use crate::metrics::Evaluation;
use crate::report::{Fact, curves_png};
use crate::training::callback::{Callback, Csv, Log, TensorBoard};
use crate::training::{
    Conditions, Config, FinishedRun, ProfileReport, Recorded, Run, Settings, State, TrainingSession,
};
use crate::values::plural;

/// Runs `flowers train`.
///
/// # Errors
/// [`Error::Interrupted`] when it was stopped, and those of each step.
pub(super) fn run(args: TrainArgs) -> Result<()> {
    if let Some(count @ 2..) = args.processes.nproc {
        return processes::run(count.into());
    }
    match Place::from_environment()? {
        Some(place) => shared::run(&args, &place),
        None => tidied(&args, || train(session(&args, None)?, &args)),
    }
}

/// Removes the folder of a new run again if nothing came of it.
fn tidied(args: &TrainArgs, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let new = args.out.as_ref().filter(|out| !out.exists());
    let done = work();
    if let (Err(_), Some(out)) = (&done, new) {
        // Succeeds only while the folder is empty: nothing of a run is lost.
        std::fs::remove_dir(out).ok();
    }
    done
}

/// The session that the arguments ask for, of one process or of the first of a group.
fn session(args: &TrainArgs, group: Option<&Group>) -> Result<TrainingSession> {
    let out = match (&args.resume, &args.out) {
        (Some(folder), _) => return resume(folder, args, group),
        (None, Some(out)) => out,
        (None, None) => {
            let message = "give a data set folder and --out, or --resume";
            return Err(Error::Usage(message.into()).into());
        }
    };
    let data = args.source.named()?;
    let config = configured(&args.settings, args.config.as_deref())?;
    if args.resume_or_start {
        if let Some(recorded) = Recorded::read(out)? {
            return resume_same(&config, &recorded.config, &data, out, group);
        }
        Run::remove_begun(out)?;
    }
    let split = args.split.as_deref();
    begun(config, &data, out, split, group, &mut Vec::new())
}

/// The run of a folder, which was started with the same configuration.
fn resume_same(
    asked: &Config,
    run: &Config,
    data: &Source,
    out: &Path,
    group: Option<&Group>,
) -> Result<TrainingSession> {
    if let Some(difference) = asked.difference(run)? {
        let message = format!(
            "{} holds a run with {difference}: choose another --out, or the same options",
            shown(out)
        );
        return Err(Error::Usage(message).into());
    }
    let epochs = Some(asked.epochs).filter(|&epochs| epochs != run.epochs);
    resumed(out, Some(data.clone()), epochs, group)
}

/// A new run, after saying what it is made of; a warning that is among the `told` ones is not repeated.
pub(super) fn begun(
    config: Config,
    data: &Source,
    out: &Path,
    split: Option<&Path>,
    group: Option<&Group>,
    told: &mut Vec<String>,
) -> Result<TrainingSession> {
    let (session, origin) = TrainingSession::start(config, data, out, split, group, &Bar::new())?;
    warn_anew(&session.warnings, told);
    note(format_args!(
        "{}: {} classes; {} photos for training, {} for validation, {} for testing; {} from \
         {origin}",
        data,
        session.folder.labels.len(),
        session.split.train.len(),
        session.split.val.len(),
        session.split.test.len(),
        session.run.config().arch.name,
    ));
    say(&session)?;
    Ok(session)
}

/// The configuration of a `--config` file and the arguments, which take precedence.
pub(super) fn configured(line: &Settings, file: Option<&Path>) -> Result<Config> {
    completed(line, file)?.resolve()
}

/// The settings of the arguments, completed by those of a `--config` file.
pub(super) fn completed(line: &Settings, file: Option<&Path>) -> Result<Settings> {
    let file = file.map(settings).transpose()?;
    Ok(line.clone().over(file.unwrap_or_default()))
}

fn settings(path: &Path) -> Result<Settings> {
    let text = String::from_utf8(files::read(path)?)
        .map_err(|_| Error::Usage(format!("{} is not text", shown(path))))?;
    Settings::from_toml(&text)
        .map_err(|cause| Error::Usage(format!("{}: {cause}", shown(path))).into())
}

fn resume(out: &Path, args: &TrainArgs, group: Option<&Group>) -> Result<TrainingSession> {
    let epochs = args.settings.epochs;
    let only_epochs = Settings {
        epochs,
        ..Settings::default()
    };
    if args.settings != only_epochs {
        let message = "--resume continues with the run's own configuration: leave out all other \
                       options but --epochs";
        return Err(Error::Usage(message.into()).into());
    }
    resumed(out, args.source.source(), epochs, group)
}

/// The run of a folder, after saying where it goes on.
pub(super) fn resumed(
    out: &Path,
    data: Option<Source>,
    epochs: Option<usize>,
    group: Option<&Group>,
) -> Result<TrainingSession> {
    let session = TrainingSession::resume(out, data, epochs, group, &Bar::new())?;
    warn(&session.warnings);
    if let Some(state) = session.resumed_from() {
        note(format_args!(
            "resuming {} after {} and {}",
            shown(out),
            plural(state.history.len(), "epoch"),
            plural(state.batch, "batch")
        ));
    }
    Ok(session)
}

/// Warns, but not of what was told before.
pub(super) fn warn_anew(warnings: &[String], told: &mut Vec<String>) {
    let new: Vec<String> = warnings
        .iter()
        .filter(|w| !told.contains(w))
        .cloned()
        .collect();
    warn(&new);
    told.extend(new);
}

pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        note(format_args!("warning: {warning}"));
    }
}

/// Says and logs what was found out for a new run.
pub(super) fn say(session: &TrainingSession) -> Result<()> {
    let path = session.run.log();
    let mut log = log(&session.run)?;
    for line in &session.notes {
        note(line);
        writeln!(log, "{line}").map_err(|cause| {
            Error::Environment(format!("can't write {}: {cause}", shown(&path)))
        })?;
    }
    Ok(())
}

fn train(session: TrainingSession, args: &TrainArgs) -> Result<()> {
    let started = Instant::now();
    let stop = stop_flag()?;
    let trained = complete(session, &stop)?;
    report(&trained, started.elapsed(), args.json)
}

/// A run whose folder is complete.
pub(super) struct Trained {
    finished: FinishedRun,
    measured: Measured,
    part: Part,
}

/// Trains to the end, measures the best model, and writes the run's report.
pub(super) fn complete(mut session: TrainingSession, stop: &AtomicBool) -> Result<Trained> {
    let (mut callbacks, undecodable) = ready(&mut session, Watch::new())?;
    let finished = session.train(&undecodable, stop, &mut callbacks)?;
    let (measured, part) = measured(&finished, undecodable, stop)?;
    Ok(Trained {
        finished,
        measured,
        part,
    })
}

/// Trains until `pauses` says so of the state after an epoch, or to the end of the last phase, and
/// leaves the run to be resumed.
pub(super) fn advance(
    mut session: TrainingSession,
    pauses: &dyn Fn(&State) -> bool,
    stop: &AtomicBool,
    watch: Watch,
) -> Result<State> {
    let (mut callbacks, undecodable) = ready(&mut session, watch)?;
    session.train_until(pauses, &undecodable, stop, &mut callbacks)
}

type Callbacks = Vec<Box<dyn Callback>>;

/// What follows a session and writes its files, and its photos that can't be decoded.
fn ready(session: &mut TrainingSession, watch: Watch) -> Result<(Callbacks, Arc<Undecodable>)> {
    let opened = || -> Result<_> {
        let undecodable = tolerated(&session.run, &session.folder)?;
        Ok((
            callbacks(&session.run, watch)?,
            undecodable,
            Warnings::of(&session.run)?,
        ))
    };
    let (callbacks, undecodable, warnings) = session.together(opened())?;
    session.open_cache(move |complaint| warnings.tell(complaint));
    Ok((callbacks, undecodable))
}

/// Measures the best model on the test photos, or on the validation photos where there are none,
/// and writes the report into the run.
fn measured(
    finished: &FinishedRun,
    undecodable: Arc<Undecodable>,
    stop: &AtomicBool,
) -> Result<(Measured, Part)> {
    let FinishedRun {
        run, folder, split, ..
    } = finished;
    let (bundle, _) = Bundle::read(&run.model())?;
    let manifest = &bundle.manifest.clone();
    let backend = inference::load_bundle(bundle, &Options::float32(finished.device))?;
    let (part, selected) = match split.test.is_empty() {
        true => (Part::Val, split.val.len()),
        false => (Part::Test, 0),
    };
    let photos = Photos {
        all: Arc::clone(&folder.photos),
        undecodable,
        indices: split.part(part).to_vec(),
        workers: run.config().workers,
        seen: Some(Seen {
            trained: 0,
            selected,
        }),
    };
    let measured = measure(&*backend, manifest, photos, stop, &Bar::new())
        .map_err(|error| run.explain_interruption(error))?;
    if part == Part::Test {
        run.record_test(&measured.evaluation)?;
    }
    let history = &finished.state.history;
    let context = ReportContext {
        title: facts::title(manifest, run.data()),
        facts: facts(finished, part, &measured.evaluation),
        manifest,
        folder,
        split: Some(split),
        history: history.clone(),
        gates: Vec::new(),
        warnings: run.warnings().to_vec(),
        command: run.again(),
    };
    measured.write(run.folder(), &context)?;
    let curves = curves_png(history)?;
    files::write_atomically(&run.file("training_curves.png"), |sink| {
        sink.write_all(&curves)
    })?;
    let profile = serde_json::to_string_pretty(&profile(finished))? + "\n";
    files::write_atomically(&run.file("profile.json"), |sink| {
        sink.write_all(profile.as_bytes())
    })?;
    Ok((measured, part))
}

/// Where the time of the run went.
fn profile(finished: &FinishedRun) -> ProfileReport {
    let conditions = Conditions::here(finished.run.config(), finished.device);
    let state = &finished.state;
    ProfileReport::new(&state.profiles, state.history.len(), &conditions)
}

#[derive(Serialize)]
struct Summary<'a> {
    run: String,
    model: String,
    report: String,
    best_epoch: usize,
    val_accuracy: f64,
    seconds: f64,
    measured_on: &'static str,
    profile: &'a ProfileReport,
    evaluation: &'a Evaluation,
}

fn report(trained: &Trained, elapsed: Duration, json: bool) -> Result<()> {
    let Trained {
        finished,
        measured,
        part,
    } = trained;
    let run = &finished.run;
    let best = finished
        .state
        .best()
        .ok_or_else(|| Error::Data("the run has no completed epoch".into()))?;
    let report = run.file("report.html");
    let profile = profile(finished);
    let time = profile.summary().unwrap_or_else(|| "not measured".into());
    let mut output = Output::stdout(json);
    output.json(&Summary {
        run: path_text(run.folder()),
        model: path_text(&run.model()),
        report: path_text(&report),
        best_epoch: best.epoch,
        val_accuracy: best.val_accuracy,
        seconds: elapsed.as_secs_f64(),
        measured_on: part.name(),
        profile: &profile,
        evaluation: &measured.evaluation,
    })?;
    output.text(format_args!(
        "Training complete in {}\nBest val Acc: {:.4} (epoch {})\n\nOn the {part} photos:\n{}\n\n\
         time    {time}\nmodel   {}\nreport  {}",
        minutes(elapsed),
        best.val_accuracy,
        best.epoch,
        evaluation::text(measured),
        shown(run.model()),
        shown(&report),
    ))
}

/// Tolerates as many undecodable photos as the run still allows after the scan, and reports each
/// on standard error and in the log.
fn tolerated(run: &Run, folder: &Folder) -> Result<Arc<Undecodable>> {
    let warnings = Warnings::of(run)?;
    let tell = move |photo: &Unreadable| warnings.tell(&photos::skipped(photo));
    let allowed = folder.tolerated(run.config().max_bad);
    Ok(Arc::new(Undecodable::allowing(allowed, tell)))
}

/// Says what comes up while a run trains, on standard error and in its log.
struct Warnings(Mutex<File>);

impl Warnings {
    fn of(run: &Run) -> Result<Self> {
        Ok(Self(Mutex::new(log(run)?)))
    }

    fn tell(&self, warning: &str) {
        let line = format!("warning: {warning}");
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(log, "{line}").ok();
        note(line);
    }
}

/// The run's log, to write more to it.
fn log(run: &Run) -> Result<File> {
    let path = run.log();
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    opened.map_err(|cause| {
        Error::Environment(format!("can't write {}: {cause}", shown(&path))).into()
    })
}

fn callbacks(run: &Run, watch: Watch) -> Result<Callbacks> {
    Ok(vec![
        Box::new(watch),
        Box::new(Log::new(log(run)?)),
        Box::new(Csv(run.file("history.csv"))),
        Box::new(TensorBoard::create(run.folder())?),
    ])
}

fn facts(finished: &FinishedRun, part: Part, evaluation: &Evaluation) -> Vec<Fact> {
    let (run, history) = (&finished.run, &finished.state.history);
    let config = run.config();
    let trained = history.iter().map(|epoch| epoch.seconds).sum();
    let epochs = plural(history.len(), "epoch");
    let mut facts = vec![
        fact("Data", run.data().to_string()),
        fact("Recipe", format!("{}, {epochs}", config.recipe.name)),
    ];
    facts.extend(facts::starting_weights(run.manifest()));
    facts.extend([
        facts::measured_on(Some(part), evaluation.n as usize),
        facts::duration(
            "Trained in",
            Duration::try_from_secs_f64(trained).unwrap_or_default(),
        ),
        facts::processor(finished.device, config.threads),
        facts::date(SystemTime::now()),
    ]);
    let profile = profile(finished);
    if profile.bottleneck.is_some() {
        facts.push(fact("Time spent", profile.run.shares(finished.device)));
    }
    facts
}

fn minutes(elapsed: Duration) -> String {
    format!("{}m {:02}s", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

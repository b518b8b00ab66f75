//! `flowers train`: configuration, data, training, and the report of the best model.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::compute;
use super::evaluation::{Context, Measured, Photos, Seen, measure};
use super::facts::{self, fact};
use super::output::{Output, note, path_text};
use super::photos;
use super::progress::Bar;
use super::stop::stop_flag;
use super::watch::Watch;
use crate::bundle::{Bundle, Manifest};
use crate::cli::train::TrainArgs;
use crate::data::{self, Depth, Folder, Part, Source, Split, Undecodable, Unreadable};
use crate::device::Device;
use crate::error::{Error, Result, shown};
use crate::files;
use crate::graph::Graph;
use crate::image::Limits;
use crate::inference::{self, Cpu, Options};
use crate::metrics::Evaluation;
use crate::report::{Fact, curves_png};
use crate::training::observe::{Csv, Log, Observer, TensorBoard};
use crate::training::{
    Checkpoint, Config, Header, Job, Network, Precision, Run, Settings, Start, State, fit,
};
use crate::values::plural;
use crate::weights::StateDict;

/// Runs `flowers train`.
///
/// # Errors
/// [`Error::Interrupted`] when it was stopped, and those of each step.
pub fn run(args: TrainArgs) -> Result<()> {
    match &args.resume {
        Some(folder) => resume(folder, &args),
        None => {
            let data = args.source.named()?;
            let Some(out) = &args.out else {
                let message = "give a data set folder and --out, or --resume";
                return Err(Error::Usage(message.into()).into());
            };
            let made = !out.exists();
            let done = start(&data, out, &args);
            if done.is_err() && made {
                // Succeeds only while the folder is empty: nothing of a run is lost.
                std::fs::remove_dir(out).ok();
            }
            done
        }
    }
}

fn start(data: &Source, out: &Path, args: &TrainArgs) -> Result<()> {
    let mut config = configured(args)?;
    let progress = Bar::new();
    let at_hand = Start::at_hand(&config, &progress)?;
    refuse_inside(out, data)?;
    let lock = Run::create(out)?;
    let device = compute::with_threads(config.device, config.threads)?;
    let folder = photos::scan(data, config.max_bad, Depth::Pixels, &progress)?;
    let split = match &args.split {
        Some(path) => Split::load(path, &folder)?,
        None => Split::make(&folder, &config.split_options())?,
    };
    let origin = match at_hand {
        Some(origin) => origin,
        None => Start::download(&config, &progress)?,
    };
    origin.record(&mut config);
    let warnings = warnings(&origin, &folder, &split);
    for warning in &warnings {
        note(format_args!("warning: {warning}"));
    }
    let options = config.model_options(folder.labels.len())?;
    let graph = config.architecture()?.graph(&options)?;
    let (weights, from) = origin.parameters(&config, &graph)?;
    let network = network_on(graph, &weights, device, config.precision)?;
    drop(weights);
    let manifest = Manifest {
        recipe: Some(serde_json::to_value(&config)?),
        split_sha256: Some(split.manifest.sha256()?),
        ..Manifest::new(
            config.arch.clone(),
            options.head,
            folder.labels.clone(),
            (config.architecture()?.preprocessing)(config.image_size as u32),
        )
    };
    let mut header = Header::new(config, manifest, data);
    header.warnings = warnings;
    let run = Run::begin(out, lock, header)?;
    split.manifest.write(&run.file("split.json"))?;
    note(format_args!(
        "{}: {} classes; {} photos for training, {} for validation, {} for testing; {} from {from}",
        data,
        folder.labels.len(),
        split.train.len(),
        split.val.len(),
        split.test.len(),
        run.config().arch,
    ));
    let position = Position {
        network,
        state: State::default(),
        optimizer: None,
    };
    train(&run, &folder, &split, position, args)
}

/// The configuration that the arguments come to; a split that can't be used is refused too.
fn configured(args: &TrainArgs) -> Result<Config> {
    let file = match &args.config {
        Some(path) => settings(path)?,
        None => Settings::default(),
    };
    let config = args.settings.clone().over(file).resolve()?;
    if let Some(path) = &args.split {
        data::Manifest::read(path)?;
    }
    Ok(config)
}

fn resume(out: &Path, args: &TrainArgs) -> Result<()> {
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
    let (mut run, checkpoint) = Run::resume(out, args.source.source())?;
    if let Some(epochs) = epochs {
        run.train_until(epochs, &checkpoint.header.state)?;
    }
    let config = run.config();
    let device = compute::with_threads(config.device, config.threads)?;
    // The split is written down, and need not be made again.
    let folder = photos::scan(run.data(), config.max_bad, Depth::Headers, &Bar::new())?;
    let path = run.file("split.json");
    let split = Split::load(&path, &folder)?;
    if run.manifest().split_sha256 != Some(split.manifest.sha256()?) {
        let message = format!(
            "{} is not the split that the run began with; restore it, or start a new run",
            shown(&path)
        );
        return Err(Error::Data(message).into());
    }
    let graph = run.manifest().graph()?;
    let network = network_on(graph, &checkpoint.network, device, config.precision)?;
    if epochs.is_some() {
        run.record_epochs(&checkpoint)?;
    }
    let Checkpoint {
        header: Header { state, .. },
        optimizer,
        ..
    } = checkpoint;
    note(format_args!(
        "resuming {} after {} and {}",
        shown(out),
        plural(state.history.len(), "epoch"),
        plural(state.batch, "batch")
    ));
    let position = Position {
        network,
        state,
        optimizer: Some(optimizer),
    };
    train(&run, &folder, &split, position, args)
}

/// The network to train; warns where its precision makes it slower than float32 would be.
fn network_on(
    graph: Graph,
    weights: &StateDict,
    device: Device,
    precision: Precision,
) -> Result<Network> {
    if precision == Precision::Bfloat16 && device == Device::Cpu && !Cpu::detect().bfloat16 {
        note("warning: this processor has no bfloat16 arithmetic, --precision float32 is faster");
    }
    Ok(Network::new(graph, weights, device)?.with_precision(precision))
}

/// Where training starts from.
struct Position {
    network: Network,
    state: State,
    optimizer: Option<StateDict>,
}

fn train(
    run: &Run,
    folder: &Folder,
    split: &Split,
    position: Position,
    args: &TrainArgs,
) -> Result<()> {
    let started = Instant::now();
    let Position {
        mut network,
        state,
        optimizer,
    } = position;
    let mut observers = observers(run)?;
    let stop = stop_flag()?;
    let job = Job {
        run,
        photos: folder.photos.clone(),
        undecodable: tolerated(run, folder)?,
        train: &split.train,
        val: &split.val,
        limits: Limits::default(),
        stop: &stop,
    };
    let state = fit(&job, &mut network, state, optimizer, &mut observers)?;
    let device = network.device();
    drop(network);
    let (measured, part) = measured(&job, folder, split, &state, device)?;
    report(run, &state, &measured, part, started.elapsed(), args.json)
}

/// Measures the best model on the test photos, or on the validation photos where there are none,
/// and writes the report into the run.
fn measured(
    job: &Job<'_>,
    folder: &Folder,
    split: &Split,
    state: &State,
    device: Device,
) -> Result<(Measured, Part)> {
    let run = job.run;
    let (bundle, _) = Bundle::read(&run.model())?;
    let manifest = &bundle.manifest.clone();
    let backend = inference::load_bundle(bundle, &Options::float32(device))?;
    let part = if split.test.is_empty() {
        Part::Val
    } else {
        Part::Test
    };
    let photos = Photos {
        all: Arc::clone(&folder.photos),
        undecodable: Arc::clone(&job.undecodable),
        places: split.part(part).to_vec(),
        workers: run.config().workers,
        seen: Some(Seen {
            trained: 0,
            selected: if part == Part::Val {
                split.val.len()
            } else {
                0
            },
        }),
    };
    let measured = measure(&*backend, manifest, photos, job.stop, &Bar::new())
        .map_err(|error| run.explain_interruption(error))?;
    if part == Part::Test {
        run.record_test(&measured.evaluation)?;
    }
    let context = Context {
        title: facts::title(manifest, run.data()),
        facts: facts(run, state, part, &measured.evaluation, device),
        manifest,
        folder,
        split: Some(split),
        history: state.history.clone(),
        gates: Vec::new(),
        warnings: run.warnings().to_vec(),
        command: run.again(),
    };
    measured.write(run.folder(), &context)?;
    let curves = curves_png(&state.history)?;
    files::write_atomically(&run.file("training_curves.png"), |sink| {
        sink.write_all(&curves)
    })?;
    Ok((measured, part))
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
    evaluation: &'a Evaluation,
}

fn report(
    run: &Run,
    state: &State,
    measured: &Measured,
    part: Part,
    elapsed: Duration,
    json: bool,
) -> Result<()> {
    let best = state
        .best()
        .ok_or_else(|| Error::Data("the run has no completed epoch".into()))?;
    let report = run.file("report.html");
    let mut output = Output::stdout(json);
    output.json(&Summary {
        run: path_text(run.folder()),
        model: path_text(&run.model()),
        report: path_text(&report),
        best_epoch: best.epoch,
        val_accuracy: best.val_accuracy,
        seconds: elapsed.as_secs_f64(),
        measured_on: part.name(),
        evaluation: &measured.evaluation,
    })?;
    output.text(format_args!(
        "Training complete in {}\nBest val Acc: {:.4} (epoch {})\n\nOn the {part} photos:\n{}\n\n\
         model   {}\nreport  {}",
        minutes(elapsed),
        best.val_accuracy,
        best.epoch,
        measured.text(),
        shown(run.model()),
        shown(&report),
    ))
}

/// Refuses an output folder inside the data set, which is never written to.
fn refuse_inside(out: &Path, data: &Source) -> Result<()> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let out_is_inside = |folder: &&Path| absolute(out).starts_with(absolute(folder));
    let is_walked = !matches!(data, Source::Listed { .. });
    if is_walked && data.folders().iter().any(out_is_inside) {
        let message = format!(
            "--out {} is inside the data set, which is never written to; choose another folder",
            shown(out)
        );
        return Err(Error::Usage(message).into());
    }
    Ok(())
}

fn settings(path: &Path) -> Result<Settings> {
    let text = String::from_utf8(files::read(path)?)
        .map_err(|_| Error::Usage(format!("{} is not text", shown(path))))?;
    Settings::from_toml(&text)
        .map_err(|cause| Error::Usage(format!("{}: {cause}", shown(path))).into())
}

/// Tolerates as many undecodable photos as the scan has left of the run's share, and tells of each
/// on standard error and in the log.
fn tolerated(run: &Run, folder: &Folder) -> Result<Arc<Undecodable>> {
    let log = Mutex::new(log(run)?);
    let tell = move |photo: &Unreadable| {
        let line = format!("warning: {}", photos::skipped(photo));
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(log, "{line}").ok();
        note(line);
    };
    let allowed = folder.tolerated(run.config().max_bad);
    Ok(Arc::new(Undecodable::allowing(allowed, tell)))
}

/// The run's log, to write more to it.
fn log(run: &Run) -> Result<File> {
    let path = run.log();
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    opened.map_err(|cause| {
        Error::Environment(format!("can't write {}: {cause}", shown(&path))).into()
    })
}

/// What is to be known of a run before it starts.
fn warnings(origin: &Start, folder: &Folder, split: &Split) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Start::Scratch { warning } = origin {
        warnings.extend(warning.clone());
    }
    warnings.extend(split.warnings(folder));
    warnings.extend(folder.lookalikes());
    if let Some(first) = folder.unreadable.first() {
        warnings.push(format!(
            "skipped {} unreadable photos, e.g. {} ({})",
            folder.unreadable.len(),
            folder.shown(&first.path),
            first.reason
        ));
    }
    let check = folder.source.check();
    if let Some(first) = folder.damaged.first() {
        warnings.push(format!(
            "damaged photos, used as far as they go: {}, e.g. {} ({}); `{check}` lists them",
            folder.damaged.len(),
            folder.shown(&first.path),
            first.reason
        ));
    }
    if let Some(first) = folder.loose.first() {
        warnings.push(format!(
            "photos outside the class folders, not used: {}, e.g. {}; `{check}` lists them",
            folder.loose.len(),
            folder.shown(first)
        ));
    }
    warnings
}

fn observers(run: &Run) -> Result<Vec<Box<dyn Observer>>> {
    let epochs = run
        .config()
        .phases()?
        .iter()
        .map(|phase| phase.epochs)
        .sum();
    Ok(vec![
        Box::new(Watch::new(epochs)),
        Box::new(Log::new(log(run)?, epochs)),
        Box::new(Csv(run.file("history.csv"))),
        Box::new(TensorBoard::create(run.folder())?),
    ])
}

fn facts(
    run: &Run,
    state: &State,
    part: Part,
    evaluation: &Evaluation,
    device: Device,
) -> Vec<Fact> {
    let config = run.config();
    let trained = state.history.iter().map(|epoch| epoch.seconds).sum();
    let epochs = plural(state.history.len(), "epoch");
    let mut facts = vec![
        fact("Data", run.data().to_string()),
        fact("Recipe", format!("{}, {epochs}", config.recipe)),
    ];
    facts.extend(facts::starting_weights(run.manifest()));
    facts.extend([
        facts::measured_on(Some(part), evaluation.n as usize),
        facts::duration(
            "Trained in",
            Duration::try_from_secs_f64(trained).unwrap_or_default(),
        ),
        facts::processor(device, config.threads),
        facts::date(SystemTime::now()),
    ]);
    facts
}

fn minutes(elapsed: Duration) -> String {
    format!("{}m {:02}s", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

//! A dry run: a few steps of each phase, and from them the time and memory of the whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::bottleneck::{Conditions, ProfileReport};
use super::callback::Callback;
use super::config::Config;
use super::features::FeatureCache;
use super::fit::{cache, first_trained, phases, source};
use super::initial::Origin;
use super::job::Job;
use super::network::Network;
use super::phase::{Inputs, Method, Phase, Views};
use super::prepare::{Prepared, checked, refuse_inside};
use super::profile::{Profile, Stopwatch};
use super::run::Run;
use super::source::Batches;
use super::step::Seeds;
use super::teacher::Teacher;
use super::trainer::Trainer;
use super::validator::Validator;
use crate::data::{Folder, Source, Split, Undecodable};
use crate::error::{Error, Result};
use crate::image::Limits;
use crate::memory;
use crate::progress::Progress;

/// Steps that are not timed: memory is allocated in them, and what the workers had ready is used up.
const WARM_UP: usize = 3;

/// Steps that are timed, unless they take longer than [`LONGEST`].
const STEPS: usize = 8;

const LONGEST: Duration = Duration::from_secs(20);

/// Batches of validation photos that are timed.
const VALIDATED: usize = 4;

/// A run that is measured and not saved.
pub struct DryRun {
    pub folder: Folder,
    pub split: Split,
    pub origin: Origin,
    /// For the user, one per line.
    pub warnings: Vec<String>,
    run: Run,
    network: Network,
    teacher: Option<Teacher>,
}

/// What a run is going to take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunForecast {
    /// Photos to train on, to validate with, and to test on.
    pub train: usize,
    pub val: usize,
    pub test: usize,
    pub phases: Vec<PhaseForecast>,
    /// Measuring the best model at the end.
    pub test_seconds: f64,
    /// The whole run, if no phase is stopped early.
    pub seconds: f64,
    /// The most memory of the process while it was measured, on a GPU without the GPU's own; absent
    /// where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Model and checkpoint in the run's folder.
    pub disk_bytes: u64,
    /// While they are written: the old checkpoint is kept until the new one is complete.
    pub peak_disk_bytes: u64,
    /// Where the time of the run will go.
    pub profile: ProfileReport,
    /// What the figures leave out.
    pub unknown: Vec<&'static str>,
}

/// What a phase of a run is going to take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseForecast {
    pub name: &'static str,
    pub epochs: usize,
    /// Parameters that are trained, and all of the network.
    pub trained_parameters: u64,
    pub parameters: u64,
    pub images_per_second: f64,
    /// The training and the validation half of an epoch.
    pub train_seconds: f64,
    pub validation_seconds: f64,
    /// The whole phase.
    pub seconds: f64,
    /// Steps that were timed.
    pub measured_steps: usize,
}

/// Steps of a phase, as they were timed.
struct Measured {
    steps: usize,
    images: usize,
    profile: Profile,
    /// How often an epoch takes a photo.
    views: usize,
    /// A pass over the job's validation photos where it starts from features.
    validation: Option<Profile>,
    optimizer_bytes: usize,
}

impl DryRun {
    /// Scans the data set and makes the network, as a run would; nothing is written but the caches of
    /// scans and weights. `out` is checked if it is given.
    ///
    /// # Errors
    /// As [`TrainingSession::start`](super::TrainingSession::start).
    pub fn prepare(
        config: Config,
        data: &Source,
        out: Option<&Path>,
        split: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let initial = checked(&config, split, progress)?;
        if let Some(out) = out {
            refuse_inside(out, data)?;
            Run::refuse_used(out)?;
        }
        let prepared = Prepared::new(config, data, split, initial, None, progress)?;
        let Prepared {
            mut config,
            manifest,
            folder,
            split,
            warnings,
            network,
            origin,
            teacher,
            ..
        } = prepared;
        // A larger batch never comes together.
        config.batch_size = config.batch_size.min(split.train.len()).max(2);
        Ok(Self {
            run: Run::unsaved(config, manifest, data),
            folder,
            split,
            origin,
            warnings,
            network,
            teacher,
        })
    }

    pub fn config(&self) -> &Config {
        self.run.config()
    }

    /// Trains a few steps of every phase with a learning rate of 0, and validates on a few batches.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `stop` is set, and those of reading photos.
    pub fn measure(
        mut self,
        undecodable: &Arc<Undecodable>,
        stop: &AtomicBool,
        progress: &dyn Progress,
    ) -> Result<RunForecast> {
        let config = self.run.config();
        let of_train = (WARM_UP + STEPS) * config.batch_size;
        let of_train = self.split.train.len().min(of_train);
        let of_val = self.split.val.len().min(VALIDATED * config.batch_size);
        let job = Job {
            run: &self.run,
            photos: Arc::clone(&self.folder.photos),
            undecodable: Arc::clone(undecodable),
            train: &self.split.train[..of_train],
            val: &self.split.val[..of_val],
            tested: self.split.test.len(),
            budget: None,
            limits: Limits::default(),
            teacher: self.teacher.as_ref(),
            cache: None,
            shared_features: None,
            pauses: None,
            stop,
            group: None,
        };
        let phases = phases(&job, self.network.graph())?;
        let steps = phases.len() * (WARM_UP + STEPS) + 2 * VALIDATED;
        progress.begin("measuring", steps as u64);
        let mut measured = Vec::new();
        let held = tempfile::tempdir()?;
        let mut cache = cache(&job, held.path(), &phases, &self.network)?;
        for phase in &phases {
            let cache = cache.as_mut();
            measured.push(measure_phase(
                &job,
                phase,
                &mut self.network,
                cache,
                progress,
            )?);
        }
        let validation = measure_validation(&job, &self.network, progress)?;
        progress.finish();
        forecast(
            &job,
            &self.split,
            &self.network,
            (&phases, &measured),
            validation,
        )
    }
}

fn measure_phase<'j>(
    job: &'j Job<'j>,
    phase: &Phase,
    network: &mut Network,
    cache: Option<&mut FeatureCache<'j>>,
    progress: &dyn Progress,
) -> Result<Measured> {
    let config = job.run.config();
    let first = first_trained(phase, network.graph(), config.arch.head)?;
    network.freeze_until(first)?;
    let network = &*network;
    let nothing: &mut Vec<Box<dyn Callback>> = &mut Vec::new();
    let source = match (cache, &phase.inputs, phase.method) {
        (Some(cache), Inputs::Features(views), Method::LogisticRegression) => {
            return measure_features(job, network, cache, views, progress);
        }
        (cache, ..) => source(job, phase, first, network, cache, nothing)?,
    };
    let mut trainer = Trainer::new(job, phase, network, source)?;
    let step = trainer.step();
    let wanted = (WARM_UP + STEPS) * config.batch_size;
    let order = job.train.iter().copied().cycle().take(wanted).collect();
    let mut batches = trainer.source.batches(network, order, 0)?;
    let (mut profile, mut images, mut steps) = (Profile::default(), 0, 0);
    let mut started = Instant::now();
    let mut waited = Duration::ZERO;
    while let Some(batch) = batches.next() {
        if job.is_stopped() {
            return Err(Error::Interrupted("stopped".into()).into());
        }
        let batch = batch?;
        let count = batch.labels.len();
        if count >= 2 {
            step.take(
                batch,
                Seeds::one(0),
                Some(0.0),
                &mut trainer.optimizer,
                &mut profile,
            )?;
            (images, steps) = (images + count, steps + 1);
        }
        progress.advance(1);
        if steps == WARM_UP {
            (profile, images) = (Profile::default(), 0);
            started = Instant::now();
            waited = batches.waited();
        }
        if steps > WARM_UP && started.elapsed() > LONGEST {
            break;
        }
    }
    profile.total = started.elapsed().as_secs_f64();
    // The work of the threads is that of all batches, of which only these count here.
    let share = (steps.saturating_sub(WARM_UP)) as f64 / steps.max(1) as f64;
    profile.add_loading(batches.waited() - waited, batches.worked() * share);
    anyhow::ensure!(
        images > 0,
        Error::Data("no photo to train on could be decoded".into())
    );
    drop(batches);
    let validation = match trainer.source.validation(network, job.val) {
        Some(batches) => {
            let validator = &mut Validator::default();
            let cached = Some(batches);
            Some(timed_validation(job, network, validator, cached, progress)?)
        }
        None => None,
    };
    Ok(Measured {
        steps: steps - WARM_UP,
        images,
        profile,
        views: 1,
        validation,
        optimizer_bytes: trainer.optimizer.state()?.byte_len(),
    })
}

/// The time to compute a view of the features.
fn measure_features(
    job: &Job<'_>,
    network: &Network,
    cache: &mut FeatureCache<'_>,
    views: &Views,
    progress: &dyn Progress,
) -> Result<Measured> {
    let mut watch = Stopwatch::start();
    let nothing: &mut Vec<Box<dyn Callback>> = &mut Vec::new();
    // The second view has no compilation in it.
    cache.extend(network, 1, &views.augmentations, nothing)?;
    watch.lap();
    let cost = cache.extend(network, 2, &views.augmentations, nothing)?;
    progress.advance((WARM_UP + STEPS) as u64);
    let mut profile = Profile {
        total: watch.lap(),
        ..Profile::default()
    };
    profile.add_loading(cost.waited, cost.worked);
    profile.features = profile.total - profile.waiting;
    anyhow::ensure!(
        cost.photos > 0,
        Error::Data("no photo to train on could be decoded".into())
    );
    Ok(Measured {
        steps: cost.photos.div_ceil(job.run.config().batch_size),
        images: cost.photos,
        profile,
        views: views.count,
        // Their features are computed once, and cost what those of other photos do.
        validation: Some(profile * (job.val.len() as f64 / cost.photos as f64)),
        optimizer_bytes: 0,
    })
}

/// The time of a pass over the job's validation photos. The network is compiled in one before it.
fn measure_validation(
    job: &Job<'_>,
    network: &Network,
    progress: &dyn Progress,
) -> Result<Profile> {
    let mut validator = Validator::default();
    timed_validation(job, network, &mut validator, None, progress)?;
    timed_validation(job, network, &mut validator, None, progress)
}

/// The time of a pass over the job's validation photos, or over what frozen layers gave for them.
fn timed_validation(
    job: &Job<'_>,
    network: &Network,
    validator: &mut Validator,
    cached: Option<Box<dyn Batches + '_>>,
    progress: &dyn Progress,
) -> Result<Profile> {
    let mut profile = Profile::default();
    let started = Instant::now();
    let mut each = |_| {
        progress.advance(1);
        Ok(())
    };
    validator.measure(job, network, cached, &mut profile, &mut each)?;
    profile.total = started.elapsed().as_secs_f64();
    Ok(profile)
}

fn forecast(
    job: &Job<'_>,
    split: &Split,
    network: &Network,
    (phases, measured): (&[Phase], &[Measured]),
    validation: Profile,
) -> Result<RunForecast> {
    let config = job.run.config();
    let per_image = 1.0 / job.val.len().max(1) as f64;
    let parameters = network.graph().parameters();
    let parameters = parameters.filter(|p| p.role.is_learned());
    let parameters: usize = parameters.map(|p| p.shape.iter().product::<usize>()).sum();
    let mut whole = Profile::default();
    let mut forecasts = Vec::new();
    for (phase, measured) in phases.iter().zip(measured) {
        let images = split.train.len() * measured.views;
        let train = measured.profile * (images as f64 / measured.images as f64);
        let epochs = phase.epochs as f64;
        let validation = measured.validation.unwrap_or(validation);
        let val = validation * (per_image * split.val.len() as f64);
        let all = train * epochs + val * epochs;
        forecasts.push(PhaseForecast {
            name: phase.name,
            epochs: phase.epochs,
            trained_parameters: trained(network, phase, config)?,
            parameters: parameters as u64,
            images_per_second: measured.images as f64 / measured.profile.total,
            train_seconds: train.total,
            validation_seconds: val.total,
            seconds: all.total,
            measured_steps: measured.steps,
        });
        whole += all;
    }
    let tested = match split.test.len() {
        0 => split.val.len(),
        photos => photos,
    };
    let test_seconds = validation.total * per_image * tested as f64;
    let model = network.state_dict()?.byte_len() as u64;
    let optimizer = measured
        .iter()
        .map(|measured| measured.optimizer_bytes)
        .max();
    let interpolates = phases.iter().any(|phase| phase.interpolation.is_some());
    let copies = u64::from(config.ema.is_some()) + u64::from(interpolates);
    let checkpoint = model * (1 + copies) + optimizer.unwrap_or(0) as u64;
    let conditions = Conditions::here(config, network.device());
    Ok(RunForecast {
        train: split.train.len(),
        val: split.val.len(),
        test: split.test.len(),
        phases: forecasts,
        test_seconds,
        seconds: whole.total + test_seconds,
        peak_memory_bytes: memory::peak(),
        disk_bytes: model + checkpoint,
        peak_disk_bytes: model + 2 * checkpoint,
        profile: ProfileReport::new(&[whole], 1, &conditions),
        unknown: unknown(config, phases),
    })
}

/// Learned parameters that a phase trains.
fn trained(network: &Network, phase: &Phase, config: &Config) -> Result<u64> {
    let first = first_trained(phase, network.graph(), config.arch.head)?;
    let parameters = network.graph().parameters();
    let trained = parameters.filter(|p| p.role.is_learned() && p.node >= first);
    let counts = trained.map(|p| p.shape.iter().product::<usize>() as u64);
    Ok(counts.sum())
}

fn unknown(config: &Config, phases: &[Phase]) -> Vec<&'static str> {
    let mut unknown = vec![
        "the time to write checkpoints",
        "what other programs will take of the machine, and whether it slows down when it is hot",
    ];
    let mut methods = phases.iter().map(|phase| phase.method);
    if methods.any(|method| method == Method::LogisticRegression) {
        unknown.insert(0, "the time to solve for the head, mostly some seconds");
    }
    if config.early_stop > 0 {
        unknown.insert(0, "whether --early-stop ends a phase sooner");
    }
    unknown
}

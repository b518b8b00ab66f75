//! The training loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use sha2::{Digest, Sha256};
use tch::Tensor;

use super::checkpoint::State;
use super::network::{Mode, Network};
use super::observe::{Event, Observer};
use super::optimizer::Optimizer;
use super::recipe::{Frozen, Phase};
use super::run::Run;
use super::schedule::Schedule;
use super::settings::Config;
use super::tensors::{self, torch};
use crate::data::loader::{Batch, Loader, Transform, epoch_order};
use crate::data::{Photo, Undecodable};
use crate::error::{Error, NonFinite, Result, shown};
use crate::evaluation::predictions;
use crate::graph::{InferenceGraph, NodeId};
use crate::image::Limits;
use crate::inference::{self, Options};
use crate::metrics::{Epoch, Evaluation};
use crate::torch::Normalise;
use crate::weights::StateDict;

/// What to train on, and who may stop it.
pub struct Job<'a> {
    pub run: &'a Run,
    pub photos: Arc<[Photo]>,
    /// Takes the photos that are left out because they can't be decoded.
    pub undecodable: Arc<Undecodable>,
    /// Places of the photos to learn from.
    pub train: &'a [usize],
    /// Places of the photos that choose the best epoch.
    pub val: &'a [usize],
    pub limits: Limits,
    /// Set by Ctrl-C: the batch is finished, the run saved.
    pub stop: &'a AtomicBool,
}

/// Trains a network from `state` on, which is the default one for a new run, and leaves the best
/// model and the last checkpoint in the run's folder.
///
/// # Errors
/// [`Error::Interrupted`] after saving when the job is stopped; [`Error::Gate`] when the loss is
/// no number any more; [`Error::Data`] and [`Error::Environment`] as photos, memory and disk
/// have it. The last checkpoint stays whatever happens.
pub fn fit(
    job: &Job<'_>,
    network: &mut Network,
    mut state: State,
    mut saved_optimizer: Option<StateDict>,
    observer: &mut dyn Observer,
) -> Result<State> {
    let config = job.run.config();
    let phases = config.phases()?;
    while let Some(phase) = phases.get(state.phase) {
        network.freeze_until(first_trained(phase, network, config.architecture()?.head)?)?;
        let parameters = network.trainable();
        let mut optimizer = Optimizer::new(config.optimizer, parameters, config.weight_decay)?;
        if let Some(saved) = saved_optimizer.take() {
            optimizer.restore(&saved, state.steps)?;
        }
        if state == State::default() {
            // From the first moment on there is something to resume.
            save(job, &state, network, &optimizer)?;
        }
        observer.hear(&Event::Phase { phase })?;
        let patience = config.early_stop;
        while state.phase_epoch < phase.epochs && (patience == 0 || state.stale < patience) {
            let started = Instant::now();
            let trained = train_epoch(job, phase, network, &mut optimizer, &mut state, observer)?;
            let (validated, waited) = validate(job, network, observer)
                .or_else(|error| spoiled(job, error, &state, network, &optimizer))?;
            let seconds = started.elapsed().as_secs_f64();
            let waited = (trained.waited + waited).as_secs_f64();
            let row = Epoch {
                epoch: state.history.len() + 1,
                phase: phase.name.into(),
                learning_rate: trained.learning_rate,
                train_loss: state.running.loss(),
                train_accuracy: state.running.accuracy(),
                val_loss: validated.loss,
                val_accuracy: validated.accuracy,
                images_per_second: trained.images as f64 / trained.elapsed.as_secs_f64(),
                waiting: waited / seconds,
                seconds,
            };
            if state.end_epoch(row) {
                job.run.save_best(&state, network)?;
            }
            // Observers first: a kill in between repeats the epoch and loses no row.
            observer.hear(&Event::Epoch {
                history: &state.history,
            })?;
            save(job, &state, network, &optimizer)?;
        }
        state.end_phase();
    }
    Ok(state)
}

/// Figures of an epoch's training half since it started or was resumed.
struct Trained {
    learning_rate: f64,
    images: u64,
    elapsed: Duration,
    /// Time in which the network waited for photos.
    waited: Duration,
}

fn train_epoch(
    job: &Job<'_>,
    phase: &Phase,
    network: &Network,
    optimizer: &mut Optimizer,
    state: &mut State,
    observer: &mut dyn Observer,
) -> Result<Trained> {
    let config = job.run.config();
    let epoch = state.history.len();
    let order = order(job.train, config.batch_size, config.seed, epoch);
    let schedule = schedule(config, phase, state, order.len());
    let rest = order[(state.batch * config.batch_size).min(order.len())..].to_vec();
    let images = rest.len() as u64;
    let mut loader = loader(job, rest, Some(epoch as u64))?;
    let step = Step::new(job, network)?;
    observer.hear(&Event::Training {
        epoch: epoch + 1,
        phase,
        images: order.len(),
        done: state.batch * config.batch_size,
        validated: job.val.len(),
        epochs_after: epochs_after(&config.phases()?, state),
    })?;

    let started = Instant::now();
    let mut saved = Instant::now();
    let last_step = optimizer.taken().saturating_sub(1);
    let mut learning_rate = schedule.learning_rate(last_step as usize);
    while let Some(batch) = loader.next() {
        let batch = batch?;
        if batch.labels.len() < config.batch_size.min(2) {
            // The others can't be decoded. As in `order`, one photo alone is not learned from.
            state.batch += 1;
            continue;
        }
        learning_rate = schedule.learning_rate(optimizer.taken() as usize);
        step.take(&batch, learning_rate, optimizer, state)?;
        let count = batch.labels.len();
        loader.recycle(batch);
        observer.hear(&Event::Batch {
            images: count,
            running: &state.running,
        })?;

        let minutes = config.checkpoint_minutes;
        if job.stop.load(Ordering::Relaxed) {
            save(job, state, network, optimizer)?;
            return Err(interrupted(job));
        }
        if minutes > 0.0 && saved.elapsed().as_secs_f64() > minutes * 60.0 {
            save(job, state, network, optimizer)?;
            saved = Instant::now();
        }
    }
    Ok(Trained {
        learning_rate,
        images,
        elapsed: started.elapsed(),
        waited: loader.waited(),
    })
}

/// What every step of an epoch does.
struct Step<'a> {
    job: &'a Job<'a>,
    network: &'a Network,
    normalise: Normalise,
    class_weights: Option<Tensor>,
}

impl<'a> Step<'a> {
    fn new(job: &'a Job<'a>, network: &'a Network) -> Result<Self> {
        Ok(Self {
            job,
            network,
            normalise: Normalise::new(&job.run.manifest().preprocessing, network.device()),
            class_weights: class_weights(job, network)?,
        })
    }

    /// Learns from a batch, and adds it to the sums of the epoch.
    ///
    /// # Errors
    /// [`Error::Gate`] when the loss is no number any more.
    fn take(
        &self,
        batch: &Batch,
        learning_rate: f64,
        optimizer: &mut Optimizer,
        state: &mut State,
    ) -> Result<()> {
        let config = self.job.run.config();
        let epoch = state.history.len();
        tch::manual_seed(step_seed(config.seed, epoch, state.batch));
        let pixels = self.normalise.pixels(&batch.pixels, batch.size)?;
        let labels = tensors::labels(batch, self.network.device())?;
        let logits = self.network.forward(&pixels, Mode::Train)?;
        let (weights, smoothing) = (self.class_weights.as_ref(), config.label_smoothing);
        let loss = cross_entropy(&logits, &labels, weights, smoothing)?;
        optimizer.step(&loss, learning_rate)?;
        // Read after the step, so that a GPU has the whole step to do while it is waited for.
        let value = torch(f64::try_from(&loss))?;
        if !value.is_finite() {
            let (epoch, batch) = (epoch + 1, state.batch + 1);
            let what = format!("the loss became {value} in epoch {epoch}, batch {batch}");
            return Err(diverged(self.job, &what));
        }
        let count = batch.labels.len() as u64;
        state.running.loss += value * count as f64;
        state.running.correct += correct(&logits, &labels)?;
        state.running.seen += count;
        state.batch += 1;
        state.steps = optimizer.taken();
        Ok(())
    }
}

fn schedule(config: &Config, phase: &Phase, state: &State, images: usize) -> Schedule {
    Schedule {
        scheduler: config.scheduler,
        peak: phase.learning_rate,
        epochs: phase.epochs,
        steps_per_epoch: images.div_ceil(config.batch_size),
        warmup: config.warmup,
        plateau: state.plateau,
    }
}

/// Epochs that follow the current one, if none is stopped early.
fn epochs_after(phases: &[Phase], state: &State) -> usize {
    let epochs = phases.iter().skip(state.phase).map(|phase| phase.epochs);
    epochs.sum::<usize>().saturating_sub(state.phase_epoch + 1)
}

/// Measures the network on the validation photos, and how long it waited for them.
fn validate(
    job: &Job<'_>,
    network: &Network,
    observer: &mut dyn Observer,
) -> Result<(Evaluation, Duration)> {
    let mut loader = loader(job, job.val.to_vec(), None)?;
    let preprocessing = &job.run.manifest().preprocessing;
    let folded = InferenceGraph::float(network.graph(), &network.state_dict()?)?;
    let options = Options::float32(network.device());
    let backend = inference::load(&folded, preprocessing, &options)?;
    observer.hear(&Event::Validating {
        images: job.val.len(),
    })?;
    let labels = &job.run.manifest().labels;
    let mut each = |images| observer.hear(&Event::Validated { images });
    let predictions = predictions(&*backend, &mut loader, labels, job.stop, &mut each)?;
    Ok((Evaluation::of(&predictions)?, loader.waited()))
}

/// Saves a run, unless its network is past saving: the last good checkpoint stays then.
fn save(job: &Job<'_>, state: &State, network: &Network, optimizer: &Optimizer) -> Result<()> {
    if !network.is_finite()? {
        let (epoch, batch) = (state.history.len() + 1, state.batch);
        let what = format!("the parameters were no longer finite in epoch {epoch}, batch {batch}");
        return Err(diverged(job, &what));
    }
    job.run.save_checkpoint(state, network, optimizer)
}

/// Saves a run that was stopped in its validation, and explains scores that are no numbers;
/// other errors pass through.
fn spoiled<T>(
    job: &Job<'_>,
    error: anyhow::Error,
    state: &State,
    network: &Network,
    optimizer: &Optimizer,
) -> Result<T> {
    if error.is::<NonFinite>() {
        let epoch = state.history.len() + 1;
        let what = format!("the scores in the validation of epoch {epoch} were not finite");
        return Err(diverged(job, &what));
    }
    match error.downcast_ref() {
        Some(Error::Interrupted(_)) => {
            save(job, state, network, optimizer)?;
            Err(interrupted(job))
        }
        _ => Err(error),
    }
}

fn loader(job: &Job<'_>, order: Vec<usize>, augmented_epoch: Option<u64>) -> Result<Loader> {
    let config = job.run.config();
    let preprocessing = job.run.manifest().preprocessing.clone();
    let augmentations = match augmented_epoch {
        Some(_) => Some((config.recipe()?.augmentations)(preprocessing.crop)),
        None => None,
    };
    let transform = Transform {
        limits: job.limits,
        preprocessing,
        augmentations,
        seed: config.seed,
        epoch: augmented_epoch.unwrap_or_default(),
    };
    Loader::new(
        Arc::clone(&job.photos),
        order,
        config.batch_size,
        transform,
        config.workers,
    )
    .map(|loader| loader.tolerating(&job.undecodable))
}

/// The photos of an epoch in random order. A last batch of one photo, whose statistics would
/// mean nothing to a normalisation, is left out.
fn order(photos: &[usize], batch_size: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let order = epoch_order(photos.len(), seed, epoch as u64);
    let mut order: Vec<usize> = order.into_iter().map(|place| photos[place]).collect();
    if order.len() > 1 && order.len() % batch_size == 1 {
        order.pop();
    }
    order
}

/// The first node that a phase trains.
fn first_trained(phase: &Phase, network: &Network, head: &str) -> Result<NodeId> {
    let layer = match &phase.frozen {
        Frozen::Nothing => return Ok(network.graph().input()),
        Frozen::Backbone => head,
        Frozen::Until(layer) => layer,
    };
    network
        .graph()
        .layer(layer)
        .with_context(|| format!("the network has no layer {layer}"))
}

/// Inverse class frequencies with mean 1 over the photos, float32 `(classes)`.
fn class_weights(job: &Job<'_>, network: &Network) -> Result<Option<Tensor>> {
    if !job.run.config().class_weights {
        return Ok(None);
    }
    let mut counts = vec![0usize; job.run.manifest().labels.len()];
    for &place in job.train {
        counts[job.photos[place].class] += 1;
    }
    let share = job.train.len() as f32 / counts.len() as f32;
    let weights: Vec<f32> = counts.iter().map(|&n| share / n.max(1) as f32).collect();
    let weights = torch(Tensor::f_from_slice(&weights))?;
    torch(weights.f_to_device(network.device().into())).map(Some)
}

fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
    label_smoothing: f64,
) -> Result<Tensor> {
    const NO_IGNORED_CLASS: i64 = -100;
    torch(logits.f_cross_entropy_loss(
        labels,
        weights,
        tch::Reduction::Mean,
        NO_IGNORED_CLASS,
        label_smoothing,
    ))
}

fn correct(logits: &Tensor, labels: &Tensor) -> Result<u64> {
    let hits = torch(
        logits
            .f_argmax(-1, false)
            .and_then(|guess| guess.f_eq_tensor(labels)),
    )?;
    let hits = torch(
        hits.f_sum(tch::Kind::Int64)
            .and_then(|sum| i64::try_from(&sum)),
    )?;
    Ok(hits as u64)
}

/// The seed of a step's dropout: libtorch's generator has no state to save, so every step
/// starts it anew.
fn step_seed(seed: u64, epoch: usize, batch: usize) -> i64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update((epoch as u64).to_le_bytes())
        .chain_update((batch as u64).to_le_bytes())
        .finalize();
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first)
}

fn interrupted(job: &Job<'_>) -> anyhow::Error {
    let stopped = Error::Interrupted("stopped".into());
    job.run.explain_interruption(stopped.into())
}

fn diverged(job: &Job<'_>, what: &str) -> anyhow::Error {
    Error::Gate(format!(
        "{what}: train again with a lower --lr or with --warmup; the last good checkpoint is still \
         in {}",
        shown(job.run.folder())
    ))
    .into()
}

//! The epochs of a phase: training, validation, and saving in between.

use std::time::{Duration, Instant};

use super::average::{Average, Interpolation};
use super::callback::{Callback, Event};
use super::checkpoint::{Resumed, State};
use super::config::Config;
use super::epoch::{announced, class_weights, order, step_seeds};
use super::job::Job;
use super::mixing::Mixing;
use super::network::Network;
use super::optimizer::Optimizer;
use super::phase::Phase;
use super::profile::{Profile, Stopwatch};
use super::schedule::Schedule;
use super::source::BatchSource;
use super::step::{Loss, Seeds, Step};
use super::validator::Validator;
use crate::distributed::Lost;
use crate::error::{Error, NonFinite, Result, shown};
use crate::metrics::{Epoch, Evaluation};

/// The time to validate an image as a fraction of that to train on it.
const VALIDATION_COST: f64 = 1.0 / 3.0;

/// A phase with all that trains it.
pub(super) struct Trainer<'a> {
    job: &'a Job<'a>,
    config: &'a Config,
    phase: &'a Phase,
    pub source: Box<dyn BatchSource + 'a>,
    network: &'a Network,
    pub optimizer: Optimizer,
    average: Option<Average>,
    interpolation: Option<Interpolation>,
}

/// The training half of an epoch, since it started or was resumed.
struct TrainingHalf {
    /// That of the last step.
    learning_rate: f64,
    images: u64,
    elapsed: Duration,
}

/// Trains a phase.
pub(super) trait PhaseTrainer {
    /// Continues from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] when it lacks a tensor.
    fn restore(&mut self, resumed: &Resumed) -> Result<()>;

    /// The network that is measured and kept: the average, if there is one.
    fn model(&self) -> &Network;

    /// Leaves the network at what was measured, for the next phase to begin from.
    ///
    /// # Errors
    /// When memory runs out.
    fn end_phase(&self) -> Result<()>;

    /// Epochs of the phase, as far as the time budget allows.
    fn epochs(&mut self, state: &mut State, callback: &mut dyn Callback) -> Result<usize>;

    /// Trains for an epoch, or for the rest of one, and validates. Gives its row of the history, and
    /// where its time went.
    fn epoch(
        &mut self,
        state: &mut State,
        validator: &mut Validator,
        callback: &mut dyn Callback,
    ) -> Result<(Epoch, Profile)>;

    /// Writes a checkpoint, unless the network is not finite: the last good one is kept then.
    fn save(&self, state: &State) -> Result<()>;
}

impl<'a> Trainer<'a> {
    /// A trainer with a new optimizer over the layers of the network that are not frozen.
    pub(super) fn new(
        job: &'a Job<'a>,
        phase: &'a Phase,
        network: &'a Network,
        source: Box<dyn BatchSource + 'a>,
    ) -> Result<Self> {
        let config = job.run.config();
        let parameters = network.trainable();
        let interpolation = phase
            .interpolation
            .map(|part| Interpolation::new(network, part));
        Ok(Self {
            job,
            config,
            phase,
            source,
            network,
            optimizer: Optimizer::new(config.optimizer, parameters, config.weight_decay)?,
            average: match config.ema {
                Some(decay) => Some(Average::new(network, decay)?),
                None => None,
            },
            interpolation: interpolation.transpose()?,
        })
    }

    /// The network, or its average where there is one.
    fn trained(&self) -> &Network {
        let average = self.average.as_ref().map(Average::network);
        average.unwrap_or(self.network)
    }

    fn interpolate(&self) -> Result<()> {
        let interpolation = self.interpolation.as_ref();
        interpolation.map_or(Ok(()), |found| found.update(self.trained()))
    }
}

impl PhaseTrainer for Trainer<'_> {
    fn restore(&mut self, resumed: &Resumed) -> Result<()> {
        self.optimizer
            .restore(&resumed.optimizer, resumed.state.steps)?;
        if let Some(average) = &self.average {
            average.restore(&resumed.average)?;
        }
        if let Some(interpolation) = &self.interpolation {
            interpolation.restore(&resumed.start)?;
        }
        self.interpolate()
    }

    fn model(&self) -> &Network {
        let interpolated = self.interpolation.as_ref().map(Interpolation::network);
        interpolated.unwrap_or(self.trained())
    }

    fn end_phase(&self) -> Result<()> {
        self.network.move_towards(self.model(), 1.0)
    }

    fn epochs(&mut self, state: &mut State, callback: &mut dyn Callback) -> Result<usize> {
        let Some(budget) = self.job.budget else {
            return Ok(self.phase.epochs);
        };
        if let Some(planned) = state.planned_epochs {
            return Ok(planned);
        }
        let per_image = self.seconds_per_image();
        let per_image = match self.job.group {
            None => per_image?,
            Some(group) => {
                let [sum] = group.sum(per_image.map(|seconds| [seconds]))?;
                sum / (group.world() * group.world()) as f64
            }
        };
        let of_validation = VALIDATION_COST * per_image;
        let (train, val) = (self.job.train.len() as f64, self.job.val.len() as f64);
        let per_epoch = train * per_image + val * of_validation;
        let scaled = match self.config.recipe.scales_logits {
            true => val,
            false => 0.0,
        };
        let reserved = (self.job.tested as f64 + scaled) * of_validation;
        let phases = self.config.phases().len() - state.phase;
        let allowed = budget.epochs(per_epoch, phases, reserved);
        let fewest = usize::from(state.history.is_empty());
        let mut epochs = allowed.clamp(fewest, self.phase.epochs);
        if let Some(group) = self.job.group {
            let first = if group.is_first() { epochs } else { 0 };
            let [decided] = group.sum(Ok([first as f64]))?;
            epochs = decided as usize;
        }
        if epochs < self.phase.epochs {
            let phase = self.phase;
            let told = callback.on_event(&Event::Planned { phase, epochs });
            self.job.together(told)?;
        }
        state.planned_epochs = Some(epochs);
        Ok(epochs)
    }

    fn epoch(
        &mut self,
        state: &mut State,
        validator: &mut Validator,
        callback: &mut dyn Callback,
    ) -> Result<(Epoch, Profile)> {
        let started = Instant::now();
        let mut profile = Profile::default();
        let trained = self.train(state, &mut profile, callback)?;
        let validated = self.validate(state, validator, &mut profile, callback)?;
        profile.total = started.elapsed().as_secs_f64();
        let row = Epoch {
            epoch: state.history.len() + 1,
            phase: self.phase.name.into(),
            learning_rate: trained.learning_rate,
            train_loss: state.running.loss(),
            train_accuracy: state.running.accuracy(),
            val_loss: validated.loss,
            val_accuracy: validated.accuracy,
            images_per_second: trained.images as f64 / trained.elapsed.as_secs_f64(),
            waiting: profile.waiting / profile.total,
            seconds: profile.total,
            candidate: !self.phase.keeps_last || state.phase_epoch + 1 == self.planned(state),
        };
        Ok((row, profile))
    }

    fn save(&self, state: &State) -> Result<()> {
        if !self.network.is_finite()? {
            return Err(self.diverged("a parameter is not finite", state, state.batch));
        }
        let optimizer = self.optimizer.state()?;
        let average = self.average.as_ref().map(Average::network);
        let start = self.interpolation.as_ref().map(Interpolation::start);
        let run = self.job.run;
        run.save_checkpoint(state, self.network, optimizer, [average, start])
    }
}

impl<'a> Trainer<'a> {
    fn train(
        &mut self,
        state: &mut State,
        profile: &mut Profile,
        callback: &mut dyn Callback,
    ) -> Result<TrainingHalf> {
        let (config, network) = (self.config, self.network);
        let epoch = state.history.len();
        let order = order(self.job.train, config.batch_size, config.seed, epoch);
        let schedule = self.schedule(state, order.len());
        let rest = order[(state.batch * config.batch_size).min(order.len())..].to_vec();
        let images = rest.len() as u64;
        let mut batches = self.source.batches(network, rest, epoch as u64)?;
        let last_batch = order.len().div_ceil(config.batch_size).saturating_sub(1);
        let step = self.step();
        let mut told = callback.on_event(&announced(self.job, self.phase, state, order.len()));

        let started = Instant::now();
        let mut last_save = started;
        let last_step = self.optimizer.taken().saturating_sub(1);
        let mut learning_rate = schedule.learning_rate(last_step as usize);
        for batch in batches.by_ref() {
            let batch = told.and(batch);
            let updates =
                (state.batch + 1).is_multiple_of(config.accumulate) || state.batch == last_batch;
            learning_rate = schedule.learning_rate(self.optimizer.taken() as usize);
            let rate = updates.then_some(learning_rate);
            let seeds = step_seeds(self.job.share().rank, config.seed, epoch, state.batch);
            let taken =
                step.take_any(self.job, batch, seeds, rate, &mut self.optimizer, profile)?;
            self.end_step(state)?;
            if taken.count == 0 {
                state.batch += 1;
                told = Ok(());
                continue;
            }
            if !taken.loss.is_finite() {
                let what = format!("the loss became {}", taken.loss);
                return Err(self.diverged(&what, state, state.batch + 1));
            }
            state.end_batch(taken.count, taken.loss, taken.correct);
            // Processes hear of an error of another in their next step.
            told = callback.on_event(&Event::Batch {
                images: taken.count,
                running: &state.running,
            });
            if taken.stops {
                return Err(self.stopped(state));
            }
            let minutes = config.checkpoint_minutes;
            let is_due = minutes > 0.0 && last_save.elapsed().as_secs_f64() > minutes * 60.0;
            if is_due && self.job.share().rank == 0 {
                let mut watch = Stopwatch::start();
                told = told.and(self.save(state));
                profile.checkpoints += watch.lap();
                last_save = Instant::now();
            }
        }
        self.job.together(told)?;
        profile.add_loading(batches.waited(), batches.worked());
        profile.teaching += batches.teaching().as_secs_f64();
        Ok(TrainingHalf {
            learning_rate,
            images,
            elapsed: started.elapsed(),
        })
    }

    pub(super) fn step(&self) -> Step<'a> {
        let config = self.config;
        Step {
            network: self.network,
            loss: Loss {
                class_weights: config.class_weights.then(|| class_weights(self.job)),
                label_smoothing: config.label_smoothing,
            },
            distillation: config.distillation(),
            mixing: Mixing {
                mixup: config.mixup,
                cutmix: config.cutmix,
            },
            accumulates: config.accumulate > 1,
            clip_norm: config.clip_grad_norm,
        }
    }

    /// Counts an update of the network, if the step had one, and takes it into the average.
    fn end_step(&self, state: &mut State) -> Result<()> {
        if state.steps != self.optimizer.taken() {
            state.steps = self.optimizer.taken();
            if let Some(average) = &self.average {
                average.update(self.network, state.steps)?;
            }
        }
        Ok(())
    }

    /// Measures the network on the validation photos.
    fn validate(
        &self,
        state: &State,
        validator: &mut Validator,
        profile: &mut Profile,
        callback: &mut dyn Callback,
    ) -> Result<Evaluation> {
        let (job, network) = (self.job, self.model());
        let images = job.val.len();
        job.together(callback.on_event(&Event::Validating { images }))?;
        let mut each = |images: usize| {
            // The others have validated about as many.
            let images = images * job.share().world;
            callback.on_event(&Event::Validated { images })?;
            match job.group.is_none() && job.is_stopped() {
                true => Err(self.stopped(state)),
                false => Ok(()),
            }
        };
        self.interpolate()?;
        let cached = self.source.validation(network, job.val);
        let measured = validator.measure(job, network, cached, profile, &mut each);
        if let Some(group) = job.group {
            let stops = f64::from(u8::from(job.is_stopped()));
            let [stops] = group.sum(Ok([stops]))?;
            if stops > 0.0 {
                return Err(self.stopped(state));
            }
        }
        measured.map_err(|error| match error.is::<NonFinite>() {
            true => self.diverged("a validation logit is not finite", state, state.batch),
            false => error,
        })
    }

    /// The time to train on an image, measured in steps that are undone.
    fn seconds_per_image(&self) -> Result<f64> {
        const STEPS: usize = 4;
        let (config, network) = (self.config, self.network);
        let before = network.state_dict()?;
        let mut optimizer = Optimizer::new(config.optimizer, network.trainable(), 0.0)?;
        let step = self.step();
        let photos = self.job.train.iter().copied();
        let order = photos.take(STEPS * config.batch_size).collect();
        let (mut ignored, mut images) = (Profile::default(), 0);
        let mut started = Instant::now();
        for (index, batch) in self.source.batches(network, order, 0)?.enumerate() {
            let batch = batch?;
            let count = batch.labels.len();
            if count < 2 {
                continue;
            }
            step.take(
                batch,
                Seeds::one(0),
                Some(0.0),
                &mut optimizer,
                &mut ignored,
            )?;
            if index == 0 && self.job.train.len() > config.batch_size {
                // Memory is allocated in the first.
                started = Instant::now();
                continue;
            }
            images += count;
        }
        network.load(&before)?;
        Ok(started.elapsed().as_secs_f64() / images.max(1) as f64)
    }

    /// Saves the run that is to stop.
    fn stopped(&self, state: &State) -> anyhow::Error {
        match self.job.once(|| self.save(state)) {
            Ok(()) => self.job.interrupted(),
            Err(error) => error,
        }
    }

    fn planned(&self, state: &State) -> usize {
        state.planned_epochs.unwrap_or(self.phase.epochs)
    }

    fn schedule(&self, state: &State, images: usize) -> Schedule {
        Schedule {
            scheduler: self.config.scheduler,
            peak: self.phase.learning_rate,
            epochs: self.planned(state),
            steps_per_epoch: images
                .div_ceil(self.config.batch_size)
                .div_ceil(self.config.accumulate),
            warmup: self.config.warmup,
            plateau: state.plateau,
        }
    }

    fn diverged(&self, what: &str, state: &State, batch: usize) -> anyhow::Error {
        let error = Error::Gate(format!(
            "training diverged: {what} in epoch {}, batch {batch}; train again with a lower --lr or \
             with --warmup; the last good checkpoint is still in {}",
            state.history.len() + 1,
            shown(self.job.run.folder())
        ));
        match self.job.share().rank {
            0 => error.into(),
            // Process 0 says the same.
            _ => anyhow::Error::new(error).context(Lost),
        }
    }
}

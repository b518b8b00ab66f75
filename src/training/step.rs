//! One step of training: forward pass, backward pass, update.

use tch::Tensor;

use super::distillation::Distillation;
use super::gradients::Gradients;
use super::mixing::{Mixing, Targets};
use super::network::{Mode, Network};
use super::optimizer::Optimizer;
use super::profile::{Profile, Stopwatch};
use super::source::DeviceBatch;
use super::tensors::{self, torch};
use crate::error::Result;

/// What all steps of an epoch have in common.
pub(super) struct Step<'a> {
    pub network: &'a Network,
    pub loss: Loss,
    pub distillation: Option<Distillation>,
    pub mixing: Mixing,
    /// Whether an update takes the mean over several batches.
    pub accumulates: bool,
    /// The largest norm of all gradients as one vector.
    pub clip_norm: Option<f64>,
}

/// Cross-entropy.
pub(super) struct Loss {
    /// Weights of the classes.
    pub class_weights: Option<Vec<f32>>,
    pub label_smoothing: f64,
}

/// What decides the randomness of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeds {
    pub dropout: i64,
    pub mixing: u64,
}

/// The gradients of a batch.
pub(super) struct Computed {
    /// Those of the mean loss, times the weight if that was asked for.
    pub gradients: Gradients,
    /// What the mean was divided by.
    pub weight: f32,
    loss: Tensor,
    logits: Tensor,
    labels: Tensor,
}

/// What a step computed on its batch, before the update.
pub(super) struct StepResult {
    /// Mean cross-entropy in nats, or what distillation makes of it; not finite when training diverges.
    pub loss: f64,
    /// Photos whose class has the highest logit; of a mixed photo the class with the larger share.
    pub correct: u64,
}

impl Step<'_> {
    /// Computes the gradients of a batch, and updates the network with those since its last update
    /// if a learning rate is given. What takes how long is added to the profile.
    pub(super) fn take(
        &self,
        batch: DeviceBatch,
        seeds: Seeds,
        learning_rate: Option<f64>,
        optimizer: &mut Optimizer,
        profile: &mut Profile,
    ) -> Result<StepResult> {
        let mut computed = self.compute(batch, seeds, self.accumulates, optimizer, profile)?;
        let mut watch = Stopwatch::start();
        let weight = if self.accumulates {
            computed.weight
        } else {
            1.0
        };
        optimizer.accumulate(computed.take_gradients(), weight)?;
        self.update(learning_rate, optimizer)?;
        // Read after the update, so that a GPU is not waited for before all its work is queued.
        let result = computed.result()?;
        profile.optimizer += watch.lap();
        Ok(result)
    }

    /// Computes the gradients of a batch, of its mean loss, or of that times its weight.
    pub(super) fn compute(
        &self,
        batch: DeviceBatch,
        seeds: Seeds,
        weighted: bool,
        optimizer: &Optimizer,
        profile: &mut Profile,
    ) -> Result<Computed> {
        let mut watch = Stopwatch::start();
        tch::manual_seed(seeds.dropout);
        let labels = tensors::labels(&batch.labels, self.network.device())?;
        let mixing = self.mixing;
        let classes = self.network.classes();
        let shown = Targets {
            labels,
            shares: None,
            taught: batch.taught,
        };
        let (values, targets) = mixing.mix(batch.values, shown, classes, seeds.mixing)?;
        let logits = self.network.logits(batch.first, values, Mode::Train)?;
        let mut loss = self.loss.mean(&logits, &targets)?;
        if let (Some(distillation), Some(taught)) = (self.distillation, &targets.taught) {
            loss = distillation.loss(&loss, &logits, taught, &targets.labels)?;
        }
        let weight = self.loss.weight(&batch.labels, &targets);
        profile.forward += watch.lap();
        let gradients = match weighted {
            true => optimizer.gradients(&torch(loss.f_mul_scalar(f64::from(weight)))?)?,
            false => optimizer.gradients(&loss)?,
        };
        profile.backward += watch.lap();
        Ok(Computed {
            gradients,
            weight,
            loss,
            logits,
            labels: targets.labels,
        })
    }

    /// Updates the network with what has been accumulated, if a learning rate is given.
    pub(super) fn update(
        &self,
        learning_rate: Option<f64>,
        optimizer: &mut Optimizer,
    ) -> Result<()> {
        match learning_rate {
            Some(learning_rate) => optimizer.update(learning_rate, self.clip_norm),
            None => Ok(()),
        }
    }
}

impl Seeds {
    /// Those of a process alone.
    pub(super) fn one(seed: i64) -> Self {
        Self {
            dropout: seed,
            mixing: seed as u64,
        }
    }
}

impl Computed {
    fn take_gradients(&mut self) -> Gradients {
        std::mem::replace(&mut self.gradients, Gradients(Vec::new()))
    }

    pub(super) fn result(&self) -> Result<StepResult> {
        Ok(StepResult {
            loss: torch(f64::try_from(&self.loss))?,
            correct: correct(&self.logits, &self.labels)?,
        })
    }
}

impl Loss {
    /// The mean over a batch, as PyTorch's `CrossEntropyLoss` has it.
    fn mean(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        const NO_IGNORED_CLASS: i64 = -100;
        let weights = self.class_weights.as_ref().map(|weights| {
            torch(Tensor::f_from_slice(weights).and_then(|x| x.f_to_device(logits.device())))
        });
        torch(logits.f_cross_entropy_loss(
            targets.shares.as_ref().unwrap_or(&targets.labels),
            weights.transpose()?,
            tch::Reduction::Mean,
            NO_IGNORED_CLASS,
            self.label_smoothing,
        ))
    }

    /// The divisor of that mean: the sum of the class weights of the photos, or their number.
    fn weight(&self, labels: &[i64], targets: &Targets) -> f32 {
        match (&self.class_weights, &targets.shares) {
            (Some(weights), None) => labels.iter().map(|&class| weights[class as usize]).sum(),
            _ => labels.len() as f32,
        }
    }
}

fn correct(logits: &Tensor, labels: &Tensor) -> Result<u64> {
    let predicted = torch(logits.f_argmax(-1, false))?;
    let hits = torch(
        predicted
            .f_eq_tensor(labels)
            .and_then(|hits| hits.f_sum(tch::Kind::Int64))
            .and_then(|sum| i64::try_from(&sum)),
    )?;
    Ok(hits as u64)
}

//! One step of training: forward pass, backward pass, update.

use tch::Tensor;

use super::network::{Mode, Network};
use super::optimizer::Optimizer;
use super::profile::{Profile, Stopwatch};
use super::source::DeviceBatch;
use super::tensors::{self, torch};
use crate::error::Result;

/// What all steps of an epoch have in common.
pub(super) struct Step<'a> {
    pub network: &'a Network,
    /// Weights of the classes in the loss, float32 `(classes)`.
    pub class_weights: Option<Tensor>,
    pub label_smoothing: f64,
}

/// What a step computed on its batch, before the update.
pub(super) struct StepResult {
    /// Mean cross-entropy in nats; not finite when training diverges.
    pub loss: f64,
    /// Photos whose class has the highest logit.
    pub correct: u64,
}

impl Step<'_> {
    /// Trains the network on a batch. `seed` is that of dropout. What takes how long is added to the
    /// profile.
    pub(super) fn take(
        &self,
        batch: DeviceBatch,
        seed: i64,
        learning_rate: f64,
        optimizer: &mut Optimizer,
        profile: &mut Profile,
    ) -> Result<StepResult> {
        let mut watch = Stopwatch::start();
        tch::manual_seed(seed);
        let labels = tensors::labels(&batch.labels, self.network.device())?;
        let logits = self
            .network
            .logits(batch.first, batch.values, Mode::Train)?;
        let loss = self.cross_entropy(&logits, &labels)?;
        profile.forward += watch.lap();
        let gradients = optimizer.gradients(&loss)?;
        profile.backward += watch.lap();
        optimizer.apply(gradients, learning_rate)?;
        // Read after the update, so that a GPU is not waited for before all its work is queued.
        let result = StepResult {
            loss: torch(f64::try_from(&loss))?,
            correct: correct(&logits, &labels)?,
        };
        profile.optimizer += watch.lap();
        Ok(result)
    }

    fn cross_entropy(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        const NO_IGNORED_CLASS: i64 = -100;
        torch(logits.f_cross_entropy_loss(
            labels,
            self.class_weights.as_ref(),
            tch::Reduction::Mean,
            NO_IGNORED_CLASS,
            self.label_smoothing,
        ))
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

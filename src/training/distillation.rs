//! Knowledge distillation: what a network learns from the probabilities that teachers give.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::tensors::torch;
use crate::error::Result;

/// How the probabilities of the teachers become a loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistillMethod {
    /// Kullback-Leibler divergence of softened probabilities (Hinton et al., 2015)
    #[default]
    Kd,
    /// That of the target class against the rest, and 8 times that among the others (Zhao et al., 2022)
    Dkd,
}

/// How much a network learns from teachers instead of labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Distillation {
    pub method: DistillMethod,
    /// Share of the loss, the rest of which is that of the labels.
    pub weight: f64,
    /// Logits are divided by it.
    pub temperature: f64,
}

/// Weight of the divergence among the classes that are not the target: beta of Zhao et al., whose alpha
/// is 1.
const AMONG_OTHERS: f64 = 8.0;

/// Added to logits that are to have no probability.
const NEVER: f64 = -1000.0;

/// What a logarithm is taken of at least.
const LEAST: f64 = 1e-12;

impl Distillation {
    /// The loss of a batch: its cross-entropy, and the mean divergence of the student from the teachers
    /// times the square of the temperature, so that its gradients do not shrink with it.
    /// `logits`: float32 (n, classes); `taught`: probabilities, likewise; `labels`: int64 (n).
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn loss(
        self,
        cross_entropy: &Tensor,
        logits: &Tensor,
        taught: &Tensor,
        labels: &Tensor,
    ) -> Result<Tensor> {
        let scale = self.weight * self.temperature * self.temperature;
        let sum = || {
            let teacher = taught.f_clamp_min(LEAST)?.f_log()?;
            let teacher = teacher.f_div_scalar(self.temperature)?;
            let student = logits.f_div_scalar(self.temperature)?;
            let divergence = match self.method {
                DistillMethod::Kd => divergence(&teacher, &student)?,
                DistillMethod::Dkd => decoupled(&teacher, &student, labels)?,
            };
            let own = cross_entropy.f_mul_scalar(1.0 - self.weight)?;
            own.f_add(&divergence.f_mean(Kind::Float)?.f_mul_scalar(scale)?)
        };
        torch(sum())
    }
}

/// Kullback-Leibler divergence of softmaxes, row by row, in nats.
pub(super) fn divergence(teacher: &Tensor, student: &Tensor) -> Result<Tensor, TchError> {
    let teacher = teacher.f_log_softmax(-1, Kind::Float)?;
    let student = student.f_log_softmax(-1, Kind::Float)?;
    let apart = teacher.f_sub(&student)?;
    let weighted = teacher.f_exp()?.f_mul(&apart)?;
    weighted.f_sum_dim_intlist([-1].as_slice(), false, Kind::Float)
}

fn decoupled(teacher: &Tensor, student: &Tensor, labels: &Tensor) -> Result<Tensor, TchError> {
    let classes = student.size()[1];
    let target = labels.f_one_hot(classes)?.f_to_kind(Kind::Float)?;
    let hidden = target.f_mul_scalar(NEVER)?;
    let others = divergence(&teacher.f_add(&hidden)?, &student.f_add(&hidden)?)?;
    divergence(&in_two(teacher, &target)?, &in_two(student, &target)?)?
        .f_add(&others.f_mul_scalar(AMONG_OTHERS)?)
}

/// Logarithms of the probabilities of the target class and of all others, (n, 2).
fn in_two(logits: &Tensor, target: &Tensor) -> Result<Tensor, TchError> {
    let hidden = target.f_mul_scalar(NEVER)?;
    let others = logits.f_add(&hidden)?.f_logsumexp([-1].as_slice(), true)?;
    let own = logits.f_mul(target)?;
    let own = own.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float)?;
    Tensor::f_cat(&[own, others], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `tests/golden/distillation.py`.
    #[test]
    fn losses_and_gradients_are_those_of_the_papers_formulas() {
        let golden = include_str!("../../tests/golden/metrics/distillation.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let tensor = |value: &serde_json::Value| {
            let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
            let columns = rows[0].len() as i64;
            Tensor::from_slice(&rows.concat()).reshape([-1, columns])
        };
        let labels: Vec<i64> = serde_json::from_value(golden["labels"].clone()).unwrap();
        let labels = Tensor::from_slice(&labels);
        let taught = tensor(&golden["taught"]);
        for case in golden["cases"].as_array().unwrap() {
            let distillation = Distillation {
                method: serde_json::from_value(case["method"].clone()).unwrap(),
                weight: case["weight"].as_f64().unwrap(),
                temperature: case["temperature"].as_f64().unwrap(),
            };
            let logits = tensor(&golden["logits"]).set_requires_grad(true);
            let own = logits.cross_entropy_for_logits(&labels);
            let loss = distillation.loss(&own, &logits, &taught, &labels).unwrap();
            let apart = loss.double_value(&[]) - case["loss"].as_f64().unwrap();
            assert!(apart.abs() < 1e-5, "{distillation:?}: {apart}");
            loss.backward();
            let apart = (logits.grad() - tensor(&case["gradient"])).abs().max();
            let apart = apart.double_value(&[]);
            assert!(apart < 1e-5, "{distillation:?}: {apart}");
        }
    }
}

//! Learning rate schedules.

use std::f64::consts::PI;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::values::number;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// Stays the same
    Constant,
    /// Divided by 10 every 7 epochs
    Step,
    /// Falls to zero along half a cosine
    Cosine,
    /// Divided by 10 when the validation loss has not improved for 3 epochs
    Plateau,
    /// Rises from a 25th for 30% of the steps, then falls to almost zero, along cosines (Smith, 2018)
    OneCycle,
}

impl Scheduler {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step => "step",
            Self::Cosine => "cosine",
            Self::Plateau => "plateau",
            Self::OneCycle => "one-cycle",
        }
    }
}

/// What `--lr` takes.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number or \"auto\"")]
pub enum LearningRate {
    Rate(f64),
    Found(Auto),
}

/// The keyword for a rate that a range test finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auto {
    Auto,
}

impl LearningRate {
    pub const AUTO: Self = Self::Found(Auto::Auto);

    /// Reads an argument.
    ///
    /// # Errors
    /// A description of what is expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::AUTO),
            _ => number(text)
                .map(Self::Rate)
                .map_err(|_| "expected a number or auto".into()),
        }
    }
}

/// The schedule of one phase.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schedule {
    pub scheduler: Scheduler,
    /// Peak learning rate.
    pub peak: f64,
    pub epochs: usize,
    pub steps_per_epoch: usize,
    /// Epochs over which the rate rises linearly from zero, in addition to the scheduler.
    pub warmup: f64,
    pub plateau: Plateau,
}

/// State of the plateau scheduler: PyTorch's `ReduceLROnPlateau` with patience 3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    factor: f64,
    best: Option<f64>,
    epochs_without: usize,
}

const STEP_EPOCHS: usize = 7;
const STEP_FACTOR: f64 = 0.1;
const PATIENCE: usize = 3;
/// The smallest relative decrease of the loss that is an improvement.
const THRESHOLD: f64 = 1e-4;
const RISE: f64 = 0.3;
const START_DIVISOR: f64 = 25.0;
const END_DIVISOR: f64 = 1e4;

impl Default for Plateau {
    fn default() -> Self {
        Self {
            factor: 1.0,
            best: None,
            epochs_without: 0,
        }
    }
}

impl Plateau {
    /// Updates the state with the validation loss of an epoch.
    pub fn update(&mut self, loss: f64) {
        if self.best.is_none_or(|best| loss < best * (1.0 - THRESHOLD)) {
            self.best = Some(loss);
            self.epochs_without = 0;
        } else {
            self.epochs_without += 1;
        }
        if self.epochs_without > PATIENCE {
            self.factor *= STEP_FACTOR;
            self.epochs_without = 0;
        }
    }
}

impl Schedule {
    /// The learning rate of a step, counted from 0 at the start of the phase.
    pub(super) fn learning_rate(&self, step: usize) -> f64 {
        let steps = (self.epochs * self.steps_per_epoch).max(1);
        let epoch = step / self.steps_per_epoch.max(1);
        let factor = match self.scheduler {
            Scheduler::Constant => 1.0,
            Scheduler::Step => STEP_FACTOR.powi((epoch / STEP_EPOCHS) as i32),
            Scheduler::Cosine => cosine(1.0, 0.0, step as f64 / steps as f64),
            Scheduler::Plateau => self.plateau.factor,
            Scheduler::OneCycle => one_cycle(step, steps),
        };
        let warm = self.warmup * self.steps_per_epoch as f64;
        let rise = ((step + 1) as f64 / warm.max(1.0)).min(1.0);
        self.peak * factor * rise
    }
}

/// From `start` to `end` along half a cosine as `fraction` goes from 0 to 1.
fn cosine(start: f64, end: f64, fraction: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * fraction).cos()) / 2.0
}

fn one_cycle(step: usize, steps: usize) -> f64 {
    let (start, end) = (1.0 / START_DIVISOR, 1.0 / START_DIVISOR / END_DIVISOR);
    let top = RISE * steps as f64 - 1.0;
    let last = (steps - 1) as f64;
    let step = step as f64;
    if step <= top {
        cosine(start, 1.0, step / top.max(1.0))
    } else {
        cosine(1.0, end, ((step - top) / (last - top)).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(scheduler: Scheduler, epochs: usize, steps_per_epoch: usize) -> Vec<f64> {
        let schedule = Schedule {
            scheduler,
            peak: 0.5,
            epochs,
            steps_per_epoch,
            warmup: 0.0,
            plateau: Plateau::default(),
        };
        (0..epochs * steps_per_epoch)
            .map(|step| schedule.learning_rate(step))
            .collect()
    }

    fn assert_close(actual: &[f64], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len());
        for (a, b) in actual.iter().zip(expected) {
            assert!((a - b).abs() < 1e-9, "{actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn one_cycle_is_pytorchs() {
        // torch.optim.lr_scheduler.OneCycleLR(max_lr=0.5, total_steps=10)
        assert_close(&rates(Scheduler::OneCycle, 2, 5), &ONE_CYCLE);
    }

    #[test]
    fn cosine_is_pytorchs() {
        // torch.optim.lr_scheduler.CosineAnnealingLR(T_max=8), lr=0.5
        assert_close(&rates(Scheduler::Cosine, 2, 4), &COSINE);
    }

    #[test]
    fn step_divides_by_ten_every_seven_epochs() {
        let rates = rates(Scheduler::Step, 15, 2);
        assert_eq!(rates[13], 0.5);
        assert!((rates[14] - 0.05).abs() < 1e-12);
        assert!((rates[28] - 0.005).abs() < 1e-12);
    }

    #[test]
    fn plateau_waits_for_its_patience() {
        let mut plateau = Plateau::default();
        for loss in [1.0, 0.9, 0.95, 0.95, 0.95] {
            plateau.update(loss);
        }
        assert_eq!(plateau.factor, 1.0);
        plateau.update(0.95);
        assert_eq!(plateau.factor, 0.1);
        plateau.update(0.5);
        assert_eq!((plateau.factor, plateau.epochs_without), (0.1, 0));
    }

    #[test]
    fn warmup_rises_to_the_peak() {
        let schedule = Schedule {
            scheduler: Scheduler::Constant,
            peak: 1.0,
            epochs: 3,
            steps_per_epoch: 4,
            warmup: 1.0,
            plateau: Plateau::default(),
        };
        let rates: Vec<f64> = (0..6).map(|step| schedule.learning_rate(step)).collect();
        assert_close(&rates, &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    const ONE_CYCLE: [f64; 10] = [
        0.020000000000,
        0.260000000000,
        0.500000000000,
        0.475242316007,
        0.405872826975,
        0.305631010968,
        0.194370989032,
        0.094129173025,
        0.024759683993,
        0.000002000000,
    ];
    const COSINE: [f64; 8] = [
        0.500000000000,
        0.480969883128,
        0.426776695297,
        0.345670858091,
        0.250000000000,
        0.154329141909,
        0.073223304703,
        0.019030116872,
    ];
}

//! Where the time of a run goes.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::data::Worked;
use crate::device::Device;

/// Seconds of an epoch or of a run, by what they were spent on.
///
/// The parts of the loop do not overlap; what they leave of `total` went into moving batches and into
/// callbacks. On a GPU, forward and backward passes and updates are only queued, and computed while
/// later parts wait: there the sum of the three tells, not each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Wall time.
    pub total: f64,
    /// Waiting for photos, in training and in validation.
    pub waiting: f64,
    /// Computing features.
    pub features: f64,
    /// Asking the teachers, except while features are computed.
    pub teaching: f64,
    pub forward: f64,
    pub backward: f64,
    /// Updating parameters.
    pub optimizer: f64,
    /// Waiting for other processes, and adding up their gradients.
    pub collectives: f64,
    /// Solving for the classifier.
    pub solver: f64,
    /// Computing on validation photos.
    pub validation: f64,
    /// Writing checkpoints and models.
    pub checkpoints: f64,
    pub workers: WorkerSeconds,
}

/// Seconds of the threads that load photos, added up over the threads, while the loop went on: see
/// [`Worked`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerSeconds {
    /// Reading and hashing files.
    pub reading: f64,
    pub decoding: f64,
    pub augmenting: f64,
}

/// Seconds between one lap and the next.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the last lap, or since the start.
    pub(super) fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let lap = now.duration_since(self.0).as_secs_f64();
        self.0 = now;
        lap
    }
}

impl Profile {
    /// Adds what a loader took: the loop's waiting, and the work of its threads.
    pub(super) fn add_loading(&mut self, waited: Duration, worked: Worked) {
        self.waiting += waited.as_secs_f64();
        self.workers.reading += worked.reading.as_secs_f64();
        self.workers.decoding += worked.decoding.as_secs_f64();
        self.workers.augmenting += worked.augmenting.as_secs_f64();
    }

    /// The parts of the loop with their names, and the rest.
    fn parts(&self, device: Device) -> Vec<(&'static str, f64)> {
        let mut parts = match device {
            Device::Cpu => vec![
                ("backward", self.backward),
                ("forward", self.forward),
                ("optimizer", self.optimizer),
            ],
            _ => vec![("training steps", self.steps())],
        };
        parts.extend([
            ("collectives", self.collectives),
            ("features", self.features),
            ("teachers", self.teaching),
            ("solving for the classifier", self.solver),
            ("waiting for photos", self.waiting),
            ("validation", self.validation),
            ("checkpoints", self.checkpoints),
        ]);
        let known: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
        parts.push(("the rest", (self.total - known).max(0.0)));
        parts
    }

    /// Forward and backward passes and updates.
    pub(super) fn steps(&self) -> f64 {
        self.forward + self.backward + self.optimizer
    }

    /// The parts that take at least 1% of the time, the longest first: `62% backward, 21% forward`.
    pub fn shares(&self, device: Device) -> String {
        let mut parts = self.parts(device);
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let percent = |seconds: f64| (100.0 * seconds / self.total).round();
        let shares = parts.into_iter();
        let shares = shares.filter(|(_, seconds)| percent(*seconds) >= 1.0);
        let shares = shares.map(|(name, seconds)| format!("{}% {name}", percent(seconds)));
        shares.collect::<Vec<_>>().join(", ")
    }
}

impl AddAssign for Profile {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.waiting += other.waiting;
        self.features += other.features;
        self.teaching += other.teaching;
        self.forward += other.forward;
        self.backward += other.backward;
        self.optimizer += other.optimizer;
        self.collectives += other.collectives;
        self.solver += other.solver;
        self.validation += other.validation;
        self.checkpoints += other.checkpoints;
        self.workers.reading += other.workers.reading;
        self.workers.decoding += other.workers.decoding;
        self.workers.augmenting += other.workers.augmenting;
    }
}

impl Mul<f64> for Profile {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self {
            total: self.total * factor,
            waiting: self.waiting * factor,
            features: self.features * factor,
            teaching: self.teaching * factor,
            forward: self.forward * factor,
            backward: self.backward * factor,
            optimizer: self.optimizer * factor,
            collectives: self.collectives * factor,
            solver: self.solver * factor,
            validation: self.validation * factor,
            checkpoints: self.checkpoints * factor,
            workers: WorkerSeconds {
                reading: self.workers.reading * factor,
                decoding: self.workers.decoding * factor,
                augmenting: self.workers.augmenting * factor,
            },
        }
    }
}

impl Add for Profile {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Profile {
    fn sum<I: Iterator<Item = Self>>(profiles: I) -> Self {
        let mut sum = Self::default();
        profiles.for_each(|profile| sum += profile);
        sum
    }
}

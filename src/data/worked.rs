//! The time that the workers of a loader spend on photos.

use std::ops::{AddAssign, Mul};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time spent by the worker threads of a loader, added up over the threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worked {
    /// Reading and hashing files.
    pub reading: Duration,
    /// Decoding them, and the plain resize and crop where nothing is augmented.
    pub decoding: Duration,
    /// Random transforms.
    pub augmenting: Duration,
}

impl AddAssign for Worked {
    fn add_assign(&mut self, other: Self) {
        self.reading += other.reading;
        self.decoding += other.decoding;
        self.augmenting += other.augmenting;
    }
}

impl Mul<f64> for Worked {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self {
            reading: self.reading.mul_f64(factor),
            decoding: self.decoding.mul_f64(factor),
            augmenting: self.augmenting.mul_f64(factor),
        }
    }
}

/// One of the times in [`Worked`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Reading,
    Decoding,
    Augmenting,
}

/// Adds up what threads report, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Clocks([AtomicU64; 3]);

impl Clocks {
    /// Does a piece of work, and counts its time.
    pub(super) fn time<T>(&self, work: Work, piece: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = piece();
        let nanoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0[work as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        result
    }

    pub(super) fn worked(&self) -> Worked {
        let [reading, decoding, augmenting] = self
            .0
            .each_ref()
            .map(|sum| Duration::from_nanos(sum.load(Ordering::Relaxed)));
        Worked {
            reading,
            decoding,
            augmenting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let clocks = Clocks::default();
        let nap = Duration::from_millis(2);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| clocks.time(Work::Decoding, || std::thread::sleep(nap)));
            }
        });
        let worked = clocks.worked();
        assert!(worked.decoding >= 3 * nap, "{worked:?}");
        assert_eq!((worked.reading, worked.augmenting), Default::default());
    }
}

//! The time that the workers of a loader spend on photos.

use std::ops::{AddAssign, Mul};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time spent by the worker threads of a loader, added up over the threads.
///
/// Decoding and augmenting are the threads' CPU time where the system tells (Linux), so that a thread
/// whose core is busy otherwise does not seem to work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worked {
    /// Reading and hashing files, with the wait for the disk.
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
        let clock = match work {
            Work::Reading => wall,
            Work::Decoding | Work::Augmenting => busy,
        };
        let started = clock();
        let result = piece();
        let took = clock().saturating_sub(started);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
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

/// Time since the first call.
fn wall() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// CPU time of the calling thread.
#[cfg(target_os = "linux")]
fn busy() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
}

#[cfg(not(target_os = "linux"))]
fn busy() -> Duration {
    wall()
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
                scope.spawn(|| {
                    clocks.time(Work::Reading, || std::thread::sleep(nap));
                    let sums = || (0..100_000u64).fold(1, |a, b| std::hint::black_box(a ^ b));
                    clocks.time(Work::Decoding, sums)
                });
            }
        });
        let worked = clocks.worked();
        assert!(worked.reading >= 3 * nap, "{worked:?}");
        assert!(worked.decoding > Duration::ZERO, "{worked:?}");
        assert_eq!(worked.augmenting, Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_sleeps_is_not_busy() {
        let clocks = Clocks::default();
        let nap = Duration::from_millis(100);
        clocks.time(Work::Augmenting, || std::thread::sleep(nap));
        let augmenting = clocks.worked().augmenting;
        assert!(augmenting < nap / 2, "{augmenting:?}");
    }
}

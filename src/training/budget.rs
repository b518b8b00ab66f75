//! A limit on the time of a run.

use std::time::Instant;

/// The part of what is left that the features of the photos may take, so that something is left to
/// train in.
const FEATURES: f64 = 0.5;

/// The time that a run may take, in this session and the ones before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    seconds: f64,
    started: Instant,
    /// Seconds that earlier sessions took.
    before: f64,
}

impl Budget {
    /// A budget of so many seconds, of which `before` are spent; a session began at `started`.
    pub(super) fn new(seconds: f64, started: Instant, before: f64) -> Self {
        Self {
            seconds,
            started,
            before,
        }
    }

    pub(super) fn spent(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Seconds that are left; negative when the run is late.
    pub(super) fn left(&self) -> f64 {
        self.seconds - self.spent()
    }

    /// Whether computing features has to end, with those that there are.
    pub(super) fn ends_features(&self) -> bool {
        self.spent() > FEATURES * self.seconds
    }

    /// Whether another view of the photos can be had, if it takes so many seconds.
    pub(super) fn allows_view(&self, seconds: f64) -> bool {
        self.spent() + seconds < FEATURES * self.seconds
    }

    /// Epochs of so many seconds that can be had if `phases` share what is left after `reserved`
    /// seconds at the end.
    pub(super) fn epochs(&self, per_epoch: f64, phases: usize, reserved: f64) -> usize {
        let share = (self.left() - reserved) / phases.max(1) as f64;
        // `as` gives 0 for what is negative.
        (share / per_epoch) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_share_what_is_left() {
        let budget = Budget::new(100.0, Instant::now(), 20.0);
        assert_eq!(budget.epochs(9.0, 1, 5.0), 8);
        assert_eq!(budget.epochs(9.0, 2, 5.0), 4);
        assert_eq!(budget.epochs(9.0, 1, 90.0), 0);
        assert!(budget.allows_view(20.0) && !budget.allows_view(31.0));
        assert!(!budget.ends_features());
        assert!(Budget::new(100.0, Instant::now(), 51.0).ends_features());
    }
}

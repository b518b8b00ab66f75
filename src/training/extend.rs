//! Another number of epochs for a run, if the result is that of a run with this number from the
//! start.

use super::checkpoint::State;
use super::config::Config;
use super::schedule::Scheduler;
use crate::values::plural;

/// Why a run can't have another number of epochs.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// Whatever the number.
    Fixed(String),
    /// The number is too small.
    TooFew(String),
}

/// The configuration with another number of epochs, if a run with that number from the start would
/// be at `state` too.
///
/// # Errors
/// The reason why it would not.
pub(super) fn extended(config: &Config, epochs: usize, state: &State) -> Result<Config, Refused> {
    let begun = config.epochs;
    let trained = state.phase_epoch + usize::from(state.batch > 0);
    if matches!(config.scheduler, Scheduler::Cosine | Scheduler::OneCycle) {
        return Err(Refused::Fixed(format!(
            "the {} schedule depends on the number of epochs that the run began with ({begun})",
            config.scheduler.name()
        )));
    }
    if state.phase > 0 {
        return Err(Refused::Fixed(format!(
            "the first phase of the {} recipe is complete ({begun} epochs), and all phases take \
             the same number of epochs",
            config.recipe.name
        )));
    }
    if state.is_out_of_patience(config.early_stop) {
        return Err(Refused::Fixed(format!(
            "the run has stopped early (--early-stop {})",
            config.early_stop
        )));
    }
    if epochs < trained {
        return Err(Refused::TooFew(format!(
            "the run has trained for {} already",
            plural(trained, "epoch")
        )));
    }
    if config.warmup > epochs as f64 {
        return Err(Refused::TooFew(format!(
            "the warmup takes {} epochs",
            config.warmup
        )));
    }
    Ok(Config {
        epochs,
        ..config.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Settings;

    fn config(scheduler: Scheduler) -> Config {
        let settings = Settings {
            scheduler: Some(scheduler),
            epochs: Some(10),
            early_stop: Some(3),
            warmup: Some(2.0),
            ..Settings::default()
        };
        settings.resolve().unwrap()
    }

    #[test]
    fn only_runs_that_would_be_the_same_are_extended() {
        let at = |phase, phase_epoch, epochs_without_improvement| State {
            phase,
            phase_epoch,
            epochs_without_improvement,
            ..State::default()
        };
        let step = config(Scheduler::Step);
        assert_eq!(extended(&step, 40, &at(0, 10, 0)).unwrap().epochs, 40);
        for (config, state, why) in [
            (config(Scheduler::OneCycle), at(0, 10, 0), "one-cycle"),
            (config(Scheduler::Cosine), at(0, 10, 0), "cosine"),
            (step.clone(), at(1, 4, 0), "first phase"),
            (step.clone(), at(0, 8, 3), "stopped early"),
        ] {
            let refused = extended(&config, 40, &state).unwrap_err();
            let Refused::Fixed(reason) = &refused else {
                panic!("{refused:?}");
            };
            assert!(reason.contains(why), "{reason}");
        }
        for (epochs, trained, why) in [(7, 8, "8 epochs already"), (1, 1, "warmup")] {
            let refused = extended(&step, epochs, &at(0, trained, 0)).unwrap_err();
            let Refused::TooFew(reason) = &refused else {
                panic!("{refused:?}");
            };
            assert!(reason.contains(why), "{reason}");
        }
    }
}

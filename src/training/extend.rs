//! More epochs for a run that has begun, as if it had been told so at its start.

use super::checkpoint::State;
use super::schedule::Scheduler;
use super::settings::Config;
use crate::values::plural;

/// Why a run does not go on, for the user.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// For no number of epochs.
    Settled(String),
    /// For so small a number.
    TooFew(String),
}

/// The configuration with another number of epochs, if a run under it could stand at `state`.
///
/// # Errors
/// The reason why not.
pub(super) fn extended(config: &Config, epochs: usize, state: &State) -> Result<Config, Refused> {
    let begun = config.epochs;
    let trained = state.phase_epoch + usize::from(state.batch > 0);
    if matches!(config.scheduler, Scheduler::Cosine | Scheduler::OneCycle) {
        return Err(Refused::Settled(format!(
            "the {} schedule is laid out over the number of epochs that the run began with \
             ({begun})",
            config.scheduler.name()
        )));
    }
    if state.phase > 0 {
        return Err(Refused::Settled(format!(
            "the first phase of the {} recipe is over ({begun} epochs), and all phases take the \
             same number of epochs",
            config.recipe
        )));
    }
    if config.early_stop > 0 && state.stale >= config.early_stop {
        return Err(Refused::Settled(format!(
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
    fn only_what_could_have_been_is_extended() {
        let at = |phase, phase_epoch, stale| State {
            phase,
            phase_epoch,
            stale,
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
            let Refused::Settled(reason) = &refused else {
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

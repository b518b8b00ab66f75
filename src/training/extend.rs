//! More epochs for a run that has begun, as if it had been told so at its start.

use super::checkpoint::State;
use super::schedule::Scheduler;
use super::settings::Config;

/// The configuration with another number of epochs, if a run under it could stand at `state`.
///
/// # Errors
/// The reason why not, for the user.
pub(super) fn extended(config: &Config, epochs: usize, state: &State) -> Result<Config, String> {
    let begun = config.epochs;
    let trained = state.phase_epoch + usize::from(state.batch > 0);
    if matches!(config.scheduler, Scheduler::Cosine | Scheduler::OneCycle) {
        return Err(format!(
            "the {} schedule is laid out over the number of epochs that the run began with \
             ({begun})",
            config.scheduler.name()
        ));
    }
    if state.phase > 0 {
        return Err(format!(
            "the first phase of the {} recipe is over ({begun} epochs), and all phases have the \
             same \
             number",
            config.recipe
        ));
    }
    if config.early_stop > 0 && state.stale >= config.early_stop {
        return Err(format!(
            "the run has stopped early (--early-stop {})",
            config.early_stop
        ));
    }
    if epochs < trained {
        return Err(format!("the run has trained for {trained} epochs already"));
    }
    if config.warmup > epochs as f64 {
        return Err(format!("the warmup takes {} epochs", config.warmup));
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
        for (config, epochs, state, why) in [
            (config(Scheduler::OneCycle), 40, at(0, 10, 0), "one-cycle"),
            (config(Scheduler::Cosine), 40, at(0, 10, 0), "cosine"),
            (step.clone(), 40, at(1, 4, 0), "first phase"),
            (step.clone(), 40, at(0, 8, 3), "stopped early"),
            (step.clone(), 7, at(0, 8, 0), "8 epochs already"),
            (step.clone(), 1, at(0, 1, 0), "warmup"),
        ] {
            let message = extended(&config, epochs, &state).unwrap_err();
            assert!(message.contains(why), "{message}");
        }
    }
}

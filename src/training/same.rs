//! Configurations that processes, or a run and its continuation, have in common.

use toml::{Table, Value};

use super::config::{Config, WeightsSource};
use super::precision::PrecisionChoice;
use crate::error::Result;

/// Settings that may differ between machines.
const OF_MACHINES: [&str; 4] = ["threads", "workers", "cache", "cache-size"];

/// Settings that a run finds out, or may be continued without.
const OF_RUNS: [&str; 4] = ["device", "epochs", "teacher-sha256", "weights-sha256"];

impl Config {
    /// The settings that all processes of a run must have, a line each.
    pub fn portable(&self) -> Result<String> {
        let settings = self.table()?.into_iter();
        let settings = settings.filter(|(name, _)| !OF_MACHINES.contains(&name.as_str()));
        let found = format!("find-lr = {}\n", self.find_lr);
        Ok(settings
            .map(|(name, value)| format!("{name} = {value}\n"))
            .collect::<String>()
            + &found)
    }

    /// The first setting in which a run differs from this configuration such that it can't be continued in
    /// its place, with the value that was asked for.
    pub fn difference(&self, run: &Self) -> Result<Option<String>> {
        let (asked, run) = (self.table()?, run.table()?);
        let is_open = |name: &str| match name {
            "lr" => self.find_lr,
            "precision" => self.precision == PrecisionChoice::Auto,
            "weights" => self.weights == WeightsSource::Auto,
            _ => OF_MACHINES.contains(&name) || OF_RUNS.contains(&name),
        };
        let names = asked.keys().chain(run.keys());
        let mut differing =
            names.filter(|name| !is_open(name) && asked.get(*name) != run.get(*name));
        let shown = |value: Option<&Value>| value.map_or("none".into(), Value::to_string);
        Ok(differing.next().map(|name| {
            let (asked, run) = (shown(asked.get(name)), shown(run.get(name)));
            format!("--{name} {run}, not {asked}")
        }))
    }

    fn table(&self) -> Result<Table> {
        Ok(Table::try_from(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{LearningRate, Settings};

    fn config(change: impl FnOnce(&mut Settings)) -> Config {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.resolve().unwrap()
    }

    #[test]
    fn what_machines_have_and_runs_find_out_may_differ() {
        let usual = config(|_| ());
        let other = config(|settings| {
            (settings.threads, settings.workers) = (Some(7), Some(9));
            settings.epochs = Some(3);
        });
        assert_eq!(usual.difference(&other).unwrap(), None);
        let found = config(|settings| settings.lr = Some(LearningRate::Rate(0.5)));
        let asked = config(|settings| settings.lr = Some(LearningRate::AUTO));
        assert_eq!(asked.difference(&found).unwrap(), None);
        let difference = usual.difference(&found).unwrap().unwrap();
        assert_eq!(difference, "--lr 0.5, not 0.0001");
        let clipped = config(|settings| settings.clip_grad_norm = Some(2.0));
        let difference = usual.difference(&clipped).unwrap().unwrap();
        assert_eq!(difference, "--clip-grad-norm 2.0, not none");
    }

    #[test]
    fn processes_agree_on_all_but_what_machines_have() {
        let usual = config(|_| ()).portable().unwrap();
        let other = config(|settings| settings.threads = Some(7))
            .portable()
            .unwrap();
        assert_eq!(usual, other);
        let seeded = config(|settings| settings.seed = Some(7))
            .portable()
            .unwrap();
        assert!(seeded.contains("seed = 7\n") && seeded != usual, "{seeded}");
    }
}

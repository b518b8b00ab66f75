//! How far a run has got, and whether it is the run that was asked for.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::bundle;
use crate::error::{Error, Result, shown};
use crate::training::{Config, PrecisionChoice, Recorded, WeightsSource};

/// How far a run has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is nothing.
    New,
    /// It was stopped before its first checkpoint: nothing of it can be used.
    Begun,
    /// It goes on from its last checkpoint.
    Interrupted,
    /// Trained and measured.
    Finished,
}

/// What training writes last.
const LAST: &str = "profile.json";

/// What a run writes before its first checkpoint.
const EARLY: [&str; 6] = [
    "run.lock",
    "config.toml",
    "split.json",
    "train.log",
    "history.csv",
    "features",
];
const EARLY_STARTS: [&str; 2] = [".flowers-", "events.out.tfevents."];

/// Options that change how a run is computed, not what it learns; `max-bad` only stops it.
const OF_THE_MACHINE: [&str; 7] = [
    "workers",
    "threads",
    "device",
    "cache",
    "cache-size",
    "checkpoint-minutes",
    "max-bad",
];

impl Standing {
    /// Looks at the folder of a run that is to have a configuration.
    ///
    /// # Errors
    /// [`Error::Usage`] when it holds something else than a run, or a run with other options;
    /// [`Error::Data`] for a broken checkpoint.
    pub(crate) fn of(folder: &Path, config: &Config, recorded: Option<&Recorded>) -> Result<Self> {
        let Some(recorded) = recorded else {
            return Self::without_checkpoint(folder);
        };
        let differences = differences(config, &recorded.config)?;
        if !differences.is_empty() {
            let message = format!(
                "{} was trained with {}: give the same options as then, or choose another --out",
                shown(folder),
                differences.join(", ")
            );
            return Err(Error::Usage(message).into());
        }
        let is_complete = [LAST, bundle::FILE]
            .iter()
            .all(|n| folder.join(n).is_file());
        Ok(match is_complete {
            true => Self::Finished,
            false => Self::Interrupted,
        })
    }

    fn without_checkpoint(folder: &Path) -> Result<Self> {
        if folder.symlink_metadata().is_err() {
            return Ok(Self::New);
        }
        let entries = fs::read_dir(folder).map_err(|cause| {
            let message = format!("{} is in the way of a run: {cause}", shown(folder));
            Error::Usage(message + "; choose another --out")
        })?;
        let mut standing = Self::New;
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_early =
                EARLY.contains(&&*name) || EARLY_STARTS.iter().any(|start| name.starts_with(start));
            if !is_early {
                let message = format!(
                    "{} is not the folder of a run that was interrupted: it has no checkpoint, but \
                     holds {}; choose another --out, or move it away",
                    shown(folder),
                    shown(&name)
                );
                return Err(Error::Usage(message).into());
            }
            standing = Self::Begun;
        }
        Ok(standing)
    }
}

/// In which options a run differs from the one that is asked for, as `--epochs 2, not 3`.
pub(crate) fn differences(asked: &Config, stored: &Config) -> Result<Vec<String>> {
    let (wanted, found) = (options(asked)?, options(stored)?);
    let is_open = |option: &str| match option {
        "weights" => asked.weights == WeightsSource::Auto,
        "weights-sha256" => asked.weights_sha256.is_none(),
        "teacher-sha256" => asked.teacher_sha256.is_empty(),
        "unlabelled-sha256" => asked.unlabelled_sha256.is_none(),
        // Those of a pruned network come with its weights.
        "channels" => asked.channels.is_empty(),
        "precision" => asked.precision == PrecisionChoice::Auto,
        "lr" => asked.find_lr,
        option => OF_THE_MACHINE.contains(&option),
    };
    let all = wanted
        .keys()
        .chain(found.keys().filter(|k| !wanted.contains_key(*k)));
    let differing =
        all.filter(|&option| !is_open(option) && wanted.get(option) != found.get(option));
    Ok(differing
        .map(|option| {
            let [was, is] = [&found, &wanted].map(|options| text(options.get(option)));
            let share = match option.as_str() {
                "time-budget" => " seconds for each run",
                _ => "",
            };
            format!("--{option} {was}{share}, not {is}")
        })
        .collect())
}

fn options(config: &Config) -> Result<Map<String, Value>> {
    Ok(serde_json::from_value(serde_json::to_value(config)?)?)
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".into(),
        Some(Value::String(text)) => shown(text),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Settings;

    fn config(settings: Settings) -> Config {
        settings.resolve().unwrap()
    }

    fn recorded(config: Config) -> Recorded {
        Recorded {
            config,
            split_sha256: None,
            history: Vec::new(),
            seconds: 0.0,
        }
    }

    #[test]
    fn a_run_is_finished_when_its_last_file_is_there() {
        let out = tempfile::tempdir().unwrap();
        let (folder, config) = (out.path().join("resnet18"), config(Settings::default()));
        let of = |recorded: Option<&Recorded>| Standing::of(&folder, &config, recorded).unwrap();
        assert_eq!(of(None), Standing::New);
        fs::create_dir(&folder).unwrap();
        assert_eq!(of(None), Standing::New);
        for name in ["config.toml", "events.out.tfevents.1.2.flowers"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(of(None), Standing::Begun);
        let recorded = recorded(config.clone());
        assert_eq!(of(Some(&recorded)), Standing::Interrupted);
        fs::write(folder.join(bundle::FILE), "").unwrap();
        assert_eq!(of(Some(&recorded)), Standing::Interrupted);
        fs::write(folder.join(LAST), "").unwrap();
        assert_eq!(of(Some(&recorded)), Standing::Finished);
    }

    #[test]
    fn what_is_no_run_is_left_alone() {
        let out = tempfile::tempdir().unwrap();
        let (folder, config) = (out.path().join("resnet18"), config(Settings::default()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("thesis.txt"), "").unwrap();
        let refused = Standing::of(&folder, &config, None)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("thesis.txt"), "{refused}");
    }

    #[test]
    fn other_options_are_named() {
        let asked = |settings| {
            let stored = Settings {
                epochs: Some(3),
                weights: Some("none".into()),
                time_budget: Some(20.0),
                ..Settings::default()
            };
            differences(&config(settings), &config(stored)).unwrap()
        };
        let same = Settings {
            epochs: Some(3),
            weights: Some("auto".into()),
            time_budget: Some(20.0),
            threads: Some(1),
            workers: Some(7),
            max_bad: Some(0.5),
            ..Settings::default()
        };
        assert_eq!(asked(same.clone()), [""; 0]);
        let other = Settings {
            epochs: Some(4),
            weights: Some("imagenet".into()),
            mixup: Some(0.2),
            time_budget: None,
            ..same
        };
        assert_eq!(
            asked(other),
            [
                "--weights none, not imagenet",
                "--epochs 3, not 4",
                "--mixup none, not 0.2",
                "--time-budget 20.0 seconds for each run, not none",
            ]
        );
    }
}

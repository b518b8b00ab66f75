//! The search space: which options of training vary, and between what.

use anyhow::Context;
use clap::{Args, Command};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::names;
use crate::training::{Settings, check_freeze_point};

/// The options that a search may vary: what a network learns with. The others are the same for all
/// trials: what they are compared on, how long they train, and how it is computed.
pub(super) const SEARCHABLE: [&str; 21] = [
    "lr",
    "weight-decay",
    "label-smoothing",
    "dropout",
    "augment",
    "random-erasing",
    "mixup",
    "cutmix",
    "freeze-until",
    "image-size",
    "batch-size",
    "optimizer",
    "scheduler",
    "warmup",
    "accumulate",
    "clip-grad-norm",
    "ema",
    "class-weights",
    "distill-method",
    "distill-weight",
    "temperature",
];

/// An option that varies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dimension {
    /// As on the command line, without the dashes.
    pub option: String,
    pub domain: Domain,
}

/// What an option is drawn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Domain {
    /// Each as likely as the others.
    Choices(Vec<Value>),
    Range(Range),
}

/// Numbers from `min` to `max`, evenly or, if `log` is set, with evenly distributed logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub min: f64,
    pub max: f64,
    #[serde(default)]
    pub log: bool,
    /// Whether only whole numbers are drawn: the option decides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

/// Reads a `--space` file: for each option a list of values, or a table of `min`, `max` and perhaps
/// `log`. Every value and both ends of each range are checked together with the settings that all
/// trials share.
///
/// # Errors
/// [`Error::Usage`] for an unknown option, with the nearest known one, for one that can't be searched or
/// is given among the settings too, and for values that the option does not take.
pub(crate) fn read(text: &str, shared: &Settings) -> Result<Vec<Dimension>> {
    let table: Table = text.parse().map_err(usage)?;
    if table.is_empty() {
        return Err(usage("it names no option to search"));
    }
    let mut space = Vec::new();
    for (option, values) in table {
        require_searchable(&option)?;
        let domain = Domain::read(&option, values).with_context(|| option.clone())?;
        let dimension = Dimension { option, domain };
        let named = || dimension.option.clone();
        if dimension.is_given(shared).with_context(named)? {
            return Err(usage(format_args!(
                "{}: it is given as --{0} or in --config too: leave it out there, or here",
                dimension.option
            )));
        }
        dimension.check(shared).with_context(named)?;
        space.push(dimension);
    }
    Ok(space)
}

fn require_searchable(option: &str) -> Result<()> {
    if SEARCHABLE.contains(&option) {
        return Ok(());
    }
    let settings = Settings::augment_args(Command::new("settings"));
    let mut known = settings.get_arguments().filter_map(|arg| arg.get_long());
    Err(match known.any(|known| known == option) {
        true => usage(format_args!(
            "{option} can't be searched: it is the same for all trials; give it as --{option}"
        )),
        false => names::unknown("option to search", option, SEARCHABLE).into(),
    })
}

/// Values of options as settings.
///
/// # Errors
/// [`Error::Usage`] for a value of the wrong type.
pub(super) fn settings(values: &Table) -> Result<Settings> {
    let settings = values.clone().try_into();
    settings.map_err(|cause: toml::de::Error| usage(cause.message()))
}

impl Dimension {
    /// The values that stand for all: every choice, or both ends of a range.
    fn ends(&self) -> Vec<Table> {
        let values = match &self.domain {
            Domain::Choices(choices) => choices.clone(),
            Domain::Range(range) => [range.min, range.max].map(|x| range.value(x)).to_vec(),
        };
        let alone = |value| Table::from_iter([(self.option.clone(), value)]);
        values.into_iter().map(alone).collect()
    }

    /// Whether settings have a value for the option.
    pub(super) fn is_given(&self, shared: &Settings) -> Result<bool> {
        let Some(end) = self.ends().into_iter().next() else {
            return Ok(false);
        };
        Ok(shared.clone().over(settings(&end)?) == *shared)
    }

    /// Checks each value as `train --config` would, with the network that it asks for.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the value and those that the option takes.
    pub(super) fn check(&self, shared: &Settings) -> Result<()> {
        for end in self.ends() {
            let config = settings(&end)?.over(shared.clone()).resolve()?;
            config.arch.graph(&config.model_options(2))?;
            check_freeze_point(&config)?;
        }
        Ok(())
    }
}

impl Domain {
    fn read(option: &str, values: Value) -> Result<Self> {
        match values {
            Value::Array(choices) if !choices.is_empty() => {
                let is_repeated = |at: usize| choices[..at].contains(&choices[at]);
                match (0..choices.len()).find(|&at| is_repeated(at)) {
                    Some(at) => Err(usage(format_args!("{} is listed twice", choices[at]))),
                    None => Ok(Self::Choices(choices)),
                }
            }
            Value::Table(range) => {
                let range: Range = range.try_into().map_err(usage)?;
                range.of_option(option).map(Self::Range)
            }
            _ => Err(usage(
                "expected a list of values, e.g. [0.1, 0.2], or a range, e.g. { min = 1e-4, max = \
                 1e-2, log = true }",
            )),
        }
    }
}

impl Range {
    /// The range, with whole numbers where the option takes no others.
    fn of_option(self, option: &str) -> Result<Self> {
        let takes = |value| settings(&Table::from_iter([(option.into(), value)])).is_ok();
        let whole = match [Value::Float(0.5), Value::Integer(1)].map(takes) {
            [true, _] => false,
            [false, true] => true,
            [false, false] => return Err(usage("it takes no numbers: list its values")),
        };
        let Self { min, max, log, .. } = self;
        if !(min.is_finite() && max.is_finite() && min < max) {
            return Err(usage(format_args!(
                "min ({min}) must be less than max ({max})"
            )));
        }
        if log && min <= 0.0 {
            return Err(usage(format_args!(
                "with log = true, min ({min}) must be more than 0"
            )));
        }
        if whole && (min.fract() != 0.0 || max.fract() != 0.0) {
            return Err(usage("it takes whole numbers only"));
        }
        Ok(Self { whole, ..self })
    }

    /// A number of the range as a value of the option.
    pub(super) fn value(&self, number: f64) -> Value {
        match self.whole {
            true => Value::Integer(number as i64),
            false => Value::Float(number),
        }
    }
}

/// A number of three digits, which are as good as more, and can be read.
pub(super) fn three_digits(number: f64) -> f64 {
    format!("{number:.2e}").parse().unwrap_or(number)
}

fn usage(message: impl ToString) -> anyhow::Error {
    let message = message.to_string();
    let words: Vec<&str> = message.split_whitespace().collect();
    Error::Usage(words.join(" ")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    fn refused(text: &str, shared: &Settings) -> String {
        let error = read(text, shared).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{text}: {error:#}");
        format!("{error:#}")
    }

    #[test]
    fn a_space_is_lists_and_ranges() {
        let text = "lr = { min = 1e-5, max = 0.1, log = true }\nimage-size = [64, 96]\n\
                    batch-size = { min = 8, max = 64 }\naugment = [\"none\", \"recipe\"]\n\
                    dropout = { min = 0, max = 0.5 }";
        let space = read(text, &Settings::default()).unwrap();
        let domain = |option: &str| {
            let found = space.iter().find(|one| one.option == option);
            found.unwrap().domain.clone()
        };
        assert_eq!(space.len(), 5);
        let sizes = vec![Value::Integer(64), Value::Integer(96)];
        assert_eq!(domain("image-size"), Domain::Choices(sizes));
        let range = |min, max, log, whole| {
            Domain::Range(Range {
                min,
                max,
                log,
                whole,
            })
        };
        assert_eq!(domain("lr"), range(1e-5, 0.1, true, false));
        // The option decides which numbers there are, not how they are written.
        assert_eq!(domain("batch-size"), range(8.0, 64.0, false, true));
        assert_eq!(domain("dropout"), range(0.0, 0.5, false, false));
        let stored = serde_json::to_string(&space).unwrap();
        let again: Vec<Dimension> = serde_json::from_str(&stored).unwrap();
        assert_eq!(again, space);
    }

    #[test]
    fn the_options_that_are_searched_are_options() {
        let settings = Settings::augment_args(Command::new("settings"));
        let known: Vec<&str> = settings
            .get_arguments()
            .filter_map(|arg| arg.get_long())
            .collect();
        for option in SEARCHABLE {
            assert!(known.contains(&option), "{option}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str| refused(text, &Settings::default());
        let unknown = refused("weight_decay = [0.1]");
        assert!(unknown.contains("did you mean weight-decay?"), "{unknown}");
        for (text, words) in [
            ("", "no option"),
            ("lr = ", "TOML parse error"),
            ("seed = [1, 2]", "seed can't be searched"),
            ("lr = 0.1", "lr: expected a list of values"),
            ("lr = []", "lr: expected a list of values"),
            ("lr = [0.1, 0.1]", "lr: 0.1 is listed twice"),
            ("lr = [0.1, -1.0]", "lr: --lr must be a positive number"),
            ("lr = [true]", "lr: expected a number or \"auto\""),
            ("lr = { min = 0.1 }", "max"),
            ("lr = { min = 0.1, max = 0.2, step = 1 }", "step"),
            (
                "lr = { min = 0.2, max = 0.1 }",
                "lr: min (0.2) must be less",
            ),
            ("lr = { min = 0, max = 0.1, log = true }", "more than 0"),
            (
                "dropout = { min = 0, max = 1 }",
                "dropout: --dropout must be",
            ),
            ("augment = { min = 0, max = 1 }", "list its values"),
            ("augment = [\"strong\"]", "augment: "),
            ("batch-size = { min = 8.5, max = 9 }", "whole numbers"),
            ("image-size = [16]", "--image-size must be 32 to 1024"),
            ("freeze-until = [\"layer9\"]", "no such layer"),
            ("warmup = [99]", "--warmup"),
        ] {
            let said = refused(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(three_digits(0.000_123_456), 0.000_123);
        assert_eq!(three_digits(0.0), 0.0);
    }

    #[test]
    fn what_is_given_is_not_searched() {
        let shared = Settings {
            dropout: Some(0.1),
            ..Settings::default()
        };
        let said = refused("dropout = [0.2, 0.3]", &shared);
        assert!(said.contains("given as --dropout"), "{said}");
        let fast = Settings {
            recipe: Some("fast".into()),
            ..Settings::default()
        };
        let said = refused("freeze-until = [\"layer4.0.conv2\"]", &fast);
        assert!(said.contains("inside a block"), "{said}");
    }
}

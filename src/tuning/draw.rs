//! Random values from the search space, each trial's from a stream of its own.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use toml::{Table, Value};

use super::space::{Dimension, Domain, Range, three_digits};
use crate::data::content::sha256;

/// After so many draws that were had before, the space counts as exhausted.
const ATTEMPTS: usize = 1000;

/// Draws the values of a trial, counted from 0, until `is_new`; `None` when the space holds nothing new.
/// They depend on the seed and the number alone, as long as they are new.
pub(super) fn draw(
    space: &[Dimension],
    seed: u64,
    trial: usize,
    is_new: impl Fn(&Table) -> bool,
) -> Option<Table> {
    let key = sha256(&[b"trial", &seed.to_le_bytes(), &trial.to_le_bytes()]);
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut draws = (0..ATTEMPTS).map(|_| {
        let value = |one: &Dimension| (one.option.clone(), one.domain.draw(&mut rng));
        space.iter().map(value).collect()
    });
    draws.find(is_new)
}

impl Domain {
    fn draw(&self, rng: &mut ChaCha8Rng) -> Value {
        match self {
            Self::Choices(choices) => choices[rng.random_range(0..choices.len())].clone(),
            Self::Range(range) => range.value(range.at(rng.random())),
        }
    }
}

impl Range {
    /// The number at a position from 0, the smallest, to 1.
    fn at(&self, position: f64) -> f64 {
        let between = |low: f64, high: f64| low + position * (high - low);
        let on_scale = |low: f64, high: f64| match self.log {
            true => between(low.ln(), high.ln()).exp(),
            false => between(low, high),
        };
        let number = match self.whole {
            // Both ends are as likely as the numbers between.
            true => on_scale(self.min - 0.5, self.max + 0.5).round(),
            false => three_digits(on_scale(self.min, self.max)),
        };
        number.clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Settings;
    use crate::tuning::space::read;

    fn space() -> Vec<Dimension> {
        let text = "lr = { min = 1e-4, max = 1.0, log = true }\ndropout = { min = 0.2, max = 0.6 }\n\
                    batch-size = { min = 2, max = 4 }\naugment = [\"none\", \"recipe\"]";
        read(text, &Settings::default()).unwrap()
    }

    #[test]
    fn draws_follow_the_space() {
        let space = space();
        let all: Vec<Table> = (0..600)
            .map(|trial| draw(&space, 7, trial, |_| true).unwrap())
            .collect();
        let share = |is: &dyn Fn(&Table) -> bool| {
            all.iter().filter(|values| is(values)).count() as f64 / 600.0
        };
        let number = |values: &Table, option: &str| values[option].as_float().unwrap();
        assert!(all.iter().all(|v| (1e-4..=1.0).contains(&number(v, "lr"))));
        // A quarter of the logarithms, and of the numbers.
        let low = share(&|v| number(v, "lr") < 1e-3);
        assert!((0.18..0.32).contains(&low), "{low}");
        let low = share(&|v| number(v, "dropout") < 0.3);
        assert!((0.18..0.32).contains(&low), "{low}");
        for size in 2..=4 {
            let found = share(&|v| v["batch-size"] == Value::Integer(size));
            assert!((0.25..0.42).contains(&found), "{size}: {found}");
        }
        let plain = share(&|v| v["augment"].as_str() == Some("none"));
        assert!((0.4..0.6).contains(&plain), "{plain}");
    }

    #[test]
    fn a_trial_has_a_stream_of_its_own() {
        let space = space();
        let of = |seed, trial| draw(&space, seed, trial, |_| true).unwrap();
        assert_eq!(of(3, 5), of(3, 5));
        assert_ne!(of(3, 5), of(3, 6));
        assert_ne!(of(3, 5), of(4, 5));
        let first = of(3, 5);
        assert_ne!(
            draw(&space, 3, 5, |values| *values != first).unwrap(),
            first
        );
    }

    #[test]
    fn a_small_space_ends() {
        let space = read("augment = [\"none\", \"recipe\"]", &Settings::default()).unwrap();
        let known = ["none", "recipe"].map(Some);
        let is_new = |values: &Table| !known.contains(&values["augment"].as_str());
        assert_eq!(draw(&space, 0, 2, is_new), None);
    }
}

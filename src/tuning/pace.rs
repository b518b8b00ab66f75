//! How long a trial is going to take, from what others took.

use super::trial::Trial;
use crate::training::Config;

/// Seconds that epochs `from..to` of a trial are going to take: the mean of what others took for the
/// same epochs, or for any where none had these, in proportion to the number of pixels. 0 before any
/// epoch was timed.
pub(super) fn forecast(trials: &[Trial], config: &Config, from: usize, to: usize) -> f64 {
    let pixels = |config: &Config| (config.image_size * config.image_size) as f64;
    let timed = |epoch: Option<usize>| {
        let seconds = trials.iter().flat_map(|trial| {
            let all = trial.record.seconds.iter().enumerate();
            let wanted = all.filter(move |(at, _)| epoch.is_none_or(|epoch| epoch == *at));
            wanted.map(|(_, seconds)| seconds / pixels(&trial.config))
        });
        mean(seconds)
    };
    let any = timed(None).unwrap_or(0.0);
    let each = (from..to).map(|epoch| timed(Some(epoch)).unwrap_or(any));
    pixels(config) * each.sum::<f64>()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml::Table;

    use super::*;
    use crate::training::Settings;
    use crate::tuning::trial::Record;

    #[test]
    fn times_are_those_of_the_same_epochs_and_pixels() {
        let sized = |image_size| Settings {
            image_size: Some(image_size),
            ..Settings::default()
        };
        let trial = |size, seconds: &[f64]| {
            let mut record = Record::new(Table::new(), 0);
            record.seconds = seconds.to_vec();
            Trial::of(0, record, &sized(size), Path::new("out")).unwrap()
        };
        let config = |size| sized(size).resolve().unwrap();
        assert_eq!(forecast(&[], &config(64), 0, 3), 0.0);
        let trials = [
            trial(64, &[10.0, 2.0]),
            trial(64, &[20.0]),
            trial(128, &[60.0]),
        ];
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        near(forecast(&trials, &config(64), 0, 1), 15.0);
        near(forecast(&trials, &config(64), 1, 2), 2.0);
        near(forecast(&trials, &config(128), 0, 2), 68.0);
        // Nobody had a third epoch: the mean of all.
        near(forecast(&trials, &config(64), 2, 3), 11.75);
    }
}

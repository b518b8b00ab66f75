//! The remaining time of a run, estimated from the time that its parts took so far.

use std::time::{Duration, Instant};

use super::Event;

/// The time to validate an image as a fraction of the time to train on it, until it is measured.
const VALIDATION_FRACTION: f64 = 1.0 / 3.0;

/// Estimates the remaining time of a run from its events.
#[derive(Debug, Default)]
pub struct Forecast {
    train: Pace,
    val: Pace,
    /// Epochs after the current one.
    epochs_after: usize,
    /// When the last event happened.
    since: Option<Instant>,
}

/// The speed of one half of an epoch.
#[derive(Debug, Default)]
struct Pace {
    /// Images in an epoch.
    images: usize,
    /// Those of the current epoch that are done.
    done: usize,
    /// Images that were timed, and their time.
    timed: usize,
    seconds: f64,
}

impl Pace {
    fn seconds_per_image(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.seconds / self.timed as f64)
    }

    fn advance(&mut self, images: usize, took: Duration) {
        self.done += images;
        self.timed += images;
        self.seconds += took.as_secs_f64();
    }
}

impl Forecast {
    /// Takes in an event that happened at `now`.
    pub fn update(&mut self, event: &Event<'_>, now: Instant) {
        let took = self
            .since
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        match event {
            // Another phase trains other layers, at another speed.
            Event::Phase { .. } => self.train = Pace::default(),
            Event::Training {
                images,
                done,
                validated,
                epochs_after,
                ..
            } => {
                (self.train.images, self.train.done) = (*images, *done);
                (self.val.images, self.val.done) = (*validated, 0);
                self.epochs_after = *epochs_after;
            }
            Event::Batch { images, .. } => self.train.advance(*images, took),
            Event::Validating { .. } => {}
            Event::Validated { images } => self.val.advance(*images, took),
            Event::Epoch { .. }
            | Event::Extracting { .. }
            | Event::Extracted { .. }
            | Event::FeaturesCut { .. }
            | Event::Scaled { .. }
            | Event::Planned { .. } => {}
        }
        self.since = Some(now);
    }

    /// The time until the last epoch ends if no phase is stopped early; `None` before the first
    /// batch.
    pub fn left(&self) -> Option<Duration> {
        let train = self.train.seconds_per_image()?;
        let val = self.val.seconds_per_image();
        let val = val.unwrap_or(train * VALIDATION_FRACTION);
        let of = |train_images: usize, val_images: usize| {
            train * train_images as f64 + val * val_images as f64
        };
        let rest = |pace: &Pace| pace.images.saturating_sub(pace.done);
        let epoch = of(self.train.images, self.val.images);
        let seconds = of(rest(&self.train), rest(&self.val)) + self.epochs_after as f64 * epoch;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::augment::Augmentations;
    use crate::training::checkpoint::Running;
    use crate::training::phase::{Frozen, Inputs, Method, Phase};

    fn phase() -> Phase {
        Phase {
            name: "train",
            epochs: 5,
            learning_rate: 0.1,
            inputs: Inputs::Photos(Augmentations::scratch(32)),
            frozen: Frozen::Nothing,
            method: Method::GradientDescent,
            interpolation: None,
            keeps_last: false,
        }
    }

    fn training(phase: &Phase, epochs_after: usize, done: usize) -> Event<'_> {
        Event::Training {
            epoch: 5 - epochs_after,
            phase,
            images: 100,
            done,
            validated: 30,
            epochs_after,
        }
    }

    /// Remaining seconds after events, each at a second of the clock.
    fn left(events: &[(u64, Event<'_>)]) -> Option<f64> {
        let start = Instant::now();
        let mut forecast = Forecast::default();
        for (second, event) in events {
            forecast.update(event, start + Duration::from_secs(*second));
        }
        forecast.left().map(|left| left.as_secs_f64())
    }

    #[test]
    fn the_rest_of_the_epoch_and_the_epochs_after_it_are_counted() {
        let (running, phase) = (&Running::default(), &phase());
        let batch = |images| Event::Batch { images, running };
        assert_eq!(left(&[(0, training(phase, 4, 0))]), None);
        // Half of the training at 1 s an image, then 30 to validate at a third of that.
        let mut events = vec![(0, training(phase, 4, 0)), (50, batch(50))];
        let near = |left: Option<f64>, seconds: f64| {
            assert!((left.unwrap() - seconds).abs() < 1e-6, "{left:?}");
        };
        near(left(&events), 50.0 + 10.0 + 4.0 * 110.0);
        events.push((100, batch(50)));
        events.push((102, Event::Validating { images: 30 }));
        events.push((117, Event::Validated { images: 30 }));
        // Validation took half a second an image.
        near(left(&events), 4.0 * (100.0 + 15.0));
        events.push((120, training(phase, 0, 0)));
        near(left(&events), 115.0);
    }

    #[test]
    fn a_resumed_epoch_is_estimated_from_its_own_batches() {
        let (running, phase) = (&Running::default(), &phase());
        let batch = Event::Batch {
            images: 10,
            running,
        };
        let events = [(0, training(phase, 0, 80)), (20, batch)];
        // 10 of 20 images in 20 s, and 30 to validate.
        let seconds = left(&events).unwrap();
        assert!((seconds - (20.0 + 20.0)).abs() < 1e-6, "{seconds}");
    }
}

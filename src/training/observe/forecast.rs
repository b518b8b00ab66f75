//! How long the rest of a training takes, judged by how long its parts took so far.

use std::time::{Duration, Instant};

use super::Event;

/// What an image costs to validate, as a share of what it costs to train on, until it is known.
const VALIDATION_SHARE: f64 = 1.0 / 3.0;

/// Hears the events of a run and tells the time that is left.
#[derive(Debug, Default)]
pub struct Forecast {
    train: Pace,
    val: Pace,
    /// Epochs after the current one.
    epochs_after: usize,
    /// When the last piece of work ended.
    since: Option<Instant>,
}

/// One kind of work within an epoch.
#[derive(Debug, Default)]
struct Pace {
    /// Images of an epoch.
    images: usize,
    /// Of the current epoch.
    done: usize,
    /// Images that were timed, and their time.
    timed: usize,
    seconds: f64,
}

impl Pace {
    fn seconds_an_image(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.seconds / self.timed as f64)
    }

    fn advance(&mut self, images: usize, took: Duration) {
        self.done += images;
        self.timed += images;
        self.seconds += took.as_secs_f64();
    }
}

impl Forecast {
    /// Takes in an event that happens at a time.
    pub fn hear(&mut self, event: &Event<'_>, now: Instant) {
        let took = self
            .since
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        match event {
            // Other layers are trained from here on, at another pace.
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
            Event::Epoch { .. } => {}
        }
        self.since = Some(now);
    }

    /// The time until the last epoch ends, unless an early stop comes first; `None` before there
    /// is anything to judge by.
    pub fn left(&self) -> Option<Duration> {
        let train = self.train.seconds_an_image()?;
        let val = self.val.seconds_an_image();
        let val = val.unwrap_or(train * VALIDATION_SHARE);
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
    use crate::training::checkpoint::Running;
    use crate::training::recipe::{Frozen, Phase};

    const PHASE: Phase = Phase {
        name: "train",
        epochs: 5,
        learning_rate: 0.1,
        frozen: Frozen::Nothing,
    };

    fn training<'a>(epochs_after: usize, done: usize) -> Event<'a> {
        Event::Training {
            epoch: 5 - epochs_after,
            phase: &PHASE,
            images: 100,
            done,
            validated: 30,
            epochs_after,
        }
    }

    /// Seconds that are left after events, each at a second of the clock.
    fn left(events: &[(u64, Event<'_>)]) -> Option<f64> {
        let start = Instant::now();
        let mut forecast = Forecast::default();
        for (second, event) in events {
            forecast.hear(event, start + Duration::from_secs(*second));
        }
        forecast.left().map(|left| left.as_secs_f64())
    }

    #[test]
    fn the_rest_of_the_epoch_and_the_epochs_after_it_count() {
        let running = &Running::default();
        let batch = |images| Event::Batch { images, running };
        assert_eq!(left(&[(0, training(4, 0))]), None);
        // Half of the training at 1 s an image, then 30 to validate at a third of that.
        let mut events = vec![(0, training(4, 0)), (50, batch(50))];
        let near = |left: Option<f64>, seconds: f64| {
            assert!((left.unwrap() - seconds).abs() < 1e-6, "{left:?}");
        };
        near(left(&events), 50.0 + 10.0 + 4.0 * 110.0);
        events.push((100, batch(50)));
        events.push((102, Event::Validating { images: 30 }));
        events.push((117, Event::Validated { images: 30 }));
        // Validation took half a second an image.
        near(left(&events), 4.0 * (100.0 + 15.0));
        events.push((120, training(0, 0)));
        near(left(&events), 115.0);
    }

    #[test]
    fn a_resumed_epoch_is_judged_by_what_is_done_now() {
        let running = &Running::default();
        let batch = Event::Batch {
            images: 10,
            running,
        };
        let events = [(0, training(0, 80)), (20, batch)];
        // 10 of 20 images in 20 s, and 30 to validate.
        let seconds = left(&events).unwrap();
        assert!((seconds - (20.0 + 20.0)).abs() < 1e-6, "{seconds}");
    }
}

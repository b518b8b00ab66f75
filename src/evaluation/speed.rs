//! How fast backends answer on this machine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::inference::{Backend, Images};

/// Turns of each backend, after one that warms up: at least, however long they take, and at most. The
/// more there are, the less it matters in whose turn another process computes.
const TURNS: [usize; 2] = [5, 40];

/// A backend and the batch that it is timed on, 8-bit RGB.
pub(crate) struct Subject<'a> {
    pub backend: &'a dyn Backend,
    pub pixels: &'a [u8],
}

/// 8-bit RGB of `n` images, the same each time.
pub(crate) fn random_images(n: usize, size: usize) -> Vec<u8> {
    let mut pixels = vec![0; n * 3 * size * size];
    ChaCha8Rng::seed_from_u64(0).fill_bytes(&mut pixels);
    pixels
}

/// Seconds of each pass until `seconds` are over and there are `fewest`.
///
/// # Errors
/// As [`Backend::logits`].
pub(crate) fn repeat(
    backend: &dyn Backend,
    pixels: &[u8],
    seconds: f64,
    fewest: usize,
) -> Result<Vec<f64>> {
    let begin = Instant::now();
    let mut passes = Vec::new();
    while passes.len() < fewest || begin.elapsed().as_secs_f64() < seconds {
        let started = Instant::now();
        backend.logits(Images::Rgb8(pixels))?;
        passes.push(started.elapsed().as_secs_f64());
    }
    Ok(passes)
}

/// Seconds of each pass of every subject, sorted. The subjects take short turns, in one order and in
/// the reverse, so that whatever else the machine does slows all of them alike; each turn is a pass
/// at least. They end when `seconds` for each subject are over, or somewhat later for slow ones. `each`
/// is called after every turn, at most as often as [`most_turns`] says.
///
/// # Errors
/// As [`Backend::logits`], and [`Error::Interrupted`] when `stop` is set.
pub(crate) fn alternate(
    subjects: &[Subject<'_>],
    seconds: f64,
    stop: &AtomicBool,
    mut each: impl FnMut(),
) -> Result<Vec<Vec<f64>>> {
    let [fewest, most] = TURNS;
    let all = seconds * subjects.len() as f64;
    let begin = Instant::now();
    let mut passes = vec![Vec::new(); subjects.len()];
    for turn in 0..=most {
        if turn > fewest && begin.elapsed().as_secs_f64() > all {
            break;
        }
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        if turn % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let Subject { backend, pixels } = subjects[index];
            let found = repeat(backend, pixels, seconds / most as f64, 1)?;
            if turn > 0 {
                passes[index].extend(found);
            }
            each();
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted("stopped".into()).into());
            }
        }
    }
    for passes in &mut passes {
        passes.sort_by(f64::total_cmp);
    }
    Ok(passes)
}

/// Turns that [`alternate`] takes at most with so many subjects.
pub(crate) fn most_turns(subjects: usize) -> usize {
    (1 + TURNS[1]) * subjects
}

/// The value below which a share of the sorted values lies, between neighbours in proportion, as
/// NumPy's `quantile` has it by default. None have the percentile 0.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = share * last as f64;
    let below = sorted[place as usize];
    let above = sorted[(place as usize + 1).min(last)];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::inference::Execution;

    /// Notes in which order it and its like are asked.
    struct Noting<'a>(char, &'a Mutex<String>);

    impl Backend for Noting<'_> {
        fn logits(&self, _images: Images<'_>) -> Result<Vec<f32>> {
            self.1.lock().unwrap().push(self.0);
            Ok(vec![0.0])
        }

        fn classes(&self) -> usize {
            1
        }

        fn image_size(&self) -> usize {
            1
        }

        fn execution(&self) -> Execution {
            Execution::PLAIN
        }
    }

    #[test]
    fn subjects_take_turns_and_the_first_turn_does_not_count() {
        let order = Mutex::new(String::new());
        let (a, b) = (Noting('a', &order), Noting('b', &order));
        let subjects = [&a, &b].map(|backend| Subject {
            backend,
            pixels: &[],
        });
        let (mut turns, stop) = (0, AtomicBool::new(false));
        let passes = alternate(&subjects, 0.0, &stop, || turns += 1).unwrap();
        assert_eq!(*order.lock().unwrap(), "ab".to_owned() + "baabbaabba");
        let counts: Vec<usize> = passes.iter().map(Vec::len).collect();
        assert_eq!(counts, [5, 5]);
        assert!(turns == 12 && turns <= most_turns(2));
        stop.store(true, Ordering::Relaxed);
        let stopped = alternate(&subjects, 0.0, &stop, || {}).unwrap_err();
        assert_eq!(crate::error::exit_code(&stopped), 130);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(percentile(&sorted, 0.0), 1.0);
        assert_eq!(percentile(&sorted, 0.5), 3.0);
        assert_eq!(percentile(&sorted, 1.0), 8.0);
        // Place 2.97 of 0 to 3: 4 + 0.97 * (8 - 4).
        assert!((percentile(&sorted, 0.99) - 7.88).abs() < 1e-9);
        assert_eq!(percentile(&[5.0], 0.99), 5.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
        let hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.99), 99.0);
    }

    #[test]
    fn images_are_the_same_each_time() {
        assert_eq!(random_images(2, 4).len(), 96);
        assert_eq!(random_images(2, 4), random_images(2, 4));
        assert!(random_images(2, 4)[..48] != random_images(2, 4)[48..]);
    }
}

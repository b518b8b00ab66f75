//! How far each step prunes.

use crate::error::Result;

/// Fractions of a network's operations, one for each step, falling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule(pub Vec<f64>);

/// Without a number of steps, one step leaves at least this fraction of what the last one left.
const STEP: f64 = 0.75;

/// Without a target, the least fraction that is tried.
const LEAST: f64 = 0.1;

/// Measurements that look for the network which is fast enough.
const TRIES: usize = 6;

impl Schedule {
    /// Steps in equal proportions down to a target, or down to a tenth where there is none: in so many
    /// steps, or in as many as it takes.
    pub(crate) fn new(target: Option<f64>, steps: Option<usize>) -> Self {
        let target = target.unwrap_or(LEAST);
        let needed = (target.ln() / STEP.ln()).ceil().max(1.0) as usize;
        let steps = steps.unwrap_or(needed);
        let fraction = |step: usize| target.powf(step as f64 / steps as f64);
        Self((1..=steps).map(fraction).collect())
    }
}

/// The largest fraction of operations found with which a network is `wanted` times as fast as the whole
/// one, or the last that was tried. `speedup` gives how many times as fast a fraction makes it, or `None`
/// for a fraction that is too small; it is called with falling fractions.
///
/// # Errors
/// Those of `speedup`.
pub(crate) fn for_speedup(
    wanted: f64,
    mut speedup: impl FnMut(f64) -> Result<Option<f64>>,
) -> Result<Option<f64>> {
    let mut fraction = 1.0 / wanted;
    let mut last = None;
    for _ in 0..TRIES {
        let Some(found) = speedup(fraction)? else {
            break;
        };
        last = Some(fraction);
        if found >= wanted {
            break;
        }
        // At least a little further, so that noise does not keep it where it is.
        fraction *= (found / wanted).min(0.97);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_equal_in_proportion() {
        let Schedule(half) = Schedule::new(Some(0.5), None);
        assert_eq!(half.len(), 3);
        let expected = [0.793_70, 0.629_96, 0.5];
        for (found, expected) in half.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{half:?}");
        }
        assert_eq!(Schedule::new(Some(0.5), Some(1)), Schedule(vec![0.5]));
        assert_eq!(Schedule::new(Some(0.9), None).0.len(), 1);
        let Schedule(open) = Schedule::new(None, None);
        assert!(open.len() == 9 && (open[8] - 0.1).abs() < 1e-12, "{open:?}");
    }

    #[test]
    fn fewer_operations_are_tried_until_it_is_fast_enough() {
        // A third of the time does not depend on the operations.
        let mut tried = Vec::new();
        let found = for_speedup(1.5, |fraction| {
            tried.push(fraction);
            Ok(Some(1.0 / (1.0 / 3.0 + fraction * 2.0 / 3.0)))
        });
        let found = found.unwrap().unwrap();
        assert!(tried.is_sorted_by(|a, b| a > b), "{tried:?}");
        assert!(found <= 0.5 && found > 0.4, "{tried:?}");
        let never = for_speedup(4.0, |fraction| Ok((fraction > 0.1).then_some(1.0)));
        assert_eq!(never.unwrap(), Some(0.25));
        assert_eq!(for_speedup(2.0, |_| Ok(None)).unwrap(), None);
    }
}

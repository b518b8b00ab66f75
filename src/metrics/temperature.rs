//! The temperature that makes probabilities say how often they are right.

use super::scores::scaled_log_softmax;

/// Temperatures that are sought lie between this and its inverse.
const HIGHEST: f64 = 20.0;
/// Steps of the search; each narrows the interval to 0.618 of it.
const STEPS: usize = 40;

/// The temperature that logits are to be divided by so that the cross-entropy is smallest (Guo et al.,
/// 2017). `logits` is row-major (n, classes), `truth` holds n class ids. So that few images that are
/// all right do not make a model certain, labels are smoothed by 1 / (n + 2), as Platt (1999) does.
/// 1 where there is nothing to choose from.
pub fn temperature(truth: &[usize], logits: &[f32], classes: usize) -> f64 {
    if truth.is_empty() || classes < 2 {
        return 1.0;
    }
    let smoothing = 1.0 / (truth.len() as f64 + 2.0);
    // Convex in the inverse of the temperature, hence with one minimum in its logarithm.
    let loss = |log_inverse: f64| {
        let rows = truth.iter().zip(logits.chunks(classes));
        rows.map(|(&truth, row)| {
            let log_p = scaled_log_softmax(row, log_inverse.exp());
            let all: f64 = log_p.iter().sum();
            -(1.0 - smoothing) * log_p[truth] - smoothing * all / classes as f64
        })
        .sum::<f64>()
    };
    (-golden_section(loss, -HIGHEST.ln(), HIGHEST.ln())).exp()
}

/// Mean cross-entropy, in nats, of logits that are divided by a temperature; arguments as of
/// [`temperature`], NaN without images.
pub fn cross_entropy(truth: &[usize], logits: &[f32], classes: usize, temperature: f64) -> f64 {
    let rows = truth.iter().zip(logits.chunks(classes.max(1)));
    let losses = rows.map(|(&truth, row)| -scaled_log_softmax(row, 1.0 / temperature)[truth]);
    losses.sum::<f64>() / truth.len() as f64
}

/// The minimum of a function with one minimum in an interval (Kiefer, 1953).
fn golden_section(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let ratio = (5.0f64.sqrt() - 1.0) / 2.0;
    let at = |low: f64, high: f64| (high - ratio * (high - low), low + ratio * (high - low));
    let (mut left, mut right) = at(low, high);
    let (mut of_left, mut of_right) = (f(left), f(right));
    for _ in 0..STEPS {
        if of_left < of_right {
            (high, right, of_right) = (right, left, of_left);
            left = at(low, high).0;
            of_left = f(left);
        } else {
            (low, left, of_left) = (left, right, of_right);
            right = at(low, high).1;
            of_right = f(right);
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The images of `tests/golden/temperature.py`.
    fn images(n: usize, gain: f64) -> (Vec<usize>, Vec<f32>) {
        let truth: Vec<usize> = (0..n).map(|at| at * 7 % 3).collect();
        let logit = |at: usize, class: usize| {
            let bump = if class == truth[at] { gain } else { 0.0 };
            ((1.3 * (3 * at + class) as f64).sin() + bump) as f32
        };
        let logits = (0..n).flat_map(|at| (0..3).map(move |class| (at, class)));
        let logits = logits.map(|(at, class)| logit(at, class)).collect();
        (truth, logits)
    }

    #[test]
    fn the_temperature_is_the_one_that_scipy_finds() {
        for (n, gain, expected, loss) in [
            (30, 0.5, 2.050367, 1.054164),
            (30, 1.5, 0.355968, 0.387562),
            (200, 0.2, 3.107740, 1.079362),
            (12, 9.0, 2.300908, 0.050930),
        ] {
            let (truth, logits) = images(n, gain);
            let found = temperature(&truth, &logits, 3);
            let of_found = cross_entropy(&truth, &logits, 3, found);
            for (found, expected) in [(found, expected), (of_found, loss)] {
                assert!(
                    (found / expected - 1.0).abs() < 1e-4,
                    "{found} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn nothing_to_choose_from_leaves_logits_as_they_are() {
        assert_eq!(temperature(&[], &[], 3), 1.0);
        assert_eq!(temperature(&[0, 0], &[1.0, 2.0], 1), 1.0);
    }
}

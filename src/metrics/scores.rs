//! One image's scores: softmax and the order of the classes.

/// Logarithms of the class probabilities of one image.
///
/// `logits` has one finite `f32` a class; the result has as many, accumulated in `f64` after
/// the largest logit was subtracted, so that nothing overflows. Equals
/// `torch.log_softmax(logits.double(), 0)`. Logarithms of probabilities come out as they are,
/// so a model that ends with a log-softmax needs no other path.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    scaled_log_softmax(logits, 1.0)
}

/// [`log_softmax`] of the logits times a positive `scale`.
pub(super) fn scaled_log_softmax(logits: &[f32], scale: f64) -> Vec<f64> {
    let scaled = logits.iter().map(|&x| f64::from(x) * scale);
    let largest = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scaled.clone().map(|x| (x - largest).exp()).sum();
    let shift = largest + sum.ln();
    scaled.map(|x| x - shift).collect()
}

/// Class probabilities of one image, which sum to 1; see [`log_softmax`].
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    log_softmax(logits).into_iter().map(f64::exp).collect()
}

/// The ids of the `k` classes with the highest scores, best first; equal scores in the order
/// of their ids. All classes where there are fewer than `k`.
pub fn top_k<T: PartialOrd>(scores: &[T], k: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..scores.len()).collect();
    ids.sort_by(|&a, &b| {
        let order = scores[b].partial_cmp(&scores[a]);
        order.unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(&b))
    });
    ids.truncate(k);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_known_logits() {
        let logits = [0.0, 3f32.ln()];
        let probabilities = softmax(&logits);
        assert!((probabilities[0] - 0.25).abs() < 1e-7);
        assert!((probabilities[1] - 0.75).abs() < 1e-7);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let logs = log_softmax(&[3e38, -3e38, 0.0]);
        assert_eq!(logs[0], 0.0);
        assert!(logs.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn ties_go_to_the_lower_id() {
        assert_eq!(top_k(&[0.5, 0.7, 0.7, 0.1], 3), [1, 2, 0]);
        assert_eq!(top_k(&[1.0], 3), [0]);
    }
}

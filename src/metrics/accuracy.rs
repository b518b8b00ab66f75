//! Accuracy with its interval, top-k accuracy and cross-entropy.

use super::predictions::Outcome;

/// 97.5% quantile of the standard normal distribution: two-sided 95%.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// Share of the images whose class is among the `k` most probable ones, in 0..=1.
///
/// Equal scores are ordered by class id. As `sklearn.metrics.top_k_accuracy_score`, but for
/// ties, where that keeps the higher id.
pub fn top_k_accuracy(outcomes: &[Outcome], k: usize) -> f64 {
    let hits = outcomes.iter().filter(|outcome| outcome.rank < k).count();
    hits as f64 / outcomes.len() as f64
}

/// Mean cross-entropy in nats: that of `sklearn.metrics.log_loss`, without its clipping of
/// probabilities below 2e-16, so the same as `torch.nn.functional.cross_entropy`.
pub fn cross_entropy(outcomes: &[Outcome]) -> f64 {
    let sum: f64 = outcomes.iter().map(|outcome| -outcome.log_likelihood).sum();
    sum / outcomes.len() as f64
}

/// The 95% confidence interval of a proportion after Wilson (1927), which stays within 0..=1
/// and has a width even where every prediction is right.
pub fn wilson_interval(hits: usize, n: usize) -> [f64; 2] {
    let (n, share) = (n as f64, hits as f64 / n as f64);
    let scale = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    // Rounding must not put a proportion of 0 or 1 outside of its own interval.
    [
        (centre - half).clamp(0.0, share),
        (centre + half).clamp(share, 1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_nine_in_ten() {
        let [low, high] = wilson_interval(9, 10);
        assert!((low - 0.595_849_7).abs() < 1e-6, "{low}");
        assert!((high - 0.982_123_7).abs() < 1e-6, "{high}");
    }

    #[test]
    fn the_interval_stays_within_zero_and_one() {
        assert_eq!(wilson_interval(0, 4)[0], 0.0);
        assert_eq!(wilson_interval(4, 4)[1], 1.0);
        assert!(wilson_interval(4, 4)[0] < 0.6);
    }
}

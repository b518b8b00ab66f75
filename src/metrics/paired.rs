//! Two models on the same images: the difference of their accuracies.

use serde::Serialize;

use super::accuracy::Z;
use super::predictions::Predictions;
use crate::error::{Error, Result};

/// How the accuracy changes from one model to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Paired {
    /// Accuracy after minus before, -1 to 1.
    pub difference: f64,
    /// The 95% interval of `difference`: low, high.
    pub interval: [f64; 2],
    /// Images that only the first model has right.
    pub lost: u64,
    /// Images that only the second model has right.
    pub gained: u64,
    /// Number of images.
    pub n: u64,
}

impl Paired {
    /// Compares predictions of the same images in the same order.
    ///
    /// # Errors
    /// [`Error::Data`] when there are none, or their numbers differ.
    pub fn of(before: &Predictions, after: &Predictions) -> Result<Self> {
        let (before, after) = (before.outcomes(), after.outcomes());
        if before.is_empty() || before.len() != after.len() {
            let message = format!("{} and {} images are not pairs", before.len(), after.len());
            return Err(Error::Data(message).into());
        }
        let both = || {
            before
                .iter()
                .zip(after)
                .map(|(a, b)| (a.rank == 0, b.rank == 0))
        };
        let count = |wanted| both().filter(|pair| *pair == wanted).count() as u64;
        Ok(Self::counted(
            count((true, false)),
            count((false, true)),
            before.len() as u64,
        ))
    }

    /// The interval is the adjusted Wald one of Bonett and Price (2012, "Adjusted Wald confidence
    /// interval for a difference of binomial proportions based on paired data"): Wald's after an
    /// image was added to both counts of disagreement. It has a width even where the models never
    /// disagree.
    fn counted(lost: u64, gained: u64, n: u64) -> Self {
        let all = n as f64 + 2.0;
        let (down, up) = ((lost as f64 + 1.0) / all, (gained as f64 + 1.0) / all);
        let half = Z * ((up + down - (up - down).powi(2)) / all).sqrt();
        Self {
            difference: (gained as f64 - lost as f64) / n as f64,
            interval: [up - down - half, up - down + half].map(|end| end.clamp(-1.0, 1.0)),
            lost,
            gained,
            n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-5, "{found}, not {expected}");
    }

    #[test]
    fn seven_against_one_of_21() {
        // up = 2/23, down = 8/23: -0.26087 -+ 1.95996 sqrt((0.43478 - 0.06805) / 23).
        let paired = Paired::counted(7, 1, 21);
        near(paired.difference, -0.28571);
        near(paired.interval[0], -0.50836);
        near(paired.interval[1], -0.01338);
    }

    #[test]
    fn agreement_is_not_certainty() {
        // 0 -+ 1.95996 sqrt(2 / 102 / 102).
        let paired = Paired::counted(0, 0, 100);
        assert_eq!(paired.difference, 0.0);
        near(paired.interval[0], -0.02717);
        near(paired.interval[1], 0.02717);
    }

    #[test]
    fn images_are_compared_one_by_one() {
        let labels = || Labels::new(["a", "b"]).unwrap();
        let of = |logits: &[f32]| Predictions::from_logits(labels(), &[0, 0, 1], logits).unwrap();
        let before = of(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let after = of(&[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        let paired = Paired::of(&before, &after).unwrap();
        assert_eq!((paired.lost, paired.gained, paired.n), (1, 1, 3));
        assert_eq!(paired.difference, 0.0);
        let none = Predictions::new(labels());
        assert!(Paired::of(&before, &none).is_err());
        assert!(Paired::of(&none, &none).is_err());
    }
}

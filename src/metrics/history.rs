//! The course of a training run: one record an epoch, and its CSV form.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// One epoch of training. Accuracies lie in 0..=1; a value that was not measured is NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1, through all phases.
    pub epoch: usize,
    /// The recipe's name for the stretch of training that the epoch belongs to.
    pub phase: String,
    pub learning_rate: f64,
    /// Mean cross-entropy in nats.
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub val_loss: f64,
    pub val_accuracy: f64,
    /// Training throughput.
    pub images_per_second: f64,
    /// Share of the epoch's time spent waiting for photos.
    pub waiting: f64,
    /// Wall time of the whole epoch.
    pub seconds: f64,
    /// Whether its weights may be kept as the model.
    #[serde(default = "yes")]
    pub candidate: bool,
}

fn yes() -> bool {
    true
}

impl Epoch {
    /// Whether the epoch's weights are better: by validation accuracy, among equals by loss.
    fn beats(&self, other: &Self) -> bool {
        self.val_accuracy > other.val_accuracy
            || (self.val_accuracy == other.val_accuracy && self.val_loss < other.val_loss)
    }
}

/// The epoch whose weights are kept: the one that no other beats, the first among equals.
/// `None` when there is no candidate whose validation accuracy was measured.
pub fn best(epochs: &[Epoch]) -> Option<&Epoch> {
    let measured = epochs
        .iter()
        .filter(|epoch| epoch.candidate && !epoch.val_accuracy.is_nan());
    measured.reduce(|best, epoch| if epoch.beats(best) { epoch } else { best })
}

/// Writes a whole history as CSV with a header line.
pub fn write(epochs: &[Epoch], sink: impl Write) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(sink);
    for epoch in epochs {
        writer.serialize(epoch).map_err(std::io::Error::other)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: usize, val_accuracy: f64) -> Epoch {
        Epoch {
            epoch: number,
            phase: "head, \"frozen\"".into(),
            learning_rate: 1e-4,
            train_loss: 0.1 + 0.2,
            train_accuracy: 0.5,
            val_loss: 1.0 / 3.0,
            val_accuracy,
            images_per_second: 60.0,
            waiting: 0.01,
            seconds: 12.5,
            candidate: true,
        }
    }

    fn read(csv: &[u8]) -> Vec<Epoch> {
        let rows = csv::Reader::from_reader(csv).into_deserialize();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn rows_come_back_bit_for_bit() {
        let epochs = [epoch(1, 0.25), epoch(2, 0.5)];
        let mut csv = Vec::new();
        write(&epochs, &mut csv).unwrap();
        assert!(csv.starts_with(b"epoch,phase,learning_rate,train_loss,train_accuracy,val_loss"));
        assert_eq!(read(&csv), epochs);
    }

    #[test]
    fn what_was_not_measured_is_nan() {
        let mut csv = Vec::new();
        write(&[epoch(1, f64::NAN)], &mut csv).unwrap();
        assert!(read(&csv)[0].val_accuracy.is_nan());
    }

    #[test]
    fn the_first_of_equals_is_best() {
        let epochs = [
            epoch(1, f64::NAN),
            epoch(2, 0.5),
            epoch(3, 0.9),
            epoch(4, 0.9),
        ];
        assert_eq!(best(&epochs).unwrap().epoch, 3);
        assert_eq!(best(&epochs[..1]), None);
    }

    #[test]
    fn only_candidates_are_best() {
        let other = Epoch {
            candidate: false,
            ..epoch(2, 0.9)
        };
        assert_eq!(best(&[epoch(1, 0.5), other.clone()]).unwrap().epoch, 1);
        assert_eq!(best(&[other]), None);
    }

    #[test]
    fn the_loss_decides_among_equal_accuracies() {
        let losses = [0.5, 0.3, 0.4].into_iter().zip(1..);
        let epochs: Vec<Epoch> = losses
            .map(|(val_loss, number)| Epoch {
                val_loss,
                ..epoch(number, 0.9)
            })
            .collect();
        assert_eq!(best(&epochs).unwrap().epoch, 2);
    }
}

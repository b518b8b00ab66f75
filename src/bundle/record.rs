//! What a model file records of its training: the configuration and the metrics, as JSON objects
//! whose other fields are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::Result;

/// The training configuration of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct TrainingRecord(Map<String, Value>);

/// What was measured in the training of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct TrainingMetrics(Map<String, Value>);

/// Accuracy on the test photos.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestAccuracy {
    /// 0 to 1, as is the next.
    pub accuracy: f64,
    /// The bounds of the 95% confidence interval.
    pub interval: [f64; 2],
    pub photos: u64,
}

const EPOCHS: &str = "epochs";
const WEIGHTS: &str = "weights";
const WEIGHTS_SHA256: &str = "weights-sha256";
const VAL: &str = "val";
const TEST: &str = "test";
const SEED: &str = "seed";

const EPOCH: &str = "epoch";
const VAL_ACCURACY: &str = "val_accuracy";
const VAL_LOSS: &str = "val_loss";
const TEMPERATURE: &str = "temperature";
const TEST_ACCURACY: &str = "test_accuracy";
const TEST_INTERVAL: &str = "test_accuracy_interval";
const TEST_PHOTOS: &str = "test_photos";

impl TrainingRecord {
    /// The record of a configuration.
    ///
    /// # Errors
    /// When the configuration is not serialized as an object.
    pub fn of(config: &impl Serialize) -> Result<Self> {
        Ok(serde_json::from_value(serde_json::to_value(config)?)?)
    }

    /// `--weights` of the training.
    pub fn weights(&self) -> Option<&str> {
        self.0.get(WEIGHTS)?.as_str()
    }

    /// SHA-256 of the file of weights, in hex.
    pub fn weights_sha256(&self) -> Option<&str> {
        self.0.get(WEIGHTS_SHA256)?.as_str()
    }

    /// Fraction of the photos for validation.
    pub fn val(&self) -> Option<f64> {
        self.0.get(VAL)?.as_f64()
    }

    /// Fraction of the photos for testing.
    pub fn test(&self) -> Option<f64> {
        self.0.get(TEST)?.as_f64()
    }

    pub fn seed(&self) -> Option<u64> {
        self.0.get(SEED)?.as_u64()
    }

    pub fn set_epochs(&mut self, epochs: usize) {
        self.0.insert(EPOCHS.into(), epochs.into());
    }
}

impl TrainingMetrics {
    /// The metrics of the epoch whose weights were kept; a value that is not finite is stored as
    /// null.
    pub fn of_epoch(epoch: usize, val_accuracy: f64, val_loss: f64) -> Self {
        let mut metrics = Map::new();
        metrics.insert(EPOCH.into(), epoch.into());
        metrics.insert(VAL_ACCURACY.into(), json!(val_accuracy));
        metrics.insert(VAL_LOSS.into(), json!(val_loss));
        Self(metrics)
    }

    /// The epoch whose weights were kept, counted from 1.
    pub fn epoch(&self) -> Option<u64> {
        self.0.get(EPOCH)?.as_u64()
    }

    /// Accuracy on the validation photos, 0 to 1.
    pub fn val_accuracy(&self) -> Option<f64> {
        self.0.get(VAL_ACCURACY)?.as_f64()
    }

    /// The temperature that the logits of the epoch were divided by, in the last layer.
    pub fn temperature(&self) -> Option<f64> {
        self.0.get(TEMPERATURE)?.as_f64()
    }

    /// Records the temperature that the logits were divided by, and the validation loss with it.
    pub fn set_temperature(&mut self, temperature: f64, val_loss: f64) {
        self.0.insert(TEMPERATURE.into(), json!(temperature));
        self.0.insert(VAL_LOSS.into(), json!(val_loss));
    }

    pub fn set_test(&mut self, test: TestAccuracy) {
        self.0.insert(TEST_ACCURACY.into(), json!(test.accuracy));
        self.0.insert(TEST_INTERVAL.into(), json!(test.interval));
        self.0.insert(TEST_PHOTOS.into(), json!(test.photos));
    }

    /// `None` when no test was recorded.
    pub fn test(&self) -> Option<TestAccuracy> {
        let interval = self.0.get(TEST_INTERVAL)?;
        Some(TestAccuracy {
            accuracy: self.0.get(TEST_ACCURACY)?.as_f64()?,
            interval: [interval.get(0)?.as_f64()?, interval.get(1)?.as_f64()?],
            photos: self.0.get(TEST_PHOTOS)?.as_u64()?,
        })
    }
}

impl From<TrainingRecord> for Value {
    fn from(record: TrainingRecord) -> Self {
        Self::Object(record.0)
    }
}

impl TryFrom<Value> for TrainingRecord {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        object(value, "its recipe is not an object").map(Self)
    }
}

impl TryFrom<Value> for TrainingMetrics {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        object(value, "its metrics are not an object").map(Self)
    }
}

fn object(value: Value, otherwise: &'static str) -> Result<Map<String, Value>, &'static str> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(otherwise),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_keep_their_json_and_fields_of_later_versions() {
        let mut metrics = TrainingMetrics::of_epoch(7, 0.75, 0.5);
        metrics.set_test(TestAccuracy {
            accuracy: 0.875,
            interval: [0.5, 1.0],
            photos: 8,
        });
        let text = r#"{"epoch":7,"val_accuracy":0.75,"val_loss":0.5,"test_accuracy":0.875,"test_accuracy_interval":[0.5,1.0],"test_photos":8}"#;
        assert_eq!(serde_json::to_string(&metrics).unwrap(), text);

        let later = r#"{"epoch":7,"val_f1":0.5}"#;
        let mut metrics: TrainingMetrics = serde_json::from_str(later).unwrap();
        assert_eq!((metrics.epoch(), metrics.test()), (Some(7), None));
        metrics.set_test(TestAccuracy {
            accuracy: 0.5,
            interval: [0.0, 1.0],
            photos: 2,
        });
        let kept = serde_json::to_string(&metrics).unwrap();
        assert!(
            kept.starts_with(r#"{"epoch":7,"val_f1":0.5,"test_accuracy":0.5,"#),
            "{kept}"
        );
    }

    #[test]
    fn a_record_of_fewer_fields_is_read() {
        let old = r#"{"weights":"imagenet","val":0.2,"epochs":3,"x":[1]}"#;
        let mut record: TrainingRecord = serde_json::from_str(old).unwrap();
        assert_eq!(record.weights(), Some("imagenet"));
        assert_eq!(
            (record.val(), record.test(), record.seed()),
            (Some(0.2), None, None)
        );
        record.set_epochs(9);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(text, old.replace('3', "9"));
        assert!(serde_json::from_str::<TrainingRecord>("[1]").is_err());
    }
}

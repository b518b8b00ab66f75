//! What was made: as a table, as JSON, and in the model's manifest.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::commands::output::path_text;
use crate::commands::table::table;
use crate::error::{Result, shown};
use crate::graph::Method;
use crate::metrics::Paired;
use crate::quantization::{Coverage, Observer, Sensitivity};
use crate::values::plural;

/// How an int8 model was made and what it costs.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(skip)]
    pub method: Method,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observer: Option<Observer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    #[serde(flatten)]
    pub coverage: Coverage,
    /// Epochs of quantization-aware training, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finetuned: Option<u32>,
    /// Size of the float model's parameters.
    pub float_bytes: usize,
    /// Layers that had to stay float.
    pub float_layers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluated>,
}

/// Both models on the same photos.
#[derive(Serialize)]
pub(super) struct Evaluated {
    pub float32_accuracy: f64,
    pub int8_accuracy: f64,
    #[serde(flatten)]
    pub paired: Paired,
    pub float32_images_per_second: f64,
    pub int8_images_per_second: f64,
}

impl Evaluated {
    /// Whether int8 gains nothing but size here.
    pub(super) fn is_slower(&self) -> bool {
        self.int8_images_per_second < self.float32_images_per_second
    }
}

impl Report {
    /// For the manifest.
    pub(super) fn details(&self) -> Result<Map<String, Value>> {
        match serde_json::to_value(self)? {
            Value::Object(details) => Ok(details),
            other => anyhow::bail!("a report is an object, not {other}"),
        }
    }

    /// For programs.
    pub(super) fn json(&self, out: &Path) -> Result<Value> {
        let mut object = json!({"file": path_text(out), "method": self.method});
        if let Value::Object(object) = &mut object {
            object.extend(self.details()?);
        }
        Ok(object)
    }

    /// For people.
    pub(super) fn text(&self, out: &Path) -> String {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let megabytes = |bytes: usize| format!("{:.2}", bytes as f64 / 1e6);
        let mut rows = vec![row(["", "float32", "int8"])];
        if let Some(e) = &self.evaluation {
            let share = |share: f64| format!("{share:.4}");
            let speed = |speed: f64| format!("{speed:.1}");
            let [a, b] = [e.float32_accuracy, e.int8_accuracy].map(share);
            rows.push(row(["accuracy", &a, &b]));
            let [a, b] = [e.float32_images_per_second, e.int8_images_per_second].map(speed);
            rows.push(row(["images/s", &a, &b]));
        }
        let [a, b] = [self.float_bytes, self.coverage.bytes].map(megabytes);
        rows.push(row(["weights, MB", &a, &b]));
        let mut text = table(&rows);
        text.push('\n');
        if let Some(e) = &self.evaluation {
            text.push_str(&difference(&e.paired));
            text.push('\n');
        }
        text.push_str(&self.extent());
        text.push_str(&format!("\nwritten to {}", shown(out)));
        text
    }

    /// How much of the network is int8.
    fn extent(&self) -> String {
        let c = &self.coverage;
        let percent = |share: f64| format!("{}%", significant(100.0 * share));
        let mut text = format!(
            "int8: {} of {} layers with {} of the parameters and {} of the multiply-accumulates",
            c.int8_layers,
            c.layers,
            percent(c.int8_parameters),
            percent(c.int8_macs)
        );
        if self.method == Method::Dynamic && c.int8_macs < 0.5 {
            text.push_str("; use --method static to quantize the convolutions");
        }
        if let Some(epochs) = self.finetuned {
            let epochs = plural(epochs as usize, "epoch");
            text.push_str(&format!("\nfine-tuned for int8: {epochs}"));
        }
        if !self.float_layers.is_empty() {
            text.push_str(&format!("\nstill float: {}", self.float_layers.join(", ")));
        }
        text
    }
}

fn difference(paired: &Paired) -> String {
    let [low, high] = paired.interval;
    format!(
        "accuracy {:+.4} (95% interval {low:+.4} to {high:+.4}, paired): of {} photos, {} became \
         wrong and {} became right",
        paired.difference, paired.n, paired.lost, paired.gained
    )
}

/// One digit after the point, and of what is below 1 two significant ones.
fn significant(value: f64) -> String {
    let digits = match value {
        v if v >= 1.0 || v <= 0.0 => 1,
        v => (-v.log10()).ceil() as usize + 1,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_shares_are_not_rounded_to_nothing() {
        let shown = [99.94, 4.2, 0.51, 0.0504, 0.00028, 0.0].map(significant);
        assert_eq!(shown, ["99.9", "4.2", "0.51", "0.050", "0.00028", "0.0"]);
    }

    #[test]
    fn the_table_has_a_column_a_model() {
        let report = Report {
            method: Method::Static,
            observer: Some(Observer::Mse),
            samples: Some(300),
            coverage: Coverage {
                layers: 3,
                int8_layers: 2,
                int8_parameters: 0.9,
                int8_macs: 0.99,
                bytes: 1_234_567,
            },
            finetuned: Some(3),
            float_bytes: 4_000_000,
            float_layers: vec!["fc".into()],
            sensitivity: Vec::new(),
            evaluation: Some(Evaluated {
                float32_accuracy: 0.95,
                int8_accuracy: 0.94,
                paired: Paired {
                    difference: -0.01,
                    interval: [-0.03, 0.01],
                    lost: 2,
                    gained: 1,
                    n: 100,
                },
                float32_images_per_second: 40.0,
                int8_images_per_second: 100.04,
            }),
        };
        let expected = "             float32    int8
accuracy      0.9500  0.9400
images/s        40.0   100.0
weights, MB     4.00    1.23

accuracy -0.0100 (95% interval -0.0300 to +0.0100, paired): of 100 photos, 2 became wrong and 1 became right
int8: 2 of 3 layers with 90.0% of the parameters and 99.0% of the multiply-accumulates
fine-tuned for int8: 3 epochs
still float: fc
written to a.safetensors";
        assert_eq!(report.text(Path::new("a.safetensors")), expected);
        let json = report.json(Path::new("a.safetensors")).unwrap();
        assert_eq!(json["method"], "static");
        assert_eq!(json["evaluation"]["difference"], -0.01);
        assert_eq!(json["int8_layers"], 2);
        assert!(json.get("sensitivity").is_none());
    }
}

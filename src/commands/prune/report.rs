//! What pruning has come to: as a table and as JSON.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{self, Bundle};
use crate::commands::table::table;
use crate::data::Part;
use crate::error::{Error, Result, shown};
use crate::metrics::Paired;
use crate::pruning::Prunable;

/// The whole network, or that of a step.
#[derive(Serialize)]
pub(super) struct Step {
    /// 0 for the whole network.
    #[serde(rename = "step")]
    pub number: usize,
    #[serde(skip)]
    pub file: PathBuf,
    /// For one image.
    pub macs: u64,
    pub parameters: u64,
    pub val_accuracy: f64,
    /// Whether the accuracy is within `--max-drop`.
    #[serde(rename = "kept")]
    pub is_kept: bool,
    #[serde(flatten)]
    pub speed: Option<Speed>,
}

/// Medians in float32.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Speed {
    /// For one image.
    pub milliseconds: f64,
    /// In batches of 32.
    pub images_per_second: f64,
}

/// Both networks on the same photos.
#[derive(Serialize)]
struct Tested {
    measured_on: &'static str,
    accuracy_before: f64,
    accuracy: f64,
    #[serde(flatten)]
    paired: Paired,
}

#[derive(Serialize)]
pub(super) struct Report {
    /// The model that was written, if any step is kept.
    model_of_step: Option<usize>,
    /// Operations of that model as a part of the whole network's.
    macs: Option<f64>,
    /// How many times as fast it is in batches.
    speedup: Option<f64>,
    #[serde(skip)]
    wanted: Option<f64>,
    tested: Option<Tested>,
    steps: Vec<Step>,
}

impl Step {
    pub(super) fn whole(model: &Prunable, file: &Path, val_accuracy: f64) -> Self {
        Self {
            number: 0,
            file: bundle::located(file.into()),
            macs: model.graph.macs(),
            parameters: model.graph.parameter_count(),
            val_accuracy,
            is_kept: true,
            speed: None,
        }
    }

    pub(super) fn pruned(
        number: usize,
        bundle: &Bundle,
        file: &Path,
        val_accuracy: f64,
    ) -> Result<Self> {
        let graph = bundle.manifest.graph()?;
        Ok(Self {
            number,
            file: file.into(),
            macs: graph.macs(),
            parameters: graph.parameter_count(),
            val_accuracy,
            is_kept: true,
            speed: None,
        })
    }
}

impl Report {
    /// `kept` is the place among the steps of the one whose model is the result.
    pub(super) fn new(
        steps: Vec<Step>,
        kept: Option<usize>,
        tested: Option<(Part, [f64; 2], Paired)>,
        wanted: Option<f64>,
    ) -> Self {
        let speed = |at: usize| steps[at].speed.map(|speed| speed.images_per_second);
        Self {
            model_of_step: kept.map(|at| steps[at].number),
            macs: kept.map(|at| steps[at].macs as f64 / steps[0].macs as f64),
            speedup: kept.and_then(|at| Some(speed(at)? / speed(0)?)),
            wanted,
            tested: tested.map(|(part, [accuracy_before, accuracy], paired)| Tested {
                measured_on: part.name(),
                accuracy_before,
                accuracy,
                paired,
            }),
            steps,
        }
    }

    /// The step whose model is the result.
    pub(super) fn kept(&self) -> Option<&Step> {
        let number = self.model_of_step?;
        self.steps.iter().find(|step| step.number == number)
    }

    /// Fails where there is no result.
    ///
    /// # Errors
    /// [`Error::Gate`].
    pub(super) fn check(&self, max_drop: Option<f64>) -> Result<()> {
        let (None, Some(max_drop)) = (self.model_of_step, max_drop) else {
            return Ok(());
        };
        let drop = match self.steps.get(1) {
            Some(first) => self.steps[0].val_accuracy - first.val_accuracy,
            None => 0.0,
        };
        Err(Error::Gate(format!(
            "the first step loses {drop:.4} of the validation accuracy, more than --max-drop {max_drop}: \
             no model was written; more --epochs, or a smaller step (--macs nearer to 1), may lose less"
        ))
        .into())
    }

    /// For people.
    pub(super) fn text(&self, out: &Path) -> String {
        let heads = [
            "",
            "MACs",
            "%",
            "parameters",
            "val accuracy",
            "ms for one",
            "images/s",
            "",
        ];
        let mut rows = vec![heads.map(String::from).to_vec()];
        let whole = self.steps[0].macs as f64;
        for step in &self.steps {
            let speed = step.speed;
            let figure = |value: Option<f64>| value.map(|v| format!("{v:.1}")).unwrap_or_default();
            let remark = match step.is_kept {
                true if self.model_of_step == Some(step.number) => "result",
                true => "",
                false => "loses too much",
            };
            rows.push(vec![
                match step.number {
                    0 => "unpruned".into(),
                    number => format!("step {number}"),
                },
                format!("{:.3} G", step.macs as f64 / 1e9),
                format!("{:.0}", 100.0 * step.macs as f64 / whole),
                format!("{:.2} M", step.parameters as f64 / 1e6),
                format!("{:.4}", step.val_accuracy),
                figure(speed.map(|speed| speed.milliseconds)),
                figure(speed.map(|speed| speed.images_per_second)),
                remark.into(),
            ]);
        }
        let mut text = table(&rows);
        if let Some(tested) = &self.tested {
            let [low, high] = tested.paired.interval;
            text.push_str(&format!(
                "\nOn the {} {} photos: accuracy {:.4}, unpruned {:.4}; difference {:+.4} (95% interval \
                 {low:+.4} to {high:+.4})\n",
                tested.paired.n,
                tested.measured_on,
                tested.accuracy,
                tested.accuracy_before,
                tested.paired.difference,
            ));
        }
        if let Some(speedup) = self.speedup {
            let asked = match self.wanted {
                Some(wanted) if speedup < wanted => format!(", less than the {wanted} asked for"),
                _ => String::new(),
            };
            text.push_str(&format!(
                "{speedup:.2} times the images/s of the unpruned model, in float32{asked}\n\nmodel   {}",
                shown(out.join(bundle::FILE))
            ));
        }
        text.trim_end().into()
    }
}

//! The valid range of every value of a configuration.

use super::config::Config;
use super::phase::Method;
use crate::error::{Error, Result};

/// Whether a value is valid, its option, and the values that the option takes.
type Check = (bool, &'static str, &'static str);

fn fraction(x: f64) -> bool {
    (0.0..1.0).contains(&x)
}

fn at_least_zero(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option and the values it takes.
    pub(super) fn check(&self) -> Result<()> {
        let checks = self.training_checks().into_iter();
        let checks = checks.chain(self.step_checks()).chain(self.input_checks());
        for (valid, option, takes) in checks.chain(self.distillation_checks()) {
            if !valid {
                return Err(Error::Usage(format!("--{option} must be {takes}")).into());
            }
        }
        if let Some(layer) = &self.freeze_until {
            self.check_layer(layer.as_str())?;
        }
        self.check_head()
    }

    /// A recipe that solves for the classifier needs a linear one.
    fn check_head(&self) -> Result<()> {
        let mut phases = self.recipe.phases.iter();
        let solves = phases.any(|phase| phase.method == Method::LogisticRegression);
        if solves && self.hidden().is_some() {
            let message = format!(
                "--recipe {} solves for a classifier without a hidden layer: leave out --hidden, or \
                 choose another recipe",
                self.recipe.name
            );
            return Err(Error::Usage(message).into());
        }
        if !solves || self.arch.ends_linearly()? {
            return Ok(());
        }
        let message = format!(
            "--recipe {}: it solves for a linear classifier, and that of {} is a convolution; choose \
             --recipe two-phase or classic, or another --arch",
            self.recipe.name, self.arch.name
        );
        Err(Error::Usage(message).into())
    }

    fn check_layer(&self, layer: &str) -> Result<()> {
        let graph = self.arch.graph(&self.model_options(2))?;
        if graph.layer(layer).is_some() {
            return Ok(());
        }
        let message = format!(
            "--freeze-until {layer:?}: {} has no such layer; choose one of {}",
            self.arch.name,
            graph.layers().join(", ")
        );
        Err(Error::Usage(message).into())
    }

    fn training_checks(&self) -> [Check; 9] {
        [
            (self.epochs >= 1, "epochs", "at least 1"),
            (
                (2..=4096).contains(&self.batch_size),
                "batch-size",
                "2 to 4096",
            ),
            (
                self.lr.is_finite() && self.lr > 0.0,
                "lr",
                "a positive number",
            ),
            (at_least_zero(self.warmup), "warmup", "0 or more epochs"),
            (
                self.warmup <= self.epochs as f64,
                "warmup",
                "at most the number of epochs",
            ),
            (
                at_least_zero(self.weight_decay),
                "weight-decay",
                "0 or more",
            ),
            (
                fraction(self.label_smoothing),
                "label-smoothing",
                "at least 0 and below 1",
            ),
            (fraction(self.dropout), "dropout", "at least 0 and below 1"),
            (
                self.hidden.is_none_or(|units| units <= 65_536),
                "hidden",
                "0 for none, or at most 65536 units",
            ),
        ]
    }

    fn step_checks(&self) -> [Check; 5] {
        let positive = |x: Option<f64>| x.is_none_or(|x| x.is_finite() && x > 0.0);
        let mixes = "0 for none, or a positive number";
        [
            (
                (1..=4096).contains(&self.accumulate),
                "accumulate",
                "1 to 4096 batches",
            ),
            (
                positive(self.clip_grad_norm),
                "clip-grad-norm",
                "0 for never, or a positive number",
            ),
            (
                self.ema.is_none_or(fraction),
                "ema",
                "at least 0 and below 1",
            ),
            (positive(self.mixup), "mixup", mixes),
            (positive(self.cutmix), "cutmix", mixes),
        ]
    }

    fn distillation_checks(&self) -> [Check; 4] {
        let of_teachers = self.distill_method.is_some()
            || self.distill_weight.is_some()
            || self.temperature.is_some();
        [
            (
                !(of_teachers && self.teacher.is_empty()),
                "teacher",
                "given with --distill-method, --distill-weight and --temperature",
            ),
            (
                !(self.unlabelled.is_some() && self.teacher.is_empty()),
                "teacher",
                "given with --unlabelled, to label those photos",
            ),
            (
                self.distill_weight
                    .is_none_or(|weight| (0.0..=1.0).contains(&weight) && weight > 0.0),
                "distill-weight",
                "above 0 and at most 1",
            ),
            (
                self.temperature.is_none_or(|t| (0.1..=100.0).contains(&t)),
                "temperature",
                "0.1 to 100",
            ),
        ]
    }

    fn input_checks(&self) -> [Check; 10] {
        [
            (
                self.time_budget.is_none_or(|s| s.is_finite() && s > 0.0),
                "time-budget",
                "more than 0 seconds",
            ),
            (
                (32..=1024).contains(&self.image_size),
                "image-size",
                "32 to 1024 pixels",
            ),
            (
                (0.0..=1.0).contains(&self.random_erasing),
                "random-erasing",
                "from 0 to 1",
            ),
            ((1..=256).contains(&self.workers), "workers", "1 to 256"),
            ((1..=1024).contains(&self.threads), "threads", "1 to 1024"),
            (
                fraction(self.val) && self.val > 0.0,
                "val",
                "above 0 and below 1",
            ),
            (fraction(self.test), "test", "at least 0 and below 1"),
            (
                self.val + self.test < 1.0,
                "val",
                "such that --val and --test sum to less than 1",
            ),
            (
                (0.0..=1.0).contains(&self.max_bad),
                "max-bad",
                "from 0 to 1",
            ),
            (
                at_least_zero(self.checkpoint_minutes),
                "checkpoint-minutes",
                "0 or more",
            ),
        ]
    }
}

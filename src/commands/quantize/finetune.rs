//! Quantization-aware training, where int8 loses too much accuracy without it.

use std::sync::Arc;

use super::compare::Test;
use super::{Work, photos};
use crate::commands::output::note;
use crate::error::Result;
use crate::evaluation::parts;
use crate::machine;
use crate::quantization::Scheme;
use crate::training::fake_quantization::FineTuning;
use crate::training::rounding::FakeQuantization;

const EPOCHS: u32 = 3;
const LEARNING_RATE: f64 = 2e-5;

impl Work<'_> {
    /// The scheme after fine-tuning on the training photos of `--finetune`, with the number of epochs, if
    /// the accuracy drops too far with all layers in int8, and less far after it.
    pub(super) fn finetuned(
        &self,
        scheme: Scheme,
        test: Option<&Test>,
    ) -> Result<(Scheme, Option<u32>)> {
        let (Some(data), Some(test)) = (&self.args.finetune, test) else {
            return Ok((scheme, None));
        };
        let all = scheme.quantized(&scheme.layers())?;
        let compared = test.compare(&*self.load(&all)?, self)?;
        if compared.drops_at_most(self.args.max_drop) {
            return Ok((scheme, None));
        }
        note(format_args!(
            "with all layers in int8, the accuracy drops by {:.4}, more than --max-drop {}: fine-tuning",
            -compared.paired.difference, self.args.max_drop
        ));
        let folder = self.scan(data)?;
        let epochs = self.args.epochs.unwrap_or(EPOCHS);
        let (weights, values) = scheme.rounding();
        let rounded = FakeQuantization {
            weights,
            values: values.clone(),
        };
        let training = FineTuning {
            photos: Arc::clone(&folder.photos),
            indices: parts::to_calibrate(&self.args.model, self.manifest, &folder),
            undecodable: photos::tolerated(&folder, self.args.bad.max_bad),
            preprocessing: &self.manifest.preprocessing,
            epochs: epochs as usize,
            learning_rate: self.args.lr.unwrap_or(LEARNING_RATE),
            seed: 0,
            workers: machine::cores(),
            device: self.options.device,
            stop: &self.stop,
            progress: &self.progress,
        };
        let trained = scheme.with_parameters(training.train(scheme.float(), &rounded)?)?;
        let all = trained.quantized(&trained.layers())?;
        let after = test.compare(&*self.load(&all)?, self)?;
        if after.paired.difference > compared.paired.difference {
            return Ok((trained, Some(epochs)));
        }
        note(format_args!(
            "after fine-tuning it drops by {:.4}, which is no better: going on without; a lower --lr or more \
             --epochs may help",
            -after.paired.difference
        ));
        Ok((scheme, None))
    }
}

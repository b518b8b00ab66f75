//! Accuracy and speed of the whole network and of the pruned ones.

use std::sync::Arc;

use super::Work;
use super::report::{Speed, Step};
use crate::bundle::Bundle;
use crate::commands::output::note;
use crate::commands::progress::Bar;
use crate::data::Part;
use crate::error::Result;
use crate::evaluation::speed::{Subject, alternate, most_turns, percentile, random_images};
use crate::evaluation::{Photos, predicted};
use crate::inference::{self, Backend, Options};
use crate::machine;
use crate::metrics::accuracy::top_k_accuracy;
use crate::metrics::{Paired, Predictions};
use crate::progress::Progress;
use crate::pruning::Scores;

/// Pictures in a batch whose throughput is measured.
const BATCH: usize = 32;

/// The speeds of steps, in their order.
pub(super) struct Speeds(pub Vec<Speed>);

impl Work<'_> {
    fn load(&self, bundle: Bundle) -> Result<Box<dyn Backend>> {
        inference::load_bundle(bundle, &Options::float32(self.device))
    }

    fn predicted(&self, bundle: &Bundle, part: Part) -> Result<Predictions> {
        let backend = self.load(bundle.clone())?;
        let photos = Photos {
            all: Arc::clone(&self.folder.photos),
            undecodable: Arc::clone(&self.undecodable),
            indices: self.split.part(part).to_vec(),
            workers: machine::cores(),
            seen: None,
        };
        let progress = Bar::new();
        progress.begin("evaluating", photos.indices.len() as u64);
        let manifest = &bundle.manifest;
        let predictions = predicted(&*backend, manifest, &photos, &self.stop, &progress)?;
        progress.finish();
        Ok(predictions)
    }

    /// Accuracy on the validation photos, 0 to 1.
    pub(super) fn validated(&self, bundle: &Bundle) -> Result<f64> {
        let predictions = self.predicted(bundle, Part::Val)?;
        Ok(top_k_accuracy(predictions.outcomes(), 1))
    }

    /// The whole network and the pruned one on the test photos, or the validation photos where there are
    /// none.
    pub(super) fn tested(&self, step: &Step) -> Result<(Part, [f64; 2], Paired)> {
        let part = match self.split.test.is_empty() {
            true => Part::Val,
            false => Part::Test,
        };
        let (pruned, _) = Bundle::read(&step.file)?;
        let before = self.predicted(&self.model.bundle, part)?;
        let after = self.predicted(&pruned, part)?;
        let accuracies = [&before, &after].map(|p| top_k_accuracy(p.outcomes(), 1));
        Ok((part, accuracies, Paired::of(&before, &after)?))
    }

    /// How many times as fast the network is with this fraction of its operations; `None` where it can't
    /// be pruned so far.
    pub(super) fn speedup_of(&self, scores: &Scores, fraction: f64) -> Result<Option<f64>> {
        let Ok(choice) = self.choose(&self.model, scores, fraction) else {
            return Ok(None);
        };
        let whole = self.load(self.model.bundle.clone())?;
        let pruned = self.load(self.model.pruned(&choice)?)?;
        let [before, after] = self
            .batch_seconds(&[&*whole, &*pruned], BATCH)?
            .try_into()
            .map_err(|_| anyhow::anyhow!("two models were timed"))?;
        let (before, after) = (percentile(&before, 0.5), percentile(&after, 0.5));
        let faster = before / after;
        note(format_args!(
            "with {:.0}% of the operations it is {faster:.2} times as fast",
            100.0 * fraction
        ));
        Ok(Some(faster))
    }

    /// Seconds of each pass of each backend, sorted.
    fn batch_seconds(&self, backends: &[&dyn Backend], batch: usize) -> Result<Vec<Vec<f64>>> {
        let size = backends.first().map_or(0, |backend| backend.image_size());
        let pixels = random_images(batch, size);
        let subjects: Vec<Subject<'_>> = backends
            .iter()
            .map(|&backend| Subject {
                backend,
                pixels: &pixels,
            })
            .collect();
        let progress = Bar::new();
        progress.begin("timing", most_turns(subjects.len()) as u64);
        let each = || progress.advance(1);
        let passes = alternate(&subjects, self.args.seconds, &self.stop, each)?;
        progress.finish();
        Ok(passes)
    }
}

impl Speeds {
    /// Times the networks of steps in turns.
    ///
    /// # Errors
    /// Those of reading and loading the models, and of computing.
    pub(super) fn of(steps: &[Step], work: &Work<'_>) -> Result<Self> {
        let backends = steps.iter().map(|step| {
            let (bundle, _) = Bundle::read(&step.file)?;
            work.load(bundle)
        });
        let backends: Vec<Box<dyn Backend>> = backends.collect::<Result<_>>()?;
        let backends: Vec<&dyn Backend> = backends.iter().map(|backend| &**backend).collect();
        let one = work.batch_seconds(&backends, 1)?;
        let many = work.batch_seconds(&backends, BATCH)?;
        let both = one.iter().zip(&many);
        let speeds = both.map(|(one, many)| Speed {
            milliseconds: 1e3 * percentile(one, 0.5),
            images_per_second: BATCH as f64 / percentile(many, 0.5),
        });
        Ok(Self(speeds.collect()))
    }
}

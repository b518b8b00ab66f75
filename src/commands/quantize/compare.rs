//! Both models on the same photos: accuracy and speed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::report::Evaluated;
use super::{Work, photos};
use crate::data::{Part, stratified};
use crate::error::{Error, Result};
use crate::evaluation::{Photos, parts, predicted};
use crate::graph::InferenceGraph;
use crate::inference::{self, Backend, Images, Options, Precision};
use crate::machine;
use crate::metrics::accuracy::top_k_accuracy;
use crate::metrics::{Paired, Predictions};
use crate::progress::Progress;

/// Images that speed is measured on.
const TIMED: usize = 16;
const ROUNDS: usize = 7;
/// After this long no other round begins.
const LONG: Duration = Duration::from_secs(20);

/// The test photos and what the float model makes of them.
pub(super) struct Test {
    photos: Photos,
    /// The float model.
    backend: Box<dyn Backend>,
    before: Predictions,
}

/// An int8 network against the float one.
pub(super) struct Compared {
    pub after: Predictions,
    pub paired: Paired,
}

impl Compared {
    /// Whether no more accuracy is lost than that.
    pub(super) fn drops_at_most(&self, max_drop: f64) -> bool {
        // 0.9 - 0.895 in binary must not be more than 0.005.
        -self.paired.difference <= max_drop + 1e-9
    }
}

impl Work<'_> {
    /// Measures the float network on the test part of a folder.
    pub(super) fn test(&self, data: &Path, network: &InferenceGraph) -> Result<Test> {
        let folder = self.scan(data)?;
        let remedy = "give the folder that the model was trained on, or put photos that it was not \
                      trained on into DIR/test/<class>";
        let model = (&*self.args.model, self.manifest);
        let chosen = parts::of_part(Part::Test, None, model, &folder, remedy)?;
        photos::warn(&chosen);
        let indices = chosen.indices;
        if indices.is_empty() {
            let message = "there are no photos to evaluate on: the test part is empty";
            return Err(Error::Data(message.into()).into());
        }
        let photos = parts::relabelled(&folder, self.manifest)?;
        let options = Options {
            precision: Precision::Float32,
            ..self.options
        };
        let preprocessing = &self.manifest.preprocessing;
        let backend = inference::load(network, preprocessing, &options)?;
        let undecodable = photos::tolerated(&folder, self.args.bad.max_bad);
        let photos = Photos {
            all: photos,
            indices,
            workers: machine::cores(),
            seen: None,
            undecodable,
        };
        let before = self.predicted("evaluating float32", &*backend, &photos)?;
        Ok(Test {
            photos,
            backend,
            before,
        })
    }

    fn predicted(&self, what: &str, backend: &dyn Backend, photos: &Photos) -> Result<Predictions> {
        self.progress.begin(what, photos.indices.len() as u64);
        let predictions = predicted(backend, self.manifest, photos, &self.stop, &self.progress)?;
        self.progress.finish();
        Ok(predictions)
    }
}

impl Test {
    /// Measures an int8 network on the same photos.
    pub(super) fn compare(&self, backend: &dyn Backend, work: &Work<'_>) -> Result<Compared> {
        let after = work.predicted("evaluating int8", backend, &self.photos)?;
        let paired = Paired::of(&self.before, &after)?;
        Ok(Compared { after, paired })
    }

    /// A few of the photos as the model sees them.
    pub(super) fn images(&self, count: usize, work: &Work<'_>) -> Result<Vec<u8>> {
        let Photos { all, indices, .. } = &self.photos;
        let indices = stratified(all, indices, count);
        work.images(all, &indices, &self.photos.undecodable)
    }

    /// The comparison in numbers, with the speed of both.
    pub(super) fn report(
        &self,
        compared: Compared,
        backend: &dyn Backend,
        images: &[u8],
    ) -> Result<Evaluated> {
        let [before, after] = speeds([&*self.backend, backend], images)?;
        let accuracy = |predictions: &Predictions| top_k_accuracy(predictions.outcomes(), 1);
        Ok(Evaluated {
            float32_accuracy: accuracy(&self.before),
            int8_accuracy: accuracy(&compared.after),
            paired: compared.paired,
            float32_images_per_second: before,
            int8_images_per_second: after,
        })
    }
}

/// Images a second of both, alternately, the median of several rounds.
fn speeds(backends: [&dyn Backend; 2], images: &[u8]) -> Result<[f64; 2]> {
    let size = 3 * backends[0].image_size().pow(2);
    let images = &images[..images.len().min(TIMED * size)];
    let start = Instant::now();
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (backend, seconds) in backends.iter().zip(&mut seconds) {
            let start = Instant::now();
            backend.logits(Images::Rgb8(images))?;
            // The first round warms up.
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        if round > 0 && start.elapsed() > LONG {
            break;
        }
    }
    let count = (images.len() / size.max(1)) as f64;
    Ok(seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        count / seconds[seconds.len() / 2]
    }))
}

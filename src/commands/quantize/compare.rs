//! Both models on the same photos: accuracy and speed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::report::Evaluated;
use super::{Work, photos};
use crate::commands::evaluation::{Photos, predicted};
use crate::data::Part;
use crate::engine::compile::Network;
use crate::engine::{Options, Pictures, Precision, Session};
use crate::error::{Error, Result};
use crate::metrics::accuracy::top_k_accuracy;
use crate::metrics::{Paired, Predictions};
use crate::progress::Progress;

/// Pictures that speed is measured on.
const TIMED: usize = 16;
const ROUNDS: usize = 7;
/// After this long no other round begins.
const LONG: Duration = Duration::from_secs(20);

/// The test photos and what the float model makes of them.
pub(super) struct Test {
    photos: Photos,
    /// The float model.
    session: Session,
    before: Predictions,
}

/// An int8 network against the float one.
pub(super) struct Compared {
    pub after: Predictions,
    pub paired: Paired,
}

impl Compared {
    /// Whether no more accuracy is lost than that.
    pub fn drops_at_most(&self, max_drop: f64) -> bool {
        // 0.9 - 0.895 in binary must not be more than 0.005.
        -self.paired.difference <= max_drop + 1e-9
    }
}

impl Work<'_> {
    /// Measures the float network on the test part of a folder.
    pub(super) fn test(&self, data: &Path, network: &Network) -> Result<Test> {
        let folder = self.scan(data)?;
        let remedy = "give the folder that the model was trained on, or put photos that it was not \
                      trained on into DIR/test/<class>";
        let model = (&*self.args.model, self.manifest);
        let (places, _) = photos::of_part(Part::Test, None, model, &folder, remedy)?;
        if places.is_empty() {
            let message = "there are no photos to evaluate on: the test part is empty";
            return Err(Error::Data(message.into()).into());
        }
        let photos = photos::relabelled(&folder, self.manifest)?;
        let options = Options {
            precision: Precision::Float32,
            ..self.options
        };
        let preprocessing = &self.manifest.preprocessing;
        let session = Session::of_network(network, preprocessing, &options, &[])?;
        let undecodable = photos::tolerated(&folder, self.args.bad.max_bad);
        let photos = Photos {
            all: photos,
            places,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            seen: None,
            undecodable,
        };
        let before = self.predicted("evaluating float32", &session, &photos)?;
        Ok(Test {
            photos,
            session,
            before,
        })
    }

    fn predicted(&self, what: &str, session: &Session, photos: &Photos) -> Result<Predictions> {
        self.progress.begin(what, photos.places.len() as u64);
        let predictions = predicted(session, self.manifest, photos, &self.stop, &self.progress)?;
        self.progress.finish();
        Ok(predictions)
    }
}

impl Test {
    /// Measures an int8 session on the same photos.
    pub fn compare(&self, session: &Session, work: &Work<'_>) -> Result<Compared> {
        let after = work.predicted("evaluating int8", session, &self.photos)?;
        let paired = Paired::of(&self.before, &after)?;
        Ok(Compared { after, paired })
    }

    /// A few of the photos as the model sees them.
    pub fn pictures(&self, count: usize, work: &Work<'_>) -> Result<Vec<u8>> {
        let Photos { all, places, .. } = &self.photos;
        let places = photos::stratified(all, places, count);
        work.pictures(all, &places, &self.photos.undecodable)
    }

    /// The comparison in numbers, with the speed of both.
    pub fn report(
        &self,
        compared: Compared,
        session: &Session,
        pictures: &[u8],
    ) -> Result<Evaluated> {
        let [before, after] = speeds([&self.session, session], pictures)?;
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
fn speeds(sessions: [&Session; 2], pictures: &[u8]) -> Result<[f64; 2]> {
    let size = 3 * sessions[0].size().pow(2);
    let pictures = &pictures[..pictures.len().min(TIMED * size)];
    let start = Instant::now();
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (session, seconds) in sessions.iter().zip(&mut seconds) {
            let start = Instant::now();
            session.logits(Pictures::Rgb8(pictures))?;
            // The first round warms up.
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        if round > 0 && start.elapsed() > LONG {
            break;
        }
    }
    let images = (pictures.len() / size.max(1)) as f64;
    Ok(seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        images / seconds[seconds.len() / 2]
    }))
}

//! The network measured on the validation photos.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::job::Job;
use super::network::{Mode, Network};
use super::profile::{Profile, Stopwatch};
use super::source::Batches;
use super::together::gathered;
use crate::data::Loader;
use crate::data::loader::Transform;
use crate::distributed::Share;
use crate::error::{NonFinite, Result};
use crate::evaluation::{each_logits, predictions};
use crate::graph::InferenceGraph;
use crate::inference::{Options, torchscript::Session};
use crate::metrics::{Evaluation, Predictions};
use crate::torch::append;

/// Measures a network as it is deployed: folded, fused, in float32; each of several processes on its part
/// of the photos. It is compiled once, in the
/// first epoch, and holds weights only while it measures.
#[derive(Default)]
pub(super) struct Validator {
    session: Option<Session>,
}

impl Validator {
    /// Measures the network on all validation photos, on what the frozen layers gave for them where
    /// that is `cached`. `each` is called with the number of photos of
    /// every batch; the time that it took is added to the profile.
    ///
    /// # Errors
    /// [`NonFinite`](crate::error::NonFinite) for a weight or a logit, and those of `each` and of
    /// reading the photos.
    pub(super) fn measure(
        &mut self,
        job: &Job<'_>,
        network: &Network,
        cached: Option<Box<dyn Batches + '_>>,
        profile: &mut Profile,
        each: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Evaluation> {
        let mut watch = Stopwatch::start();
        match cached {
            Some(batches) => {
                let own = by_network(job, network, batches, each);
                profile.validation += watch.lap();
                let predictions = gathered(job, own)?;
                profile.collectives += watch.lap();
                Evaluation::of(&predictions)
            }
            None => {
                let labels = &job.run.manifest().labels;
                let never = AtomicBool::new(false);
                // Processes stop together, when all have validated their parts.
                let stop = if job.group.is_some() {
                    &never
                } else {
                    job.stop
                };
                let own = self.by_session(job, job.share(), network, profile, |session, loader| {
                    predictions(session, loader, labels, stop, each)
                });
                let mut watch = Stopwatch::start();
                let predictions = gathered(job, own)?;
                profile.collectives += watch.lap();
                Evaluation::of(&predictions)
            }
        }
    }

    /// The class ids of the validation photos (n) and their logits, row-major (n, classes). `each` is
    /// called with the number of photos of every batch. This process does it alone.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::error::Error::Interrupted), and those of `each` and of reading
    /// the photos.
    pub(super) fn logits(
        &mut self,
        job: &Job<'_>,
        network: &Network,
        each: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<(Vec<usize>, Vec<f32>)> {
        let (mut truth, mut logits) = (Vec::new(), Vec::new());
        let ignored = &mut Profile::default();
        self.by_session(job, Share::WHOLE, network, ignored, |session, loader| {
            each_logits(session, loader, job.stop, |labels, rows| {
                truth.extend(labels.iter().map(|&label| label as usize));
                logits.extend_from_slice(rows);
                each(labels.len())
            })
        })?;
        Ok((truth, logits))
    }

    /// Runs something with the compiled network and a share of the validation photos.
    fn by_session<T>(
        &mut self,
        job: &Job<'_>,
        share: Share,
        network: &Network,
        profile: &mut Profile,
        run: impl FnOnce(&Session, &mut Loader) -> Result<T>,
    ) -> Result<T> {
        let mut watch = Stopwatch::start();
        let (config, manifest) = (job.run.config(), job.run.manifest());
        let transform = Transform {
            limits: job.limits,
            cache: job.cache.clone(),
            ..Transform::plain(&manifest.preprocessing)
        };
        let own = share.of(job.val.len());
        let (photos, order) = (Arc::clone(&job.photos), job.val[own].to_vec());
        // Decodes while the weights are folded.
        let loader = Loader::new(photos, order, config.batch_size, transform, job.workers())?;
        let mut loader = loader.tolerating(&job.undecodable);

        let folded = InferenceGraph::float(network.graph(), &network.state_dict()?)?;
        let session = match self.session.take() {
            Some(mut session) => {
                session.set_weights(&folded)?;
                session
            }
            None => {
                let options = Options::float32(network.device());
                Session::new(&folded, &manifest.preprocessing, &options)?
            }
        };
        drop(folded);
        let session = self.session.insert(session);
        let result = run(session, &mut loader);
        session.clear_weights()?;
        let result = result?;
        let waited = loader.waited();
        profile.validation += watch.lap() - waited.as_secs_f64();
        profile.add_loading(waited, loader.worked());
        Ok(result)
    }
}

/// Runs the layers behind the frozen ones on what these gave, in this process alone.
///
/// # Errors
/// [`NonFinite`](crate::error::NonFinite) for a logit, and those of `each` and of reading features.
pub(super) fn by_network(
    job: &Job<'_>,
    network: &Network,
    mut batches: Box<dyn Batches + '_>,
    each: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Predictions> {
    let labels = &job.run.manifest().labels;
    let mut predictions = Predictions::new(labels.clone());
    for batch in batches.by_ref() {
        let batch = batch?;
        let logits = network.logits(batch.first, batch.values, Mode::Evaluate)?;
        let mut rows = Vec::new();
        append(&logits, &mut rows)?;
        if !rows.iter().all(|logit| logit.is_finite()) {
            return NonFinite::weights();
        }
        for (&label, row) in batch.labels.iter().zip(rows.chunks(labels.len().max(1))) {
            predictions.push(label as usize, row)?;
        }
        each(batch.labels.len())?;
    }
    Ok(predictions)
}

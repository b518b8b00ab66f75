//! The network measured on the validation photos.

use std::sync::Arc;
use std::time::Duration;

use super::job::Job;
use super::network::Network;
use crate::data::Loader;
use crate::data::loader::Transform;
use crate::error::Result;
use crate::evaluation::predictions;
use crate::graph::InferenceGraph;
use crate::inference::{Options, torchscript::Session};
use crate::metrics::Evaluation;

/// Measures a network as it is deployed: folded, fused, in float32. It is compiled once, in the
/// first epoch, and holds weights only while it measures.
#[derive(Default)]
pub(super) struct Validator {
    session: Option<Session>,
}

impl Validator {
    /// Measures the network on the validation photos, and how long it waited for them. `each` is
    /// called with the number of photos of every batch.
    ///
    /// # Errors
    /// [`NonFinite`](crate::error::NonFinite) for a weight or a logit, and those of `each` and of
    /// reading the photos.
    pub(super) fn measure(
        &mut self,
        job: &Job<'_>,
        network: &Network,
        each: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<(Evaluation, Duration)> {
        let (config, manifest) = (job.run.config(), job.run.manifest());
        let transform = Transform {
            limits: job.limits,
            cache: job.cache.clone(),
            ..Transform::plain(&manifest.preprocessing)
        };
        let (photos, order) = (Arc::clone(&job.photos), job.val.to_vec());
        // Decodes while the weights are folded.
        let loader = Loader::new(photos, order, config.batch_size, transform, config.workers)?;
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
        let predictions = predictions(session, &mut loader, &manifest.labels, job.stop, each);
        session.clear_weights()?;
        let predictions = predictions?;
        Ok((Evaluation::of(&predictions)?, loader.waited()))
    }
}

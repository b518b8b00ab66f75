//! The threads that run the model.

use std::iter::{once, repeat_n};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::error;

use super::admission::{Admission, Permit};
use super::api_error::ApiError;
use super::batch_queue::{BatchQueue, Parallelism, PendingImage};
use super::metrics::Metrics;
use super::model::Model;
use crate::error::{Error, Result};
use crate::inference;

/// Computes logits in the order of the requests. When it is dropped, its threads finish what is
/// queued and end.
pub struct WorkerPool {
    queue: Arc<BatchQueue>,
}

impl WorkerPool {
    /// Starts one worker that computes with all `threads`, and as many that compute with one each.
    ///
    /// # Errors
    /// [`Error::Environment`] when the system refuses a thread.
    pub fn start(
        threads: usize,
        max_batch: usize,
        admission: &Arc<Admission>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self> {
        let queue = BatchQueue::new(Arc::clone(admission), threads, max_batch);
        let pool = Self {
            queue: Arc::new(queue),
        };
        let single = if threads > 1 { threads } else { 0 };
        let workers = once((Parallelism::IntraOp, threads))
            .chain(repeat_n((Parallelism::DataParallel, 1), single));
        for (parallelism, threads) in workers {
            let (queue, metrics) = (Arc::clone(&pool.queue), Arc::clone(metrics));
            let work = move || {
                inference::set_threads(threads);
                while let Some(batch) = queue.next_batch(parallelism) {
                    compute(batch, &metrics);
                    queue.finish(parallelism);
                }
            };
            let started = thread::Builder::new().name("model".into()).spawn(work);
            started
                .map_err(|cause| Error::Environment(format!("can't start a thread: {cause}")))?;
        }
        Ok(pool)
    }

    /// The logits `(classes)` of an image of 8-bit RGB `(crop, crop, 3)`. Without a permit it warms
    /// the model up. If the future is dropped before its batch starts, nothing is computed.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when the model fails.
    pub async fn logits(
        &self,
        model: Arc<Model>,
        pixels: Vec<u8>,
        permit: Option<Arc<Permit>>,
    ) -> Result<Vec<f32>, ApiError> {
        let (sender, receiver) = oneshot::channel();
        self.queue.push(PendingImage {
            model,
            pixels,
            queued: Instant::now(),
            permit,
            logits: sender,
        });
        let lost = |_| ApiError::Internal("the model gave no result".into());
        receiver.await.map_err(lost)?
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn compute(batch: Vec<PendingImage>, metrics: &Metrics) {
    let start = Instant::now();
    let pixels: Vec<&[u8]> = batch.iter().map(|image| &image.pixels[..]).collect();
    let model = Arc::clone(&batch[0].model);
    let logits = catch_unwind(AssertUnwindSafe(|| {
        model.warm_up()?;
        model.logits(&pixels.concat())
    }));
    let elapsed = start.elapsed();
    for image in &batch {
        metrics.dequeued(start.duration_since(image.queued));
    }
    metrics.inferred(batch.len(), elapsed);
    let logits = match logits {
        Ok(Ok(logits)) => logits,
        Ok(Err(cause)) => return fail(batch, &format!("{cause:#}")),
        Err(_) => return fail(batch, "the model's thread panicked"),
    };
    let classes = model.manifest.labels.len();
    for (image, row) in batch.into_iter().zip(logits.chunks(classes)) {
        image.respond(Ok(row.to_vec()));
    }
}

fn fail(batch: Vec<PendingImage>, cause: &str) {
    error!(pictures = batch.len(), "prediction failed: {cause}");
    for image in batch {
        let error = ApiError::Internal("the model failed; see the server's log".into());
        image.respond(Err(error));
    }
}

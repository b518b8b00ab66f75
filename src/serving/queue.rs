//! The bounded queue, and the thread at its end that owns the arithmetic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::error;

use super::metrics::Metrics;
use super::model::Model;
use super::refusal::Refusal;
use crate::engine;
use crate::error::{Error, Result};

/// Pictures on their way from upload to answer. Each holds a place, so all else is bounded too.
pub struct Queue {
    jobs: UnboundedSender<Job>,
    places: Arc<Semaphore>,
    size: usize,
    pace: Arc<Pace>,
}

/// Places of one or more pictures; dropping it leaves the queue.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

struct Job {
    model: Arc<Model>,
    /// 8-bit RGB (crop, crop, 3).
    pixels: Vec<u8>,
    since: Instant,
    answer: oneshot::Sender<Result<Vec<f32>, Refusal>>,
}

/// Nanoseconds that the model lately took for a picture.
#[derive(Default)]
struct Pace(AtomicU64);

impl Queue {
    /// Starts the model's thread. It ends when the queue is dropped.
    ///
    /// # Errors
    /// [`Error::Environment`] when there can be no thread.
    pub fn start(
        size: usize,
        max_batch: usize,
        threads: usize,
        metrics: &Arc<Metrics>,
    ) -> Result<Self> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let pace = Arc::<Pace>::default();
        let worker = Worker {
            waiting,
            max_batch,
            pace: Arc::clone(&pace),
            metrics: Arc::clone(metrics),
        };
        let work = move || {
            engine::use_threads(threads);
            worker.work();
        };
        let started = thread::Builder::new().name("model".into()).spawn(work);
        started.map_err(|cause| Error::Environment(format!("can't start a thread: {cause}")))?;
        Ok(Self {
            jobs,
            places: Arc::new(Semaphore::new(size)),
            size,
            pace,
        })
    }

    /// Places for the pictures of a request.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when there are not that many left.
    pub fn enter(&self, pictures: usize) -> Result<Place, Refusal> {
        let wanted = u32::try_from(pictures).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.places).try_acquire_many_owned(wanted);
        places.map(Place).map_err(|_| Refusal::Busy {
            retry_after: self.pace.of(self.size).as_secs() + 1,
        })
    }

    /// Pictures that have a place now.
    pub fn taken(&self) -> usize {
        self.size.saturating_sub(self.places.available_permits())
    }

    /// Pictures that may have one.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The logits of a picture that has a place. Whoever stops waiting is not computed for.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the model fails.
    pub async fn logits(&self, model: Arc<Model>, pixels: Vec<u8>) -> Result<Vec<f32>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            model,
            pixels,
            since: Instant::now(),
            answer,
        };
        self.jobs.send(job).map_err(|_| no_answer())?;
        answered.await.map_err(|_| no_answer())?
    }
}

fn no_answer() -> Refusal {
    Refusal::Internal("the model gave no answer".into())
}

impl Pace {
    fn of(&self, pictures: usize) -> Duration {
        Duration::from_nanos(
            self.0
                .load(Ordering::Relaxed)
                .saturating_mul(pictures as u64),
        )
    }

    fn note(&self, batch: Duration, pictures: usize) {
        let nanos = u64::try_from(batch.as_nanos()).unwrap_or(u64::MAX) / pictures.max(1) as u64;
        let before = self.0.load(Ordering::Relaxed);
        let now = if before == 0 {
            nanos
        } else {
            before / 8 * 7 + nanos / 8
        };
        self.0.store(now, Ordering::Relaxed);
    }
}

struct Worker {
    waiting: UnboundedReceiver<Job>,
    max_batch: usize,
    pace: Arc<Pace>,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn work(mut self) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| self.waiting.blocking_recv()) {
            let mut batch = vec![first];
            while batch.len() < self.max_batch {
                match self.waiting.try_recv() {
                    Ok(job) if Arc::ptr_eq(&job.model, &batch[0].model) => batch.push(job),
                    Ok(job) => {
                        next = Some(job);
                        break;
                    }
                    Err(_) => break,
                }
            }
            batch.retain(|job| !job.answer.is_closed());
            if !batch.is_empty() {
                self.run(batch);
            }
        }
    }

    fn run(&self, batch: Vec<Job>) {
        let start = Instant::now();
        let pixels: Vec<&[u8]> = batch.iter().map(|job| &job.pixels[..]).collect();
        let model = Arc::clone(&batch[0].model);
        let logits = catch_unwind(AssertUnwindSafe(|| model.logits(&pixels.concat())));
        let took = start.elapsed();
        self.pace.note(took, batch.len());
        for job in &batch {
            self.metrics.waited(start.duration_since(job.since));
        }
        self.metrics.ran(batch.len(), took);
        let logits = match logits {
            Ok(Ok(logits)) => logits,
            Ok(Err(cause)) => return fail(batch, &format!("{cause:#}")),
            Err(_) => return fail(batch, "the model's thread panicked"),
        };
        let classes = model.manifest.labels.len();
        for (job, row) in batch.into_iter().zip(logits.chunks(classes)) {
            // Whoever asked may be gone by now.
            job.answer.send(Ok(row.to_vec())).ok();
        }
    }
}

fn fail(batch: Vec<Job>, why: &str) {
    error!(pictures = batch.len(), "prediction failed: {why}");
    for job in batch {
        let refusal = Refusal::Internal("the model failed; the server's log says more".into());
        job.answer.send(Err(refusal)).ok();
    }
}

//! The bounded queue, and the thread at its end that owns the arithmetic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Pictures on their way from upload to answer.
pub struct Queue {
    jobs: UnboundedSender<Job>,
    places: Arc<Semaphore>,
    size: usize,
    pace: Arc<Pace>,
}

/// Places of the pictures of a request. They are free when the request is answered and no work for
/// it is left, so that what is in memory never has more than the queue's size.
pub struct Place {
    permit: OwnedSemaphorePermit,
    pace: Arc<Pace>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pace.left(self.permit.num_permits());
    }
}

struct Job {
    model: Arc<Model>,
    /// 8-bit RGB (crop, crop, 3).
    pixels: Vec<u8>,
    since: Instant,
    /// `None` for the pictures that a model is warmed up with.
    place: Option<Arc<Place>>,
    answer: oneshot::Sender<Result<Vec<f32>, Refusal>>,
}

/// How fast pictures lately left the queue.
struct Pace {
    /// Nanoseconds from one to the next.
    gap: AtomicU64,
    last: Mutex<Instant>,
}

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
        let pace = Arc::new(Pace::new());
        let worker = Worker {
            waiting,
            max_batch,
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

    /// Refuses a request before its upload, which costs more than the refusal.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when no place is left.
    pub fn has_place(&self) -> Result<(), Refusal> {
        match self.places.available_permits() {
            0 => Err(self.busy()),
            _ => Ok(()),
        }
    }

    fn busy(&self) -> Refusal {
        Refusal::Busy {
            retry_after: self.pace.of(self.size).as_secs() + 1,
        }
    }

    /// Places for the pictures of a request.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when there are not that many left.
    pub fn enter(&self, pictures: usize) -> Result<Arc<Place>, Refusal> {
        let wanted = u32::try_from(pictures).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.places).try_acquire_many_owned(wanted);
        let permit = permit.map_err(|_| self.busy())?;
        let pace = Arc::clone(&self.pace);
        Ok(Arc::new(Place { permit, pace }))
    }

    /// Pictures that have a place now.
    pub fn taken(&self) -> usize {
        self.size.saturating_sub(self.places.available_permits())
    }

    /// Pictures that may have one.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The logits of a picture. Whoever stops waiting is not computed for.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the model fails.
    pub async fn logits(
        &self,
        model: Arc<Model>,
        pixels: Vec<u8>,
        place: Option<Arc<Place>>,
    ) -> Result<Vec<f32>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            model,
            pixels,
            since: Instant::now(),
            place,
            answer,
        };
        self.jobs.send(job).map_err(|_| no_answer())?;
        answered.await.map_err(|_| no_answer())?
    }
}

impl Job {
    fn answer(self, result: Result<Vec<f32>, Refusal>) {
        // First, so that whoever has the answer finds a place for the next question.
        drop(self.place);
        // Whoever asked may be gone by now.
        self.answer.send(result).ok();
    }
}

fn no_answer() -> Refusal {
    Refusal::Internal("the model gave no answer".into())
}

impl Pace {
    fn new() -> Self {
        Self {
            gap: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    fn of(&self, pictures: usize) -> Duration {
        let gap = self.gap.load(Ordering::Relaxed);
        Duration::from_nanos(gap.saturating_mul(pictures as u64))
    }

    fn left(&self, pictures: usize) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A longer one is a pause.
        let gap = now.duration_since(*last).min(Duration::from_secs(1));
        *last = now;
        let nanos = gap.as_nanos() as u64 / pictures.max(1) as u64;
        let before = self.gap.load(Ordering::Relaxed);
        self.gap
            .store(before / 8 * 7 + nanos / 8, Ordering::Relaxed);
    }
}

struct Worker {
    waiting: UnboundedReceiver<Job>,
    max_batch: usize,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn work(mut self) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| self.waiting.blocking_recv()) {
            let mut batch = vec![first];
            while batch.len() < self.max_batch {
                match self.waiting.try_recv() {
                    Ok(job) if job.answer.is_closed() => {}
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
            job.answer(Ok(row.to_vec()));
        }
    }
}

fn fail(batch: Vec<Job>, why: &str) {
    error!(pictures = batch.len(), "prediction failed: {why}");
    for job in batch {
        let refusal = Refusal::Internal("the model failed; the server's log says more".into());
        job.answer(Err(refusal));
    }
}

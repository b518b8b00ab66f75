//! Decoded images waiting for the model, handed out in batches.
//!
//! A few images are computed intra-op parallel, by all cores together, which has the lowest latency.
//! When more wait, they are computed data parallel, each core a batch of its own: threads that share
//! an operator wait for each other at every layer, and connections and decoders on the same cores
//! always keep one of them waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::admission::{Admission, Permit};
use super::api_error::ApiError;
use super::model::Model;

/// A decoded image, and where to send its logits.
pub struct PendingImage {
    pub model: Arc<Model>,
    /// 8-bit RGB `(crop, crop, 3)`.
    pub pixels: Vec<u8>,
    pub queued: Instant,
    /// None for an image that warms a model up.
    pub permit: Option<Arc<Permit>>,
    pub logits: oneshot::Sender<Result<Vec<f32>, ApiError>>,
}

impl PendingImage {
    pub fn respond(self, result: Result<Vec<f32>, ApiError>) {
        // First, so that a client that has its response is admitted with its next request.
        drop(self.permit);
        // The request may have been given up by now.
        self.logits.send(result).ok();
    }
}

/// How the cores share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parallelism {
    /// One worker computes one batch with all threads.
    IntraOp,
    /// Each worker computes a batch of its own with one thread.
    DataParallel,
}

/// Images in the order in which they came, and how many workers are busy. Workers of the two
/// kinds never run at the same time.
pub struct BatchQueue {
    state: Mutex<State>,
    intra_op: Condvar,
    data_parallel: Condvar,
    admission: Arc<Admission>,
    threads: usize,
    max_batch: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<PendingImage>,
    intra_op_busy: bool,
    data_parallel_busy: usize,
    closed: bool,
}

impl BatchQueue {
    pub fn new(admission: Arc<Admission>, threads: usize, max_batch: usize) -> Self {
        Self {
            state: Mutex::default(),
            intra_op: Condvar::new(),
            data_parallel: Condvar::new(),
            admission,
            threads,
            max_batch,
        }
    }

    pub fn push(&self, image: PendingImage) {
        let mut state = self.lock();
        state.waiting.push_back(image);
        self.wake(&state);
    }

    /// Ends the workers once nothing is waiting any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.intra_op.notify_all();
        self.data_parallel.notify_all();
    }

    /// Waits for the next batch for a worker of this kind, all for the same model. It is not empty,
    /// and its worker calls [`Self::finish`] after it. `None` when the queue is closed.
    pub fn next_batch(&self, parallelism: Parallelism) -> Option<Vec<PendingImage>> {
        let mut state = self.lock();
        loop {
            let next = self.next_parallelism(&state);
            if next == Some(parallelism) {
                let size = self.batch_size(&state);
                let batch = state.take_batch(size);
                if batch.is_empty() {
                    continue;
                }
                match parallelism {
                    Parallelism::IntraOp => state.intra_op_busy = true,
                    Parallelism::DataParallel => state.data_parallel_busy += 1,
                }
                self.wake(&state);
                return Some(batch);
            }
            if state.closed && state.waiting.is_empty() {
                return None;
            }
            if next.is_some() {
                self.wake(&state);
            }
            let waiting = self.workers(parallelism).wait(state);
            state = waiting.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A worker of this kind has computed its batch.
    pub fn finish(&self, parallelism: Parallelism) {
        let mut state = self.lock();
        match parallelism {
            Parallelism::IntraOp => state.intra_op_busy = false,
            Parallelism::DataParallel => state.data_parallel_busy -= 1,
        }
        self.wake(&state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self, parallelism: Parallelism) -> &Condvar {
        match parallelism {
            Parallelism::IntraOp => &self.intra_op,
            Parallelism::DataParallel => &self.data_parallel,
        }
    }

    /// The kind of worker that takes the next batch, if any may now.
    fn next_parallelism(&self, state: &State) -> Option<Parallelism> {
        if state.intra_op_busy || state.waiting.is_empty() {
            return None;
        }
        // Images that are being decoded count too: decoders need the cores.
        let many = self.threads > 1 && self.admission.in_flight() >= self.threads;
        match many || state.data_parallel_busy > 0 {
            true => Some(Parallelism::DataParallel),
            false => Some(Parallelism::IntraOp),
        }
    }

    /// Wakes a worker for the next batch, or all of them to end.
    fn wake(&self, state: &State) {
        if state.closed {
            self.intra_op.notify_all();
            self.data_parallel.notify_all();
        } else if let Some(parallelism) = self.next_parallelism(state) {
            self.workers(parallelism).notify_one();
        }
    }

    /// How many images the next batch takes, so that as many are left for each idle worker.
    fn batch_size(&self, state: &State) -> usize {
        let idle = self.threads.saturating_sub(state.data_parallel_busy).max(1);
        let images = state.waiting.len().div_ceil(idle);
        let first = state.waiting.front();
        let preferred = first.map_or(images, |first| first.model.efficient_batch(images));
        preferred.min(self.max_batch)
    }
}

impl State {
    /// At most `size` images for the model of the first one, without those whose requests were
    /// given up.
    fn take_batch(&mut self, size: usize) -> Vec<PendingImage> {
        let mut batch: Vec<PendingImage> = Vec::new();
        while batch.len() < size
            && let Some(image) = self.waiting.pop_front()
        {
            if image.logits.is_closed() {
                continue;
            }
            let same_model = |first: &PendingImage| Arc::ptr_eq(&first.model, &image.model);
            if !batch.first().is_none_or(same_model) {
                self.waiting.push_front(image);
                break;
            }
            batch.push(image);
        }
        batch
    }
}

//! The threads that own the arithmetic.
//!
//! A few pictures are computed by all cores as a team, which answers soonest. When more wait, each
//! core computes pictures of its own: members of a team wait for each other at every layer, and
//! connections and decoders on the same cores keep one of them waiting all the time.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::error;

use super::metrics::Metrics;
use super::model::Model;
use super::queue::{Place, Queue};
use super::refusal::Refusal;
use crate::error::{Error, Result};
use crate::inference;

/// A picture to be computed.
struct Job {
    model: Arc<Model>,
    pixels: Vec<u8>,
    since: Instant,
    place: Option<Arc<Place>>,
    answer: oneshot::Sender<Result<Vec<f32>, Refusal>>,
}

impl Job {
    fn answer(self, result: Result<Vec<f32>, Refusal>) {
        // First, so that whoever has the answer finds a place for the next question.
        drop(self.place);
        // Whoever asked may be gone by now.
        self.answer.send(result).ok();
    }
}

/// Computes what it is given, in that order. Its threads end with it, when nothing is left to do.
pub struct Crew(Arc<Line>);

impl Crew {
    /// Starts a thread that leads a team of so many, and as many that work alone.
    ///
    /// # Errors
    /// [`Error::Environment`] when there can be no thread.
    pub fn start(
        threads: usize,
        max_batch: usize,
        queue: &Arc<Queue>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self> {
        let crew = Self(Arc::new(Line {
            work: Mutex::default(),
            for_team: Condvar::new(),
            for_one: Condvar::new(),
            queue: Arc::clone(queue),
            threads,
            max_batch,
        }));
        let alone = if threads > 1 { threads } else { 0 };
        let roles = std::iter::once(Role::Team).chain(std::iter::repeat_n(Role::One, alone));
        for role in roles {
            let (line, metrics) = (Arc::clone(&crew.0), Arc::clone(metrics));
            let work = move || {
                inference::set_threads(if role == Role::Team { threads } else { 1 });
                while let Some(batch) = line.take(role) {
                    compute(batch, &metrics);
                    line.done(role);
                }
            };
            let started = thread::Builder::new().name("model".into()).spawn(work);
            started
                .map_err(|cause| Error::Environment(format!("can't start a thread: {cause}")))?;
        }
        Ok(crew)
    }

    /// The logits of a picture, 8-bit RGB (crop, crop, 3), which has a place unless a model is
    /// warmed up with it. Whoever stops waiting is not computed for.
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
        self.0.push(Job {
            model,
            pixels,
            since: Instant::now(),
            place,
            answer,
        });
        let lost = |_| Refusal::Internal("the model gave no result".into());
        answered.await.map_err(lost)?
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let mut work = self.0.lock();
        work.over = true;
        self.0.call(&work);
    }
}

/// Who computes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// All threads together, while nobody works alone.
    Team,
    /// One thread, while the team does not work.
    One,
}

/// What waits, and who is at work.
struct Line {
    work: Mutex<Work>,
    for_team: Condvar,
    for_one: Condvar,
    queue: Arc<Queue>,
    threads: usize,
    max_batch: usize,
}

#[derive(Default)]
struct Work {
    waiting: VecDeque<Job>,
    team: bool,
    alone: usize,
    over: bool,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        let mut work = self.lock();
        work.waiting.push_back(job);
        self.call(&work);
    }

    /// Who is to take the next batch.
    fn turn(&self, work: &Work) -> Option<Role> {
        // Those that are being decoded count too: decoders need the cores.
        let many = self.threads > 1 && self.queue.taken() >= self.threads;
        match work {
            Work { team: true, .. } => None,
            work if work.waiting.is_empty() => None,
            work if many || work.alone > 0 => Some(Role::One),
            _ => Some(Role::Team),
        }
    }

    /// Wakes a thread whose turn it is, or all when there is nothing more to come.
    fn call(&self, work: &Work) {
        if work.over {
            self.for_team.notify_all();
            self.for_one.notify_all();
            return;
        }
        match self.turn(work) {
            Some(Role::Team) => self.for_team.notify_one(),
            Some(Role::One) => self.for_one.notify_one(),
            None => {}
        }
    }

    /// The next batch for a thread of that role, all for the same model, or `None` when there will
    /// be no more.
    fn take(&self, role: Role) -> Option<Vec<Job>> {
        let mut work = self.lock();
        loop {
            let turn = self.turn(&work);
            if turn == Some(role) {
                let most = self.share(&work);
                let batch = work.batch(most);
                if batch.is_empty() {
                    continue;
                }
                match role {
                    Role::Team => work.team = true,
                    Role::One => work.alone += 1,
                }
                self.call(&work);
                return Some(batch);
            }
            if work.over && work.waiting.is_empty() {
                return None;
            }
            if turn.is_some() {
                self.call(&work);
            }
            let called = match role {
                Role::Team => &self.for_team,
                Role::One => &self.for_one,
            };
            work = called.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, role: Role) {
        let mut work = self.lock();
        match role {
            Role::Team => work.team = false,
            Role::One => work.alone -= 1,
        }
        self.call(&work);
    }

    /// How many pictures one takes, so that others who are free have as many. Kernels are slower
    /// for odd numbers.
    fn share(&self, work: &Work) -> usize {
        let free = self.threads.saturating_sub(work.alone).max(1);
        let share = work.waiting.len().div_ceil(free);
        let even = if share > 1 {
            share.next_multiple_of(2)
        } else {
            share
        };
        even.min(self.max_batch)
    }
}

impl Work {
    /// At most so many that wait for the first one's model, without those whose clients left.
    fn batch(&mut self, most: usize) -> Vec<Job> {
        let mut batch: Vec<Job> = Vec::new();
        while batch.len() < most
            && let Some(job) = self.waiting.pop_front()
        {
            if job.answer.is_closed() {
                continue;
            }
            let same = |first: &Job| Arc::ptr_eq(&first.model, &job.model);
            if !batch.first().is_none_or(same) {
                self.waiting.push_front(job);
                break;
            }
            batch.push(job);
        }
        batch
    }
}

fn compute(batch: Vec<Job>, metrics: &Metrics) {
    let start = Instant::now();
    let pixels: Vec<&[u8]> = batch.iter().map(|job| &job.pixels[..]).collect();
    let model = Arc::clone(&batch[0].model);
    let logits = catch_unwind(AssertUnwindSafe(|| {
        model.warm_up()?;
        model.logits(&pixels.concat())
    }));
    let took = start.elapsed();
    for job in &batch {
        metrics.waited(start.duration_since(job.since));
    }
    metrics.ran(batch.len(), took);
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

fn fail(batch: Vec<Job>, why: &str) {
    error!(pictures = batch.len(), "prediction failed: {why}");
    for job in batch {
        let refusal = Refusal::Internal("the model failed; see the server's log".into());
        job.answer(Err(refusal));
    }
}

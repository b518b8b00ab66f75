//! What a run trains on, with whom, and the flag that stops it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::budget::Budget;
use super::checkpoint::State;
use super::run::Run;
use super::teacher::Teacher;
use crate::data::{DecodedCache, Photo, Undecodable};
use crate::distributed::{Group, Share};
use crate::error::{Error, Result};
use crate::image::Limits;

/// A run with its photos.
pub(super) struct Job<'a> {
    pub run: &'a Run,
    pub photos: Arc<[Photo]>,
    /// Counts the photos that are left out because they can't be decoded.
    pub undecodable: Arc<Undecodable>,
    /// Indices of the training photos.
    pub train: &'a [usize],
    /// Indices of the validation photos, which choose the best epoch.
    pub val: &'a [usize],
    /// Number of photos that the best model is measured on in the end.
    pub tested: usize,
    pub budget: Option<Budget>,
    pub limits: Limits,
    /// What the network learns from besides the labels.
    pub teacher: Option<&'a Teacher>,
    /// Decoded photos.
    pub cache: Option<Arc<DecodedCache>>,
    /// Where features are kept for other runs too; `None` for the run's own folder, until it ends.
    pub shared_features: Option<PathBuf>,
    /// Whether the session pauses after an epoch, to be resumed from there. One that may pause does not
    /// end the run.
    pub pauses: Option<&'a dyn Fn(&State) -> bool>,
    /// Set by Ctrl-C: the batch is finished, the run saved.
    pub stop: &'a AtomicBool,
    /// The processes that train together, this one among them.
    pub group: Option<&'a Group>,
}

impl Job<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn is_paused(&self, state: &State) -> bool {
        self.pauses.is_some_and(|pauses| pauses(state))
    }

    /// What this process does of everything that is shared.
    pub(super) fn share(&self) -> Share {
        self.group.map_or(Share::WHOLE, Group::share)
    }

    /// Threads of this process that load photos.
    pub(super) fn workers(&self) -> usize {
        per_process(self.run.config().workers, self.group)
    }

    /// The result of this process, unless another one has failed.
    ///
    /// # Errors
    /// This process's, or that of another.
    pub(super) fn together<T>(&self, own: Result<T>) -> Result<T> {
        match self.group {
            Some(group) => group.together(own),
            None => own,
        }
    }

    /// What process 0 decides, if there is something to be decided.
    ///
    /// # Errors
    /// As [`Group::sum`].
    pub(super) fn decided(&self, own: Option<bool>) -> Result<bool> {
        match (self.group, own) {
            (_, None) => Ok(false),
            (None, Some(own)) => Ok(own),
            (Some(group), Some(own)) => {
                let first = own && group.is_first();
                let [decided] = group.sum(Ok([f64::from(u8::from(first))]))?;
                Ok(decided > 0.0)
            }
        }
    }

    /// Does what only one process may do, such as writing files. The others wait, and fail with it.
    ///
    /// # Errors
    /// Those of the work.
    pub(super) fn once(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let is_mine = self.share().rank == 0;
        self.together(if is_mine { work() } else { Ok(()) })
    }

    /// As [`once`](Self::once), for what may take long.
    ///
    /// # Errors
    /// Those of the work.
    pub(super) fn alone(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        match self.group {
            Some(group) => group.patiently(|| self.once(work)),
            None => work(),
        }
    }

    pub(super) fn interrupted(&self) -> anyhow::Error {
        let stopped = Error::Interrupted("stopped".into());
        self.run.explain_interruption(stopped.into())
    }
}

/// Each process's part of the threads of a machine.
pub(super) fn per_process(threads: usize, group: Option<&Group>) -> usize {
    (threads / group.map_or(1, Group::local_world)).max(1)
}

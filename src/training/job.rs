//! What a run trains on, and the flag that stops it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::budget::Budget;
use super::checkpoint::State;
use super::run::Run;
use super::teacher::Teacher;
use crate::data::{DecodedCache, Photo, Undecodable};
use crate::error::Error;
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
}

impl Job<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn is_paused(&self, state: &State) -> bool {
        self.pauses.is_some_and(|pauses| pauses(state))
    }

    pub(super) fn interrupted(&self) -> anyhow::Error {
        let stopped = Error::Interrupted("stopped".into());
        self.run.explain_interruption(stopped.into())
    }
}

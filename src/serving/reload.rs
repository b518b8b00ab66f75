//! Loads the model, and loads it again on SIGHUP or when its file changes.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::interval;
use tracing::{error, info, warn};

use super::model::Model;
use super::shutdown::Shutdown;
use super::state::AppState;
use crate::error::{Error, Result};
use crate::memory;

/// A changed file is loaded when it looks the same twice in a row, so not while it is being copied.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Loads the configured model, tests it, and serves new requests from it.
///
/// # Errors
/// As [`Model::load`].
pub async fn install(state: &Arc<AppState>) -> Result<()> {
    let model = load(state).await?;
    // Twice, as the worker that uses all threads starts them with its first batches.
    let side = model.manifest.preprocessing.crop as usize;
    for _ in 0..2 {
        let black = vec![0; 3 * side * side];
        let logits = state.workers.logits(Arc::clone(&model), black, None).await;
        logits.map_err(|error| Error::Data(error.to_string()))?;
    }
    info!(sha256 = model.sha256, computing = %model.execution, "model installed");
    if let Some(why) = &model.execution.passed_over {
        warn!("oneDNN is not used, so it is slower: {why}");
    }
    state.install(model);
    spawn_blocking(memory::release_unused);
    Ok(())
}

async fn load(state: &Arc<AppState>) -> Result<Arc<Model>> {
    let state = Arc::clone(state);
    let load = move || {
        let config = &state.config;
        let model = Model::load(
            &config.model,
            &config.inference,
            config.threads,
            config.max_batch,
        )?;
        if let Some(collection) = &state.collection {
            collection.check_labels(&model.manifest.labels)?;
        }
        Ok(Arc::new(model))
    };
    // Not a pooled thread: its OpenMP threads would live on with it, and with more of them than cores
    // all would sleep at each barrier, which doubles the time of a prediction.
    let (sender, receiver) = oneshot::channel();
    let started = thread::Builder::new().name("loader".into()).spawn(move || {
        sender.send(load()).ok();
    });
    started.map_err(|cause| Error::Environment(format!("can't start a thread: {cause}")))?;
    receiver
        .await
        .unwrap_or_else(|_| Err(Error::Data("loading the model panicked".into()).into()))
}

/// Reloads the model when it is time.
pub struct ModelWatcher {
    sighup: Sighup,
    /// Of the file as it was before it was last loaded.
    loaded: Option<FileStamp>,
}

impl ModelWatcher {
    /// Created before the first load, so that no change is missed.
    ///
    /// # Errors
    /// [`Error::Environment`] when SIGHUP can't be caught.
    pub fn new(model: &Path) -> Result<Self> {
        Ok(Self {
            sighup: Sighup::new()?,
            loaded: FileStamp::of(model),
        })
    }

    /// Reloads the model on each SIGHUP, with the API keys, and on each change of its file, until the
    /// server drains.
    pub async fn run(mut self, state: &Arc<AppState>, shutdown: Shutdown) {
        let model = &state.config.model;
        let mut poll = interval(POLL_INTERVAL);
        let mut last = self.loaded;
        loop {
            tokio::select! {
                () = shutdown.draining.cancelled() => return,
                () = self.sighup.recv() => reload_keys(state),
                _ = poll.tick() => {
                    let stamp = FileStamp::of(model);
                    let settled = stamp == std::mem::replace(&mut last, stamp);
                    if stamp == self.loaded || !settled || stamp.is_none() {
                        continue;
                    }
                }
            }
            self.loaded = FileStamp::of(model);
            last = self.loaded;
            reload_model(state).await;
        }
    }
}

async fn reload_model(state: &Arc<AppState>) {
    let mut reloading = vec![NotifyState::Reloading];
    reloading.extend(NotifyState::monotonic_usec_now());
    sd_notify::notify(&reloading).ok();
    let installed = install(state).await;
    state.metrics.reloaded(installed.is_ok());
    if let Err(cause) = installed {
        error!("the new model can't be used, keeping the old one: {cause:#}");
    }
    sd_notify::notify(&[NotifyState::Ready]).ok();
}

fn reload_keys(state: &AppState) {
    if let Some(Err(cause)) = state.config.keys.as_ref().map(|keys| keys.reload()) {
        error!("the new API keys can't be used, keeping the old ones: {cause:#}");
    }
}

/// Changes when a file is replaced or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl FileStamp {
    /// None while there is no such file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            inode,
        })
    }
}

/// The signal SIGHUP, which never comes on systems without it.
struct Sighup {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Sighup {
    fn new() -> Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .map_err(|cause| Error::Environment(format!("can't catch SIGHUP: {cause}")))?,
        })
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        self.signal.recv().await;
        #[cfg(not(unix))]
        std::future::pending::<()>().await;
    }
}

//! Loads the model, and loads it anew on SIGHUP or when its file changes.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::interval;
use tracing::{error, info};

use super::model::Model;
use super::service::Service;
use super::stop::Stop;
use crate::error::{Error, Result};
use crate::memory;

/// Between two looks at the file. A change counts when two looks in a row see the same, so that a
/// file which is being copied is not read.
const LOOK: Duration = Duration::from_secs(1);

/// Loads the model of the settings, tests it, and lets it answer from now on.
///
/// # Errors
/// As [`Model::load`].
pub async fn install(service: &Arc<Service>) -> Result<()> {
    let model = load(service).await?;
    // The leader of the team has threads of its own to start.
    let side = model.manifest.preprocessing.crop as usize;
    for _ in 0..2 {
        let drawn = vec![0; 3 * side * side];
        let answer = service.crew.logits(Arc::clone(&model), drawn, None).await;
        answer.map_err(|refusal| Error::Data(refusal.to_string()))?;
    }
    info!(sha256 = model.sha256, computing = %model.execution, "model installed");
    service.install(model);
    spawn_blocking(memory::release_unused);
    Ok(())
}

async fn load(service: &Arc<Service>) -> Result<Arc<Model>> {
    let service = Arc::clone(service);
    let load = move || {
        let settings = &service.settings;
        let model = Model::load(
            &settings.model,
            &settings.inference,
            settings.threads,
            settings.max_batch,
        )?;
        if let Some(collection) = &service.collection {
            collection.accepts(&model.manifest.labels)?;
        }
        Ok(Arc::new(model))
    };
    // Not a thread that lives on: the OpenMP threads that it brings with it would, and with more of
    // them than cores all would sleep at each barrier, which doubles the time of a prediction.
    let (tell, told) = oneshot::channel();
    let started = thread::Builder::new().name("loader".into()).spawn(move || {
        tell.send(load()).ok();
    });
    started.map_err(|cause| Error::Environment(format!("can't start a thread: {cause}")))?;
    told.await
        .unwrap_or_else(|_| Err(Error::Data("loading the model panicked".into()).into()))
}

/// What asks for the model to be loaded anew.
pub struct Watch {
    asked: Hangup,
    /// The file as it was before it was last loaded.
    loaded: Option<Seen>,
}

impl Watch {
    /// Begins to watch, before the first load so that nothing is missed.
    ///
    /// # Errors
    /// [`Error::Environment`] when the system refuses to tell of SIGHUP.
    pub fn new(model: &Path) -> Result<Self> {
        Ok(Self {
            asked: Hangup::new()?,
            loaded: look(model),
        })
    }

    /// Loads the model anew as often as it is asked to; ends when the server stops.
    pub async fn run(mut self, service: &Arc<Service>, stop: Stop) {
        let mut looks = interval(LOOK);
        let mut seen = self.loaded;
        loop {
            tokio::select! {
                () = stop.draining.cancelled() => return,
                () = self.asked.next() => renew_keys(service),
                _ = looks.tick() => {
                    let now = look(&service.settings.model);
                    let settled = now == std::mem::replace(&mut seen, now);
                    if now == self.loaded || !settled || now.is_none() {
                        continue;
                    }
                }
            }
            self.loaded = look(&service.settings.model);
            seen = self.loaded;
            renew(service).await;
        }
    }
}

async fn renew(service: &Arc<Service>) {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    sd_notify::notify(&states).ok();
    let installed = install(service).await;
    service.metrics.reloaded(installed.is_ok());
    if let Err(cause) = installed {
        error!("the new model can't be used, the old one stays: {cause:#}");
    }
    sd_notify::notify(&[NotifyState::Ready]).ok();
}

fn renew_keys(service: &Service) {
    if let Some(Err(cause)) = service.settings.keys.as_ref().map(|keys| keys.reload()) {
        error!("the new API keys can't be used, the old ones stay: {cause:#}");
    }
}

/// What changes when a file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

fn look(path: &Path) -> Option<Seen> {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Seen {
        modified: metadata.modified().ok(),
        length: metadata.len(),
        inode,
    })
}

struct Hangup {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangup {
    fn new() -> Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .map_err(|cause| Error::Environment(format!("can't catch SIGHUP: {cause}")))?,
        })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        self.signal.recv().await;
        #[cfg(not(unix))]
        std::future::pending::<()>().await;
    }
}

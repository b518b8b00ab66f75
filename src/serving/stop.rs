//! The two steps of an orderly end: no new work, then no more patience.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::ctrl_c;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::{Error, Result};

/// Where the program stands on its way out; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// SIGTERM or Ctrl-C came: finish what was accepted.
    pub draining: CancellationToken,
    /// The time for that is over: refuse what is still unfinished.
    pub over: CancellationToken,
}

impl Stop {
    /// Starts to drain at the first SIGTERM or Ctrl-C; at the second the time is over.
    ///
    /// # Errors
    /// [`Error::Environment`] when the system refuses to tell of signals.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let told = stop.clone();
        let mut signals = Signals::new()
            .map_err(|cause| Error::Environment(format!("can't catch signals: {cause}")))?;
        tokio::spawn(async move {
            signals.next().await;
            info!("draining: finishing accepted requests, not ready for more");
            sd_notify::notify(&[NotifyState::Stopping]).ok();
            told.draining.cancel();
            signals.next().await;
            warn!("second signal: refusing unfinished requests");
            told.over.cancel();
        });
        Ok(stop)
    }

    /// Whether no new work is wanted.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Ends the time for unfinished work after `patience`.
    pub fn end_after(&self, patience: Duration) {
        let over = self.over.clone();
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            over.cancel();
        });
    }
}

struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = ctrl_c() => {}
        }
        #[cfg(not(unix))]
        ctrl_c().await.ok();
    }
}

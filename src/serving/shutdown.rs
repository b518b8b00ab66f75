//! Graceful shutdown in two steps: drain, then abort.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::ctrl_c;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::{Error, Result};

/// How far the shutdown has come; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// SIGTERM or Ctrl-C came: finish accepted requests.
    pub draining: CancellationToken,
    /// The drain timeout has passed: fail unfinished requests.
    pub aborting: CancellationToken,
}

impl Shutdown {
    /// Drains at the first SIGTERM or Ctrl-C, and aborts at the second.
    ///
    /// # Errors
    /// [`Error::Environment`] when the signals can't be caught.
    pub fn on_signals() -> Result<Self> {
        let shutdown = Self::default();
        let tokens = shutdown.clone();
        let mut signals = TerminationSignals::new()
            .map_err(|cause| Error::Environment(format!("can't catch signals: {cause}")))?;
        tokio::spawn(async move {
            signals.recv().await;
            info!("draining: finishing accepted requests, no longer ready for new ones");
            sd_notify::notify(&[NotifyState::Stopping]).ok();
            tokens.draining.cancel();
            signals.recv().await;
            warn!("second signal: aborting unfinished requests");
            tokens.aborting.cancel();
        });
        Ok(shutdown)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    pub fn abort_after(&self, timeout: Duration) {
        let aborting = self.aborting.clone();
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            aborting.cancel();
        });
    }
}

/// SIGTERM and Ctrl-C.
struct TerminationSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl TerminationSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = ctrl_c() => {}
        }
        #[cfg(not(unix))]
        ctrl_c().await.ok();
    }
}

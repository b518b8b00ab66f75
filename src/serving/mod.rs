//! An HTTP server for a model.
//!
//! A request comes in through [`connections`], which enforces limits; [`observe`], which measures and
//! logs it; and [`routes`], which finds its handler. The handlers [`predict`] and [`feedback`] send it
//! through the [`pipeline`]: its [`upload`] is read, and its images are admitted ([`admission`]),
//! decoded on blocking threads, and put in the [`batch_queue`] for the [`worker_pool`], which runs
//! the [`model`].

pub mod admission;
pub mod api_error;
pub mod batch_queue;
pub mod client;
pub mod collection;
pub mod config;
pub mod connections;
pub mod feedback;
pub mod keys;
pub mod language;
pub mod listener;
mod message;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod page;
pub mod pipeline;
pub mod predict;
pub mod reload;
pub mod response;
pub mod routes;
pub mod shutdown;
pub mod state;
pub mod upload;
pub mod worker_pool;

use std::sync::Arc;

use config::ServerConfig;
use listener::Listener;
use reload::ModelWatcher;
use sd_notify::NotifyState;
use shutdown::Shutdown;
use state::AppState;
use tracing::info;

use crate::error::Result;

/// Serves until SIGTERM or Ctrl-C, then finishes accepted requests.
///
/// Connections are accepted at once, and requests answered with 503 until the model is loaded and
/// tested. On an inherited socket they wait instead, so that a server can replace another unnoticed.
///
/// # Errors
/// When the model can't be loaded, or the system refuses threads or signals.
pub async fn serve(listener: Listener, config: ServerConfig) -> Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let address = listener.to_string();
    let watcher = ModelWatcher::new(&config.model)?;
    let state = Arc::new(AppState::new(config, shutdown.clone())?);
    let load_first = listener.is_inherited();
    if load_first {
        reload::install(&state).await?;
    }
    let app = routes::app(&state);
    let limits = state.config.connections;
    let accepting = connections::serve(listener, app, limits, &state.metrics, shutdown.clone());
    let starting = async {
        if !load_first {
            reload::install(&state).await?;
        }
        info!(%address, "ready");
        sd_notify::notify(&[NotifyState::Ready]).ok();
        watcher.run(&state, shutdown.clone()).await;
        Ok::<_, anyhow::Error>(())
    };
    tokio::pin!(accepting);
    tokio::select! {
        started = starting => {
            started?;
            accepting.await;
        }
        () = &mut accepting => {}
    }
    info!("stopped");
    Ok(())
}

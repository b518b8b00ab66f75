//! A model behind HTTP.
//!
//! The way of a request: [`connections`] accepts it within limits, [`observe`] counts and logs it,
//! [`routes`] finds its handler, [`upload`] reads pictures from its body. They take places in the
//! [`queue`], or are refused; are decoded on blocking threads; and wait for the
//! [`crew`], whose threads take whatever waits as batches and run the [`model`].

pub mod answer;
pub mod client;
pub mod collect;
pub mod connections;
pub mod crew;
pub mod keys;
pub mod language;
pub mod listener;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod page;
pub mod predict;
pub mod queue;
pub mod refusal;
pub mod reload;
pub mod routes;
pub mod service;
pub mod settings;
pub mod stop;
pub mod upload;

use std::sync::Arc;

use listener::Listener;
use reload::Watch;
use sd_notify::NotifyState;
use service::Service;
use settings::Settings;
use stop::Stop;
use tracing::info;

use crate::error::Result;

/// Serves until SIGTERM or Ctrl-C, then finishes what was accepted.
///
/// Connections are accepted at once, and told to come back until the model is loaded and tested. On
/// a socket that was handed over they rather wait, so that a server can follow another unnoticed.
///
/// # Errors
/// When the model can't be loaded, or the system refuses threads or signals.
pub async fn serve(listener: Listener, settings: Settings) -> Result<()> {
    let stop = Stop::on_signals()?;
    let address = listener.to_string();
    let watch = Watch::new(&settings.model)?;
    let service = Arc::new(Service::new(settings, stop.clone())?);
    let load_first = listener.is_inherited();
    if load_first {
        reload::install(&service).await?;
    }
    let app = routes::app(&service);
    let limits = service.settings.connections;
    let accepting = connections::serve(listener, app, limits, &service.metrics, stop.clone());
    let start = async {
        if !load_first {
            reload::install(&service).await?;
        }
        info!(%address, "ready");
        sd_notify::notify(&[NotifyState::Ready]).ok();
        watch.run(&service, stop.clone()).await;
        Ok::<_, anyhow::Error>(())
    };
    tokio::pin!(accepting);
    tokio::select! {
        failed = start => {
            failed?;
            accepting.await;
        }
        () = &mut accepting => {}
    }
    info!("stopped");
    Ok(())
}

//! Accepts connections and enforces their limits.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::client::Peer;
use super::config::ConnectionLimits;
use super::listener::{Listener, Stream};
use super::metrics::{Metrics, OpenConnection};
use super::shutdown::Shutdown;

/// Bytes of the head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// How much, and how long, is still read from a client whose upload was refused before its end:
/// closing at once would reset the connection before the client reads the response.
const LINGER_BYTES: u64 = 32 << 20;
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long after SIGTERM new connections, and new requests on open ones, are still accepted.
fn grace_period(drain_timeout: Duration) -> Duration {
    (drain_timeout / 4).min(Duration::from_secs(1))
}

/// Accepts connections until the server drains, then waits for the open ones to finish.
pub async fn serve(
    listener: Listener,
    app: Router,
    limits: ConnectionLimits,
    metrics: &Metrics,
    shutdown: Shutdown,
) {
    let mut connections = Connections {
        app,
        limits,
        metrics,
        shutdown,
        open: JoinSet::new(),
    };
    connections.accept(&listener).await;
    // The system has accepted connections that would be reset with the socket. On a socket that stays
    // open, the next server takes them.
    if !listener.is_inherited() {
        for (stream, peer) in listener.backlog() {
            connections.start(stream, peer, None);
        }
    }
    drop(listener);
    connections.drain().await;
}

/// The open connections.
struct Connections<'a> {
    app: Router,
    limits: ConnectionLimits,
    metrics: &'a Metrics,
    shutdown: Shutdown,
    open: JoinSet<()>,
}

impl Connections<'_> {
    fn start(&mut self, stream: Box<dyn Stream>, peer: Peer, permit: Option<OwnedSemaphorePermit>) {
        let connection = Connection {
            peer,
            app: self.app.clone(),
            limits: self.limits,
            shutdown: self.shutdown.clone(),
            _permit: permit,
            _open: self.metrics.connected(),
        };
        self.open.spawn(connection.serve(stream));
        while self.open.try_join_next().is_some() {}
    }

    /// Starts connections until the server drains, or a little longer.
    async fn accept(&mut self, listener: &Listener) {
        let permits = Arc::new(Semaphore::new(self.limits.max));
        let (draining, limits) = (self.shutdown.draining.clone(), self.limits);
        // Load balancers get a moment to see that readiness is down. On an inherited socket, the
        // next server can take new connections at once.
        let closing = async {
            draining.cancelled().await;
            if !listener.is_inherited() {
                sleep(grace_period(limits.drain_timeout)).await;
            }
        };
        tokio::pin!(closing);
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&permits).acquire_owned() => permit.ok(),
                () = &mut closing => return,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut closing => return,
            };
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer, permit),
                Err(cause) => back_off(&cause).await,
            }
        }
    }

    /// Waits for the open connections, and closes them at the drain timeout.
    async fn drain(mut self) {
        let timeout = self.limits.drain_timeout;
        let left = timeout - grace_period(timeout);
        // The last part is for sending the responses of requests that are aborted.
        let reserve = (left / 10).min(Duration::from_secs(1));
        self.shutdown.abort_after(left - reserve);
        let finished = async { while self.open.join_next().await.is_some() {} };
        let expired = async {
            self.shutdown.aborting.cancelled().await;
            sleep(reserve).await;
        };
        tokio::select! {
            () = finished => return,
            () = expired => {}
        }
        if !self.open.is_empty() {
            warn!(
                connections = self.open.len(),
                "drain timeout: closing connections that are still open"
            );
        }
    }
}

/// Pauses after a failed accept, unless it concerned one connection only: when file descriptors run
/// out, trying again at once would only keep a core busy.
async fn back_off(cause: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset};

    if !matches!(cause.kind(), ConnectionAborted | ConnectionReset) {
        warn!("can't accept a connection: {cause}");
        sleep(Duration::from_millis(100)).await;
    }
}

struct Connection {
    peer: Peer,
    app: Router,
    limits: ConnectionLimits,
    shutdown: Shutdown,
    _permit: Option<OwnedSemaphorePermit>,
    _open: OpenConnection,
}

impl Connection {
    async fn serve(self, stream: Box<dyn Stream>) {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.head_timeout));
        let handle = |mut request: Request<Incoming>| {
            request.extensions_mut().insert(self.peer);
            let app = self.app.clone();
            async move { app.oneshot(request.map(Body::new)).await }.boxed()
        };
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_timeout)
            .max_header_size(MAX_HEAD)
            .serve_connection(TokioIo::new(Box::pin(stream)), service_fn(handle));
        let closing = async {
            self.shutdown.draining.cancelled().await;
            sleep(grace_period(self.limits.drain_timeout)).await;
        };
        let served = tokio::select! {
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
            () = closing => {
                Pin::new(&mut connection).graceful_shutdown();
                poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            }
        };
        if let Err(cause) = served {
            debug!("connection: {cause}");
        }
        linger(connection.into_parts().io.into_inner()).await;
    }
}

/// Closes the writing half, and discards what the client still sends.
async fn linger(mut stream: Pin<Box<TimeoutStream<Box<dyn Stream>>>>) {
    let discard = async {
        stream.shutdown().await.ok();
        let mut rest = stream.take(LINGER_BYTES);
        let mut buffer = vec![0; 16 * 1024];
        while matches!(rest.read(&mut buffer).await, Ok(1..)) {}
    };
    timeout(LINGER_TIMEOUT, discard).await.ok();
}

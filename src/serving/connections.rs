//! Accepts connections and keeps each within its limits.

use std::convert::Infallible;
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
use super::listener::{Listener, Stream};
use super::metrics::{Connected, Metrics};
use super::settings::Connections;
use super::stop::Stop;

/// Bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;

/// How long after SIGTERM new connections, and requests on idle ones, are still taken.
fn grace(drain_timeout: Duration) -> Duration {
    (drain_timeout / 4).min(Duration::from_secs(1))
}

/// How much, and how long, is still read from a client that was refused before its upload ended;
/// closing at once would reset the connection and take the answer with it.
const LINGER: (u64, Duration) = (32 << 20, Duration::from_secs(2));

/// Serves connections until [`Stop::draining`], then waits for the open ones.
pub async fn serve(
    listener: Listener,
    app: Router,
    limits: Connections,
    metrics: &Metrics,
    stop: Stop,
) {
    let slots = Arc::new(Semaphore::new(limits.max));
    let mut open = JoinSet::new();
    let mut start = |stream, peer, slot| {
        let connection = Connection {
            peer,
            app: app.clone(),
            limits,
            stop: stop.clone(),
            _slot: slot,
            _counted: metrics.connected(),
        };
        open.spawn(connection.serve(stream));
        while open.try_join_next().is_some() {}
    };
    // Whoever sends clients here has a moment to see that readiness is down. The next server on an
    // inherited socket can have them at once.
    let inherited = listener.is_inherited();
    let closing = async {
        stop.draining.cancelled().await;
        if !inherited {
            sleep(grace(limits.drain_timeout)).await;
        }
    };
    tokio::pin!(closing);
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot.ok(),
            () = &mut closing => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closing => break,
        };
        match accepted {
            Ok((stream, peer)) => start(stream, peer, slot),
            Err(cause) => rest(&cause).await,
        }
    }
    // Connections that the system took on before the socket is closed have a right to an answer. On a
    // socket that stays open, the next server gives it.
    if !inherited {
        for (stream, peer) in listener.backlog() {
            start(stream, peer, None);
        }
    }
    drop(listener);
    finish(
        open,
        limits.drain_timeout - grace(limits.drain_timeout),
        &stop,
    )
    .await;
}

/// Waits for the open connections, and cuts them off when the time is over.
async fn finish(mut open: JoinSet<()>, patience: Duration, stop: &Stop) {
    // Some of the time is for telling clients that there is none left.
    let farewell = (patience / 10).min(Duration::from_secs(1));
    stop.end_after(patience - farewell);
    let all = async { while open.join_next().await.is_some() {} };
    let cut = async {
        stop.over.cancelled().await;
        sleep(farewell).await;
    };
    tokio::select! {
        () = all => return,
        () = cut => {}
    }
    if !open.is_empty() {
        warn!(
            connections = open.len(),
            "cut off at the end of the drain timeout"
        );
    }
}

/// After a failed accept. Most concern one connection; when descriptors run out, trying again at
/// once would only burn the processor.
async fn rest(cause: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset};

    if !matches!(cause.kind(), ConnectionAborted | ConnectionReset) {
        warn!("can't accept a connection: {cause}");
        sleep(Duration::from_millis(100)).await;
    }
}

struct Connection {
    peer: Peer,
    app: Router,
    limits: Connections,
    stop: Stop,
    _slot: Option<OwnedSemaphorePermit>,
    _counted: Connected,
}

impl Connection {
    async fn serve(self, stream: Box<dyn Stream>) {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.head_timeout));
        let handle = |mut request: Request<Incoming>| {
            request.extensions_mut().insert(self.peer);
            let app = self.app.clone();
            async move { Ok::<_, Infallible>(answer(app, request).await) }.boxed()
        };
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_timeout)
            .max_header_size(MAX_HEAD)
            .serve_connection(TokioIo::new(Box::pin(stream)), service_fn(handle));
        let last = async {
            self.stop.draining.cancelled().await;
            sleep(grace(self.limits.drain_timeout)).await;
        };
        let served = tokio::select! {
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
            () = last => {
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

async fn answer(app: Router, request: Request<Incoming>) -> axum::response::Response {
    let Ok(response) = app.oneshot(request.map(Body::new)).await;
    response
}

/// Closes our half, and reads on for a while until the client closes its own.
async fn linger(mut stream: Pin<Box<TimeoutStream<Box<dyn Stream>>>>) {
    let (bytes, patience) = LINGER;
    let rest = async {
        stream.shutdown().await.ok();
        let mut rest = stream.take(bytes);
        let mut buffer = vec![0; 16 * 1024];
        while matches!(rest.read(&mut buffer).await, Ok(1..)) {}
    };
    timeout(patience, rest).await.ok();
}

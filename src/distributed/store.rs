//! A key-value store that all processes of a run reach: c10d's TCPStore.

use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::ffi;
use super::lost::Lost;
use crate::error::{Error, Result};

/// How long one try to connect may take, and how often it is repeated.
const TRY: Duration = Duration::from_secs(2);
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// How long the store may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// # Errors
/// [`Error::Environment`] where the program has no collectives.
pub(super) fn require_support() -> Result<()> {
    if ffi::is_supported() {
        return Ok(());
    }
    let message = "training in several processes needs Linux and a libtorch with collectives";
    Err(Error::Environment(message.into()).into())
}

/// A connection to a store.
pub(super) struct Store(ffi::Store);

impl Store {
    /// Serves a store on a listening socket.
    ///
    /// # Errors
    /// [`Error::Environment`] when the system refuses.
    pub(super) fn serve(listener: TcpListener) -> Result<Self> {
        let unknown = |cause| Error::Environment(format!("no address to listen on: {cause}"));
        let port = listener.local_addr().map_err(unknown)?.port();
        let store = ffi::Store::open("127.0.0.1", port, Some(listener), ANSWER);
        Ok(Self(store.map_err(|cause| {
            Error::Environment(format!("can't serve on port {port}: {}", line(&cause)))
        })?))
    }

    /// Connects to a store as soon as somebody serves it, up to a moment.
    ///
    /// # Errors
    /// [`Error::Environment`] when nobody does until then.
    pub(super) fn connect(host: &str, port: u16, until: Instant) -> Result<Self> {
        loop {
            let met = reach(host, port).and_then(|()| {
                let store = ffi::Store::open(host, port, None, ANSWER);
                store.map_err(|cause| line(&cause))
            });
            match met {
                Ok(store) => return Ok(Self(store)),
                Err(cause) if Instant::now() >= until => {
                    let message = format!(
                        "process 0 can't be met at {host}, port {port} ({cause}): check MASTER_ADDR \
                         and MASTER_PORT, and that it runs"
                    );
                    return Err(Error::Environment(message).into());
                }
                Err(_) => sleep(PAUSE),
            }
        }
    }

    /// Connects to a store, if it is served now.
    pub(super) fn try_connect(host: &str, port: u16) -> Option<Self> {
        reach(host, port).ok()?;
        ffi::Store::open(host, port, None, ANSWER).ok().map(Self)
    }

    pub(super) fn set(&self, key: &str, value: &str) -> Result<()> {
        self.0.set(key, value).map_err(gone)
    }

    /// The value of a key, if it has been set.
    pub(super) fn get(&self, key: &str) -> Result<Option<String>> {
        self.0.get(key).map_err(gone)
    }

    /// Adds to a number, 0 at first, and gives the sum.
    pub(super) fn add(&self, key: &str, by: i64) -> Result<i64> {
        self.0.add(key, by).map_err(gone)
    }

    pub(super) fn raw(&self) -> &ffi::Store {
        &self.0
    }
}

fn gone(cause: String) -> anyhow::Error {
    let message = format!("process 0 can't be reached any more ({})", line(&cause));
    anyhow::Error::new(Error::Environment(message)).context(Lost)
}

/// The first sentence of what c10d says, without the place in its code.
pub(super) fn line(cause: &str) -> String {
    let first = cause.lines().find(|line| !line.trim().is_empty());
    let first = first.unwrap_or("unknown error").trim();
    let said = match first.split_once("] ") {
        Some((place, said)) if place.starts_with('[') => said,
        _ => first,
    };
    said.split(". ").next().unwrap_or(said).into()
}

/// Whether somebody listens; c10d would repeat the question for several timeouts.
fn reach(host: &str, port: u16) -> Result<(), String> {
    let addresses = (host, port).to_socket_addrs().map_err(|e| e.to_string())?;
    let mut cause = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, TRY) {
            Ok(_) => return Ok(()),
            Err(error) => cause = error.to_string(),
        }
    }
    Err(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_a_sentence() {
        let closed =
            "[/pytorch/pair.cc:553] Connection closed by peer [127.0.0.1]:2. This is typically\nx";
        assert_eq!(line(closed), "Connection closed by peer [127.0.0.1]:2");
        assert_eq!(line("\nTimed out\n\nframe 1"), "Timed out");
        assert_eq!(line(""), "unknown error");
    }
}

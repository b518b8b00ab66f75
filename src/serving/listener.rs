//! Listening sockets: TCP, Unix, or one that systemd opened.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
#[cfg(unix)]
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, lookup_host};

use super::client::Peer;
#[cfg(unix)]
use crate::error::shown;
use crate::error::{Error, Result};

/// The byte stream of a connection, TCP or Unix.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub enum Listener {
    Tcp {
        listener: TcpListener,
        inherited: bool,
    },
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        /// To be removed at the end; None for an inherited socket.
        file: Option<PathBuf>,
    },
}

impl Listener {
    /// The socket that systemd opened for this process, if any.
    ///
    /// # Errors
    /// [`Error::Usage`] for several sockets, or one that is neither TCP nor a Unix stream socket;
    /// [`Error::Environment`] when the system refuses it.
    pub fn inherited() -> Result<Option<Self>> {
        let unusable = |cause: io::Error| {
            Error::Environment(format!(
                "the socket passed with LISTEN_FDS can't be used: {cause}"
            ))
        };
        let mut sockets = ListenFd::from_env();
        match sockets.len() {
            0 => return Ok(None),
            1 => {}
            n => {
                let message = format!("{n} sockets were passed with LISTEN_FDS: pass only one");
                return Err(Error::Usage(message).into());
            }
        }
        if let Ok(Some(listener)) = sockets.take_tcp_listener(0) {
            listener.set_nonblocking(true).map_err(unusable)?;
            let listener = TcpListener::from_std(listener).map_err(unusable)?;
            return Ok(Some(Self::Tcp {
                listener,
                inherited: true,
            }));
        }
        #[cfg(unix)]
        if let Some(listener) = sockets.take_unix_listener(0).map_err(unusable)? {
            listener.set_nonblocking(true).map_err(unusable)?;
            let listener = UnixListener::from_std(listener).map_err(unusable)?;
            return Ok(Some(Self::Unix {
                listener,
                file: None,
            }));
        }
        let message = "the socket passed with LISTEN_FDS is neither a TCP nor a Unix stream socket";
        Err(Error::Usage(message.into()).into())
    }

    /// Listens on an address; port 0 means any free port.
    ///
    /// # Errors
    /// [`Error::Environment`] when the host is unknown or the port is in use.
    pub async fn tcp(host: &str, port: u16) -> Result<Self> {
        let refused = |cause: io::Error| {
            let remedy = match cause.kind() {
                io::ErrorKind::AddrInUse => {
                    "; choose another --port, or stop the process that uses it"
                }
                io::ErrorKind::PermissionDenied => "; choose a --port above 1023",
                _ => "",
            };
            Error::Environment(format!("can't listen on {host}:{port}: {cause}{remedy}"))
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<SocketAddr> =
            lookup_host((host, port)).await.map_err(refused)?.collect();
        let listener = TcpListener::bind(&addresses[..]).await.map_err(refused)?;
        Ok(Self::Tcp {
            listener,
            inherited: false,
        })
    }

    /// Listens on a Unix socket that the owner and the group may use. Replaces the file of a server
    /// that crashed.
    ///
    /// # Errors
    /// [`Error::Environment`] when the file is not a socket, or another server is listening on it.
    #[cfg(unix)]
    pub fn unix(path: &Path) -> Result<Self> {
        let refused = |why: String| {
            Error::Environment(format!("can't listen on unix:{}: {why}", shown(path)))
        };
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(refused("the file exists and is not a socket".into()).into());
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(refused("another server is listening on it".into()).into());
            }
            std::fs::remove_file(path).map_err(|cause| refused(cause.to_string()))?;
        }
        let listener = UnixListener::bind(path).map_err(|cause| refused(cause.to_string()))?;
        let group = std::fs::Permissions::from_mode(0o660);
        std::fs::set_permissions(path, group).map_err(|cause| refused(cause.to_string()))?;
        Ok(Self::Unix {
            listener,
            file: Some(path.into()),
        })
    }

    /// Whether another process opened the socket and keeps it open.
    pub fn is_inherited(&self) -> bool {
        match self {
            Self::Tcp { inherited, .. } => *inherited,
            #[cfg(unix)]
            Self::Unix { file, .. } => file.is_none(),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of the system, which may concern one connection only, or be temporary.
    pub async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp { listener, .. } => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true).ok();
                Ok((Box::new(stream), Peer::Address(address.ip())))
            }
            #[cfg(unix)]
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Peer::UnixSocket))
            }
        }
    }

    /// Accepts the connections in the backlog, without waiting for more.
    ///
    /// Asks the system directly, as tokio's readiness may be out of date.
    #[cfg(unix)]
    pub fn backlog(&self) -> Vec<(Box<dyn Stream>, Peer)> {
        use std::os::fd::AsFd;

        let mut waiting: Vec<(Box<dyn Stream>, Peer)> = Vec::new();
        match self {
            Self::Tcp { listener, .. } => {
                let socket = listener.as_fd().try_clone_to_owned();
                let Ok(socket) = socket.map(std::net::TcpListener::from) else {
                    return waiting;
                };
                while let Ok((stream, address)) = socket.accept() {
                    let ready = stream.set_nonblocking(true);
                    if let Ok(stream) = ready.and_then(|()| tokio::net::TcpStream::from_std(stream))
                    {
                        waiting.push((Box::new(stream), Peer::Address(address.ip())));
                    }
                }
            }
            Self::Unix { listener, .. } => {
                let socket = listener.as_fd().try_clone_to_owned();
                let Ok(socket) = socket.map(std::os::unix::net::UnixListener::from) else {
                    return waiting;
                };
                while let Ok((stream, _)) = socket.accept() {
                    let ready = stream.set_nonblocking(true);
                    if let Ok(stream) =
                        ready.and_then(|()| tokio::net::UnixStream::from_std(stream))
                    {
                        waiting.push((Box::new(stream), Peer::UnixSocket));
                    }
                }
            }
        }
        waiting
    }

    #[cfg(not(unix))]
    pub fn backlog(&self) -> Vec<(Box<dyn Stream>, Peer)> {
        Vec::new()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Self::Unix {
            file: Some(file), ..
        } = self
        {
            std::fs::remove_file(file).ok();
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { listener, .. } => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_) => f.write_str("a TCP socket"),
            },
            #[cfg(unix)]
            Self::Unix { listener, .. } => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                write!(f, "unix:{}", path.map_or("(inherited)".into(), shown))
            }
        }
    }
}

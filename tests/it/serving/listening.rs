//! Where the server listens: addresses, unix sockets, sockets that were handed over.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::http::{Form, Request};
use crate::server::{Server, rose};
use crate::support::{flowers, model, run};

#[test]
fn a_unix_socket_is_made_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flowers.sock");
    let listen = format!("unix:{}", path.display());
    let mut command = Server::command(&model());
    command.args(["--listen", &listen]);
    let mut server = Server::spawn(command);
    let reply = Request::get("/labels").over(UnixStream::connect(&path).unwrap());
    assert_eq!(reply.unwrap().status, 200);
    let said = run(["serve", model().to_str().unwrap(), "--listen", &listen]);
    said.failed(4, &["flowers.sock", "another server is listening on it"]);
    assert_eq!(server.stop().code(), Some(0));
    assert!(!path.exists());

    fs::write(&path, "precious").unwrap();
    let said = run(["serve", model().to_str().unwrap(), "--listen", &listen]);
    said.failed(4, &["flowers.sock", "exists and is not a socket"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_that_is_handed_over_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = inherit(&listener, &model());
    assert_eq!(server.address, listener.local_addr().unwrap());
    server.predict(&[&rose()]).good();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut server = inherit(&listener, &model());
    let reply = Request::get("/labels").over(UnixStream::connect(&path).unwrap());
    assert_eq!(reply.unwrap().status, 200);
    assert_eq!(server.stop().code(), Some(0));
    assert!(path.exists(), "it belongs to whoever made it");

    let mut command = Server::command(&model());
    let said = crate::support::Said::of(command.env("LISTEN_FDS", "2").output().unwrap());
    said.failed(2, &["2 sockets were passed"]);
}

/// A server on a listening socket of ours, as systemd hands one over.
pub fn inherit(listener: &impl AsRawFd, model: &Path) -> Server {
    let mut command = Server::command(model);
    let fd = listener.as_raw_fd();
    command.env("LISTEN_FDS", "1");
    let hand_over = move || {
        // SAFETY: only system calls and stack memory between fork and exec.
        unsafe {
            if libc::dup2(fd, 3) < 0 || (fd == 3 && libc::fcntl(3, libc::F_SETFD, 0) < 0) {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: as said there.
    unsafe { command.pre_exec(hand_over) };
    Server::spawn(command)
}

#[test]
fn the_port_can_come_from_the_environment() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut command = Server::command(&model());
    command.env("PORT", free.port().to_string());
    command.env("FLOWERS_MAX_BODY", "1000");
    command.env("FLOWERS_BASE_PATH", "/x");
    let server = Server::spawn(command);
    assert_eq!(server.address.port(), free.port());
    let request = Request::post("/x/predict").form(Form::new().file(&[0; 2000]));
    request.send(server.address).refused(413, "1000 bytes");

    let taken = [
        "serve",
        model().to_str().unwrap(),
        "--port",
        &free.port().to_string(),
    ]
    .map(String::from);
    run(taken).failed(4, &["can't listen on 127.0.0.1", "choose another --port"]);
    let mut command = flowers();
    command
        .args(["serve", model().to_str().unwrap()])
        .env("PORT", "http");
    let said = crate::support::Said::of(command.output().unwrap());
    said.failed(2, &["PORT", "not a port"]);
}

//! Trainings in several processes on this machine: that they come to what one comes to, and end together.
#![cfg(target_os = "linux")]

mod ended;
mod joined;
mod learned;

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{Said, flowers, photos, train_arguments};

/// A checkpoint after every batch.
const OFTEN: [&str; 2] = ["--checkpoint-minutes", "0.000001"];

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Processes that a launcher has started, each with its standard error in a file.
struct Team {
    folder: TempDir,
    processes: Vec<Child>,
}

impl Team {
    /// Starts a process for each rank and world size.
    fn start(places: &[(usize, usize)], arguments: impl Fn(usize) -> Vec<OsString>) -> Self {
        Self::start_in(places, arguments, |_| None)
    }

    /// As [`start`](Self::start), each in a working directory of its own.
    fn start_in<'a>(
        places: &[(usize, usize)],
        arguments: impl Fn(usize) -> Vec<OsString>,
        directory: impl Fn(usize) -> Option<&'a Path>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().to_string();
        let start = |(number, &(rank, world)): (usize, &(usize, usize))| {
            let log = fs::File::create(folder.path().join(number.to_string())).unwrap();
            let mut command = flowers();
            if let Some(directory) = directory(number) {
                command.current_dir(directory);
            }
            command
                .args(arguments(number))
                .env("RANK", rank.to_string())
                .env("WORLD_SIZE", world.to_string())
                .env("LOCAL_RANK", rank.to_string())
                .env("LOCAL_WORLD_SIZE", world.to_string())
                .env("MASTER_ADDR", "127.0.0.1")
                .env("MASTER_PORT", &port)
                .stdout(Stdio::null())
                .stderr(log);
            command.spawn().unwrap()
        };
        let processes = places.iter().enumerate().map(start).collect();
        Self { folder, processes }
    }

    /// What a process has said so far.
    fn stderr(&self, number: usize) -> String {
        fs::read_to_string(self.folder.path().join(number.to_string())).unwrap()
    }

    /// Waits for a process.
    fn end(&mut self, number: usize) -> Said {
        let code = self.processes[number].wait().unwrap().code();
        let said = self.stderr(number);
        // As a process alone says it.
        let prefix = format!("[rank {number}] ");
        Said {
            code,
            stdout: String::new(),
            stderr: said.replace(&prefix, ""),
        }
    }

    fn signal(&self, number: usize, signal: &str) {
        send(signal, self.processes[number].id());
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

fn send(signal: &str, process: u32) {
    let process = process.to_string();
    let sent = Command::new("kill").args([signal, &process]).status();
    assert!(sent.unwrap().success());
}

/// Two processes of a run on [`photos`].
fn pair(out: &Path, options: &[&str]) -> Team {
    Team::start(&[(0, 2), (1, 2)], |_| {
        train_arguments(photos(), out, options)
    })
}

//! `flowers train --nproc`: starts the processes of a run on this machine.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use tempfile::TempDir;

use crate::commands::output::{ERROR_FILE, note};
use crate::distributed::Hub;
use crate::error::{Error, Result};

const PAUSE: Duration = Duration::from_millis(20);
/// How often a process looks whether its launcher is there.
const WATCHED: Duration = Duration::from_millis(500);
/// How long processes may take to end when one of them has failed.
const GRACE: Duration = Duration::from_secs(10);
/// The exit codes of an environment that fails, of work that was stopped, and of a bug, which is told of
/// where it happens.
const FAILED: i32 = 4;
const STOPPED: i32 = 130;
const PANICKED: i32 = 101;

const OPTION: &str = "--nproc";
/// An environment variable of the processes: the id of the one that started them.
const LAUNCHER: &str = "FLOWERS_LAUNCHER";

/// Starts `count` processes with the arguments of this one, and waits until they end. Signals are passed on.
/// Ends this process with the exit code of the first that fails.
///
/// # Errors
/// [`Error::Usage`] within a launcher, [`Error::Environment`] when they can't be started.
pub(super) fn run(count: usize) -> Result<()> {
    if ["RANK", "WORLD_SIZE"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
    {
        let message =
            "--nproc starts processes itself: leave it out where RANK and WORLD_SIZE are set";
        return Err(Error::Usage(message.into()).into());
    }
    let signals = [(SIGINT, Signal::INT), (SIGTERM, Signal::TERM)];
    let signals = signals.map(|(number, signal)| Ok((caught(number)?, signal)));
    let signals = signals.into_iter().collect::<Result<Vec<_>>>()?;
    let hub = Hub::open()?;
    let mut team = Team::start(count, &hub)?;
    let mut is_stopped = false;
    loop {
        for (flag, signal) in &signals {
            if flag.swap(false, Ordering::Relaxed) {
                is_stopped = true;
                team.send(*signal);
            }
        }
        if team.wait()? {
            break;
        }
        sleep(PAUSE);
    }
    match team.cause() {
        None => Ok(()),
        Some(failure) => std::process::exit(failure.explained(is_stopped)),
    }
}

/// Stops this process when the one that started it has ended, if that is a `flowers`.
pub(super) fn end_with_launcher() {
    let launcher = std::env::var(LAUNCHER).ok();
    let Some(launcher) = launcher.and_then(|id| id.parse::<u32>().ok()) else {
        return;
    };
    let watch = move || {
        while parent_id() == launcher {
            sleep(WATCHED);
        }
        signal_hook::low_level::raise(SIGTERM).ok();
    };
    // Without the thread it trains all the same.
    thread::Builder::new()
        .name("launcher".into())
        .spawn(watch)
        .ok();
}

fn caught(signal: i32) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal, Arc::clone(&flag))
        .map_err(|cause| Error::Environment(format!("can't catch Ctrl-C: {cause}")))?;
    Ok(flag)
}

/// How a process has failed.
struct Failure {
    rank: usize,
    status: ExitStatus,
    /// Empty where another process is the cause.
    error: String,
}

impl Failure {
    /// Whether nothing before it made the process fail.
    fn is_cause(&self) -> bool {
        !self.error.is_empty() || matches!(self.status.code(), None | Some(PANICKED))
    }

    /// Says why, and gives the exit code. A process that was killed could not say anything.
    fn explained(&self, is_stopped: bool) -> i32 {
        let signal = self.status.signal().unwrap_or_default();
        match self.status.code() {
            Some(code) => {
                if !self.error.is_empty() {
                    note(&self.error);
                }
                code
            }
            None if is_stopped => STOPPED,
            None => {
                note(format_args!(
                    "error: process {} was ended by signal {signal}, and the others with it; continue \
                     with --resume, or start all with --resume-or-start",
                    self.rank
                ));
                FAILED
            }
        }
    }
}

/// The processes that were started, by rank.
struct Team {
    running: Vec<(usize, Child)>,
    /// In the order in which they were seen.
    failures: Vec<Failure>,
    /// Where the processes leave why they end.
    errors: TempDir,
    /// When those that are left are killed.
    end: Option<Instant>,
}

impl Team {
    fn start(count: usize, hub: &Hub) -> Result<Self> {
        let refused = |cause| Error::Environment(format!("can't start processes: {cause}"));
        let program = std::env::current_exe().map_err(refused)?;
        let arguments = without_option(std::env::args_os().skip(1));
        let mut team = Self {
            running: Vec::new(),
            failures: Vec::new(),
            errors: tempfile::tempdir().map_err(refused)?,
            end: None,
        };
        for rank in 0..count {
            let mut command = Command::new(&program);
            command
                .args(&arguments)
                .envs(hub.variables(rank, count))
                .env(LAUNCHER, std::process::id().to_string())
                .env(ERROR_FILE, team.error_file(rank))
                // Ctrl-C reaches this process, which passes it on once.
                .process_group(0)
                .stdin(Stdio::null());
            if rank > 0 {
                command.stdout(Stdio::null());
            }
            team.running.push((rank, command.spawn().map_err(refused)?));
        }
        Ok(team)
    }

    fn error_file(&self, rank: usize) -> PathBuf {
        self.errors.path().join(rank.to_string())
    }

    /// The failure that the others follow from.
    fn cause(&self) -> Option<&Failure> {
        let cause = self.failures.iter().find(|failure| failure.is_cause());
        cause.or(self.failures.first())
    }

    fn send(&self, signal: Signal) {
        for (_, child) in &self.running {
            // It may have ended just now.
            kill_process(Pid::from_child(child), signal).ok();
        }
    }

    /// Looks which processes have ended; kills the others some time after the first has failed. Gives
    /// whether all have ended.
    fn wait(&mut self) -> Result<bool> {
        let mut running = Vec::new();
        for (rank, mut child) in std::mem::take(&mut self.running) {
            let ended = child.try_wait();
            match ended.map_err(|cause| Error::Environment(format!("process {rank}: {cause}")))? {
                None => running.push((rank, child)),
                Some(status) if status.success() => {}
                Some(status) => {
                    let error = std::fs::read_to_string(self.error_file(rank));
                    self.failures.push(Failure {
                        rank,
                        status,
                        error: error.unwrap_or_default(),
                    });
                    self.end.get_or_insert_with(|| Instant::now() + GRACE);
                }
            }
        }
        self.running = running;
        if self.end.is_some_and(|end| Instant::now() > end) {
            for (_, child) in &mut self.running {
                child.kill().ok();
            }
        }
        Ok(self.running.is_empty())
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The arguments without `--nproc` and its value.
fn without_option(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == OPTION {
            arguments.next();
        } else if !text.starts_with("--nproc=") {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_option_is_left_out() {
        let kept = |line: &str| {
            let kept = without_option(line.split(' ').map(OsString::from));
            let kept: Vec<String> = kept.iter().map(|a| a.to_string_lossy().into()).collect();
            kept.join(" ")
        };
        assert_eq!(kept("train a --nproc 2 --out b"), "train a --out b");
        assert_eq!(kept("train --nproc=2 a --out b"), "train a --out b");
    }
}

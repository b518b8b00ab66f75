//! `flowers train --nproc`: starts the processes of a run on this machine.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::commands::output::{LAUNCHED, note};
use crate::distributed::Hub;
use crate::error::{Error, Result};

const PAUSE: Duration = Duration::from_millis(20);
/// How often a process looks whether its launcher is there.
const WATCHED: Duration = Duration::from_millis(500);
/// How long processes may take to end when one of them has failed.
const GRACE: Duration = Duration::from_secs(10);
/// The exit codes of an environment that fails, and of work that was stopped.
const FAILED: i32 = 4;
const STOPPED: i32 = 130;

const OPTION: &str = "--nproc";

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
    match team.first_failure {
        None => Ok(()),
        Some((rank, status)) => std::process::exit(explained(rank, status, is_stopped)),
    }
}

/// Stops this process when the one that started it has ended, if that is a `flowers`.
pub(super) fn end_with_launcher() {
    let launcher = std::env::var(LAUNCHED).ok();
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

/// The exit code of a process that has failed; one that was killed could not say anything.
fn explained(rank: usize, status: ExitStatus, is_stopped: bool) -> i32 {
    if let Some(code) = status.code() {
        return code;
    }
    if is_stopped {
        return STOPPED;
    }
    let signal = status.signal().unwrap_or_default();
    note(format_args!(
        "error: process {rank} was ended by signal {signal}, and the others with it; continue with \
         --resume, or start all with --resume-or-start"
    ));
    FAILED
}

/// The processes that were started, by rank.
struct Team {
    running: Vec<(usize, Child)>,
    first_failure: Option<(usize, ExitStatus)>,
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
            first_failure: None,
            end: None,
        };
        for rank in 0..count {
            let mut command = Command::new(&program);
            command
                .args(&arguments)
                .envs(hub.variables(rank, count))
                .env(LAUNCHED, std::process::id().to_string())
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
        for (rank, mut child) in self.running.drain(..) {
            let ended = child.try_wait();
            match ended.map_err(|cause| Error::Environment(format!("process {rank}: {cause}")))? {
                None => running.push((rank, child)),
                Some(status) if status.success() => {}
                Some(status) => {
                    self.first_failure.get_or_insert((rank, status));
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

//! Notices that another process has ended while this one computes, or waits for a GPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, park_timeout, sleep};
use std::time::{Duration, Instant};

use tch::Tensor;

use super::ffi;
use super::lost::Lost;
use super::store::{PAUSE, line};
use crate::error::{Error, Result};

const PERIOD: Duration = Duration::from_millis(250);
/// How long this process may take to notice by itself, which says more.
const GRACE: Duration = Duration::from_secs(5);

/// A thread that exchanges a number with the other processes over and over, until one of them closes.
pub(super) struct Watch {
    closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Watches the processes of a group that nothing else is done with; `lost` is called when one ends that
    /// has not closed, and has to end this process.
    ///
    /// # Errors
    /// [`Error::Environment`] when the system has no more threads.
    pub(super) fn start(
        group: ffi::Group,
        lost: impl FnOnce(anyhow::Error) + Send + 'static,
    ) -> Result<Self> {
        let closing = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closing);
        let watch = move || {
            let is_closing = || flag.load(Ordering::Relaxed);
            while let Some(cause) = exchange(&group, is_closing()) {
                match cause {
                    Ok(()) => park_timeout(PERIOD),
                    Err(cause) => {
                        if !is_closing() {
                            sleep(GRACE);
                        }
                        if !is_closing() {
                            lost(ended(&line(&cause)));
                        }
                        return;
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("watch".into()).spawn(watch);
        let refused = |cause| Error::Environment(format!("can't start a thread: {cause}"));
        Ok(Self {
            closing,
            thread: thread.map_err(refused)?,
        })
    }

    /// Ends the watch of all processes, which hear of it at once unless they hang.
    pub(super) fn close(&self) {
        self.abandon();
        self.thread.thread().unpark();
        let until = Instant::now() + GRACE;
        while !self.thread.is_finished() && Instant::now() < until {
            sleep(PAUSE);
        }
    }

    /// Ends the watch without waiting for the others.
    pub(super) fn abandon(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

/// Tells the others whether this process closes; `None` once one does.
fn exchange(group: &ffi::Group, closing: bool) -> Option<Result<(), String>> {
    let closing = f32::from(u8::from(closing));
    let exchanged = Tensor::f_from_slice(&[closing]).and_then(|sum| {
        let sent = group.all_reduce(&[sum.shallow_clone()]);
        Ok((sent, f64::try_from(&sum)?))
    });
    match exchanged {
        Ok((Ok(()), sum)) => (sum == 0.0).then_some(Ok(())),
        Ok((Err(cause), _)) => Some(Err(cause)),
        Err(cause) => Some(Err(cause.to_string())),
    }
}

/// The error of a process that others have left.
pub(super) fn ended(cause: &str) -> anyhow::Error {
    let message = format!(
        "another process has ended or can't be reached ({cause}); continue with --resume, or start all \
         with --resume-or-start"
    );
    anyhow::Error::new(Error::Environment(message)).context(Lost)
}

//! How much memory a prediction takes, measured in a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use crate::device::Device;
use crate::error::Result;
use crate::inference::Precision;

/// Seconds that the process predicts for: enough for every buffer to be there.
const SECONDS: &str = "0.1";

/// The most bytes that a process had in memory which did nothing but load a model and classify one
/// picture at a time; `None` where the system does not tell.
///
/// # Errors
/// When the process can't be started or fails, with its last words.
pub(super) fn peak(
    model: &Path,
    precision: Precision,
    device: Device,
    threads: usize,
) -> Result<Option<u64>> {
    let device = match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Mps => "mps",
    };
    let program = std::env::current_exe().context("which program this is")?;
    let mut command = Command::new(program);
    command.args(["bench", "--json", "--batch", "1", "--seconds", SECONDS]);
    command.args(["--precision", &precision.to_string()]);
    command.args(["--device", device, "--threads", &threads.to_string()]);
    command.arg("--").arg(model).stdin(Stdio::null());
    let output = command.output().context("starting a process")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().last().unwrap_or("it said nothing");
        anyhow::bail!("{last}");
    }
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    let megabytes = figures[0]["peak_mb"].as_f64();
    Ok(megabytes.map(|megabytes| (megabytes * f64::from(1 << 20)) as u64))
}

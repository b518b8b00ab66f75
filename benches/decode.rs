//! How long JPEGs take to decode, one after the other on one thread, as a JSON object a file.
//!
//! usage: decode FILE...
//!
//! `benches/peers/decode.py` runs it beside Pillow.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use flowers::image::{Limits, Preprocessing, decode};

/// At least so long and so often each is done.
const TIME: Duration = Duration::from_millis(700);
const ROUNDS: u32 = 5;

fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let files: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    ensure!(!files.is_empty(), "usage: decode FILE...");
    let limits = Limits::default();
    let preprocessing = Preprocessing::imagenet(224);
    for file in files {
        let bytes = std::fs::read(&file)?;
        let whole = fastest(|| decode(&bytes, &limits).map(drop))?;
        let evaluated = fastest(|| preprocessing.read(&bytes, &limits).map(drop))?;
        println!(
            "{}",
            serde_json::json!({"file": file, "whole_ms": whole, "evaluated_ms": evaluated})
        );
    }
    Ok(())
}

/// Milliseconds of the fastest round.
fn fastest<E>(work: impl Fn() -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    let mut best = Duration::MAX;
    let mut rounds = 0;
    while rounds < ROUNDS || start.elapsed() < TIME {
        let round = Instant::now();
        black_box(work())?;
        best = best.min(round.elapsed());
        rounds += 1;
    }
    Ok(best.as_secs_f64() * 1000.0)
}

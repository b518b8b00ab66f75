//! Training runs from end to end: what they leave behind, what repeats them, and what they
//! survive.

mod cached;
mod distilled;
mod dry_run;
mod extended;
mod fast;
mod interrupted;
mod outcome;
mod policies;
mod precision;
mod steps;
mod tensorboard;

use std::path::Path;

use flowers::bundle::Bundle;
use flowers::metrics::Epoch;
use flowers::weights::StateDict;

pub(crate) use interrupted::assert_same;

pub(crate) fn rows(run: &Path) -> Vec<Epoch> {
    let mut reader = csv::Reader::from_path(run.join("history.csv")).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

pub(crate) fn model_bytes(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("model.safetensors")).unwrap()
}

fn weights(run: &Path) -> StateDict {
    Bundle::read(&run.join("model.safetensors"))
        .unwrap()
        .0
        .weights
}

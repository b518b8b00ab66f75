//! Runs that are told to go on for more epochs.

use std::fs;
use std::path::Path;

use super::interrupted::assert_same;
use super::rows;
use crate::support::{photos, run, train};

fn resume(run_folder: &Path, epochs: &str) -> crate::support::Said {
    let arguments = [
        "train",
        "--resume",
        run_folder.to_str().unwrap(),
        "--epochs",
        epochs,
    ];
    run(arguments)
}

#[test]
fn a_run_that_goes_on_ends_like_one_that_was_longer_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let longer = folder.path().join("longer");
    train(photos(), &longer, &["--epochs", "4"]).done();
    let extended = folder.path().join("extended");
    train(photos(), &extended, &["--epochs", "2"]).done();
    let said = resume(&extended.join("last.ckpt"), "4").done();
    assert!(said.stderr.contains("after 2 epochs"), "{}", said.stderr);
    assert_eq!(rows(&extended).len(), 4);
    assert_same(&extended, &longer);
    resume(&extended, "3").failed(2, &["trained for 4 epochs already"]);
}

#[test]
fn a_schedule_that_is_laid_out_over_the_epochs_is_not_extended() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(
        photos(),
        &out,
        &["--epochs", "1", "--scheduler", "one-cycle"],
    )
    .done();
    let before = fs::read(out.join("config.toml")).unwrap();
    let words = [
        "one-cycle",
        "began with (1)",
        "flowers train",
        "--weights",
        "model.safetensors",
    ];
    resume(&out, "2").failed(2, &words);
    assert!(fs::read(out.join("config.toml")).unwrap() == before);
    assert_eq!(rows(&out).len(), 1);
}

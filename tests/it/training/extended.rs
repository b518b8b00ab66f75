//! Runs that are resumed with another number of epochs.

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
    let line = resume(&out, "2").failed(2, &["one-cycle", "began with (1)"]);
    assert!(fs::read(out.join("config.toml")).unwrap() == before);
    assert_eq!(rows(&out).len(), 1);

    let (_, command) = line.split_once("in a new run: flowers ").unwrap();
    let new = folder.path().join("new");
    let words = command.split(' ').map(|word| match word {
        "NEW_RUN" => new.to_str().unwrap(),
        "N" => "2",
        word => word,
    });
    let said = run(words).done();
    assert!(said.stderr.contains("with its classifier"));
    for name in ["split.json", "config.toml"] {
        let read = |run: &Path| fs::read_to_string(run.join(name)).unwrap();
        let is_chosen = |line: &&str| !line.starts_with("epochs") && !line.starts_with("weights");
        assert!(
            read(&new)
                .lines()
                .filter(is_chosen)
                .eq(read(&out).lines().filter(is_chosen)),
            "{name}"
        );
    }
    assert_eq!(rows(&new).len(), 2);
}

#[test]
fn a_number_that_is_too_small_needs_no_new_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(photos(), &out, &["--epochs", "2"]).done();
    let line = resume(&out, "1").failed(2, &["trained for 2 epochs already"]);
    assert!(line.ends_with("already"), "{line}");
    let scheduler = ["--epochs", "2", "--scheduler", "cosine", "--lr", "1e30"];
    let diverged = folder.path().join("diverged");
    train(photos(), &diverged, &scheduler).failed(1, &["loss"]);
    let line = resume(&diverged, "3").failed(2, &["cosine"]);
    assert!(!line.contains("its model"), "{line}");
}

#[test]
fn a_longer_run_stays_longer_when_it_is_stopped_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(photos(), &out, &["--epochs", "1"]).done();
    // Without a log the run ends before its first epoch.
    fs::remove_file(out.join("train.log")).unwrap();
    fs::create_dir(out.join("train.log")).unwrap();
    resume(&out, "2").failed(4, &["train.log"]);
    fs::remove_dir(out.join("train.log")).unwrap();
    run(["train", "--resume", out.to_str().unwrap()]).done();
    assert_eq!(rows(&out).len(), 2);
}

//! Runs that are killed, stopped, or diverge.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs;
use std::hash::BuildHasher;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use flowers::weights::{Values, safetensors};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{model_bytes, rows};
use crate::support::{
    Said, copy, edit_checkpoint, names, photos, run, start, train, train_arguments, trained,
    wait_until,
};

/// A checkpoint after every batch.
const OFTEN: [&str; 2] = ["--checkpoint-minutes", "0.000001"];

const CLASSIC: [&str; 12] = [
    "--epochs",
    "6",
    "--cache",
    "disk",
    "--optimizer",
    "adam",
    "--scheduler",
    "plateau",
    "--weight-decay",
    "0.01",
    "--early-stop",
    "5",
];

const TWO_PHASE: [&str; 10] = [
    "--epochs",
    "3",
    "--recipe",
    "two-phase",
    "--optimizer",
    "sgd",
    "--scheduler",
    "one-cycle",
    "--dropout",
    "0.5",
];

const FAST: [&str; 8] = [
    "--epochs",
    "3",
    "--recipe",
    "fast",
    "--dropout",
    "0.5",
    "--optimizer",
    "sgd",
];

/// Three batches a step, so that most checkpoints are in the middle of one.
const STEPS: [&str; 16] = [
    "--epochs",
    "4",
    "--accumulate",
    "3",
    "--clip-grad-norm",
    "0.5",
    "--ema",
    "0.9",
    "--mixup",
    "0.4",
    "--cutmix",
    "1",
    "--label-smoothing",
    "0.1",
    "--optimizer",
    "adamw",
];

/// Averaged weights go from the first phase to the second.
const AVERAGED: [&str; 8] = [
    "--epochs",
    "2",
    "--recipe",
    "two-phase",
    "--ema",
    "0.8",
    "--class-weights",
    "true",
];

fn resume(folder: &Path) -> Vec<OsString> {
    vec!["train".into(), "--resume".into(), folder.into()]
}

/// Random moments, other ones every time; a failure shows the seed.
#[allow(clippy::print_stdout)]
fn moments() -> ChaCha8Rng {
    let seed = RandomState::new().hash_one("moments");
    println!("seed of the moments: {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Which file of that name there is, by its inode and time of writing.
fn version(path: &Path) -> Option<(u64, i64, i64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Completed phases, epochs of the phase and batches of the epoch, as a checkpoint has them.
fn position(checkpoint: &Path) -> [u64; 3] {
    let Ok((_, metadata)) = safetensors::read(checkpoint) else {
        return [0; 3];
    };
    let header: Value = serde_json::from_str(&metadata["flowers.checkpoint"]).unwrap();
    ["phase", "phase_epoch", "batch"].map(|key| header["state"][key].as_u64().unwrap())
}

/// Waits until the run has got on by a batch at least, and some time more. A new checkpoint alone
/// would not do: a run that is at its start writes one before its first batch.
fn wait_for_progress(child: &mut Child, run: &Path, rng: &mut impl Rng) {
    let checkpoint = run.join("last.ckpt");
    let (before, mut seen) = (position(&checkpoint), version(&checkpoint));
    wait_until("a later batch", || {
        let last = std::mem::replace(&mut seen, version(&checkpoint));
        let moved = last != seen && position(&checkpoint) != before;
        moved || child.try_wait().unwrap().is_some()
    });
    std::thread::sleep(Duration::from_millis(rng.random_range(0..120)));
}

/// Everything of two runs that may not differ.
pub(crate) fn assert_same(run: &Path, undisturbed: &Path) {
    assert!(model_bytes(run) == model_bytes(undisturbed), "other models");
    let learned = |run: &Path| -> Vec<String> {
        let rows = rows(run).into_iter();
        rows.map(|row| {
            format!(
                "{} {} {} {} {} {} {}",
                row.epoch,
                row.phase,
                row.learning_rate,
                row.train_loss,
                row.train_accuracy,
                row.val_loss,
                row.val_accuracy
            )
        })
        .collect()
    };
    assert_eq!(learned(run), learned(undisturbed));
    for name in ["metrics.json", "split.json", "config.toml"] {
        let read = |run: &Path| fs::read_to_string(run.join(name)).unwrap();
        assert_eq!(read(run), read(undisturbed), "{name}");
    }
    let left = names(run);
    let unfinished = left.iter().find(|name| name.starts_with('.'));
    assert_eq!(unfinished, None);
}

#[track_caller]
fn survives_kills(recipe: &[&str]) {
    const KILLS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let options = [recipe, &OFTEN].concat();
    let undisturbed = folder.path().join("undisturbed");
    train(photos(), &undisturbed, &options).done();

    let mut rng = moments();
    let killed = folder.path().join("killed");
    let stderr = folder.path().join("stderr");
    let mut child = start(&train_arguments(photos(), &killed, &options), &stderr);
    for _ in 0..KILLS {
        wait_for_progress(&mut child, &killed, &mut rng);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let log = fs::read_to_string(&stderr).unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "ended before it was killed: {log}"
        );
        child = start(&resume(&killed), &stderr);
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(&stderr).unwrap());
    assert_same(&killed, &undisturbed);
}

#[test]
fn a_killed_classic_run_ends_like_an_undisturbed_one() {
    survives_kills(&CLASSIC);
}

#[test]
fn a_killed_two_phase_run_ends_like_an_undisturbed_one() {
    survives_kills(&TWO_PHASE);
}

#[test]
fn a_killed_fast_run_ends_like_an_undisturbed_one() {
    survives_kills(&FAST);
}

#[test]
fn a_killed_run_of_large_steps_ends_like_an_undisturbed_one() {
    survives_kills(&STEPS);
}

#[test]
fn a_killed_run_of_averages_ends_like_an_undisturbed_one() {
    survives_kills(&AVERAGED);
}

#[test]
fn a_stopped_run_saves_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--epochs", "4", "--dropout", "0.3"];
    let options = [&options[..], &OFTEN].concat();
    let undisturbed = folder.path().join("undisturbed");
    train(photos(), &undisturbed, &options).done();

    let mut rng = moments();
    let stopped = folder.path().join("stopped");
    let stderr = folder.path().join("stderr");
    let mut arguments = train_arguments(photos(), &stopped, &options);
    for signal in ["-INT", "-TERM"] {
        let mut child = start(&arguments, &stderr);
        wait_for_progress(&mut child, &stopped, &mut rng);
        let process = child.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
        let said = Said {
            code: child.wait().unwrap().code(),
            stdout: String::new(),
            stderr: fs::read_to_string(&stderr).unwrap(),
        };
        let line = said.stopped(&["saved", "flowers train --resume "]);
        let (_, command) = line.split_once("flowers ").unwrap();
        arguments = command.split(' ').map(OsString::from).collect();
    }
    run(&arguments).done();
    assert_same(&stopped, &undisturbed);
}

#[test]
fn a_run_belongs_to_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (out, stderr) = (folder.path().join("run"), folder.path().join("stderr"));
    let options = [&["--epochs", "1000"][..], &OFTEN].concat();
    let mut first = start(&train_arguments(photos(), &out, &options), &stderr);
    wait_until("a checkpoint", || out.join("last.ckpt").exists());
    let owner = format!("in use by process {} on ", first.id());
    for arguments in [resume(&out), train_arguments(photos(), &out, &options)] {
        run(arguments).failed(4, &["run is in use", &owner, "wait until it is done"]);
    }
    assert_eq!(first.try_wait().unwrap(), None, "the first goes on");
    first.kill().unwrap();
    first.wait().unwrap();

    // What a killed process left keeps nobody out.
    assert!(out.join("run.lock").exists());
    edit_checkpoint(&out.join("last.ckpt"), |header| {
        header["config"]["epochs"] = 1.into();
    });
    run(resume(&out)).done();
    assert!(!out.join("run.lock").exists());
}

#[test]
fn resuming_a_finished_run_reports_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again");
    copy(trained(), &again);
    for name in ["report.html", "metrics.json", "confusion_matrix.png"] {
        fs::remove_file(again.join(name)).unwrap();
    }
    let said = run(resume(&again)).done();
    assert!(said.stderr.contains("after 4 epochs"), "{}", said.stderr);
    assert!(!said.stderr.contains("Epoch"), "{}", said.stderr);
    assert!(again.join("report.html").exists());
    assert_same(&again, trained());
}

#[test]
fn a_resumed_run_needs_its_photos_and_finds_them_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (set, out) = (folder.path().join("set"), folder.path().join("run"));
    copy(photos(), &set);
    train(&set, &out, &["--epochs", "1"]).done();
    edit_checkpoint(&out.join("last.ckpt"), |header| {
        header["config"]["epochs"] = 2.into();
    });
    let moved = folder.path().join("moved");
    fs::rename(&set, &moved).unwrap();
    run(resume(&out)).failed(3, &["there is no folder", "set"]);
    let mut arguments = resume(&out);
    arguments.push(moved.into());
    run(arguments).done();
    assert_eq!(rows(&out).len(), 2);
}

#[test]
fn a_damaged_checkpoint_or_model_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    copy(trained(), &out);
    let checkpoint = out.join("last.ckpt");
    let whole = fs::read(&checkpoint).unwrap();
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (
            |h| h["config"]["batch-size"] = 0.into(),
            "--batch-size must be",
        ),
        (
            |h| h["config"]["threads"] = 1_000_000.into(),
            "--threads must be",
        ),
        (|h| h["config"]["recipe"] = "x".into(), "no recipe \"x\""),
        (
            |h| h["config"]["arch"] = "x".into(),
            "no architecture \"x\"",
        ),
        (
            |h| h["manifest"]["recipe"] = "x".into(),
            "its recipe is not",
        ),
        (
            |h| h["manifest"]["metrics"] = json!([1]),
            "its metrics are not",
        ),
    ];
    for (change, why) in cases {
        fs::write(&checkpoint, &whole).unwrap();
        edit_checkpoint(&checkpoint, change);
        let mut arguments = resume(&out);
        arguments.extend(["--epochs", "9"].map(OsString::from));
        run(&arguments).failed(3, &["last.ckpt", "broken checkpoint", why]);
    }

    fs::write(&checkpoint, &whole).unwrap();
    let (mut tensors, notes) = safetensors::read(&checkpoint).unwrap();
    let bias = tensors.get_mut("network/classifier.1.bias").unwrap();
    bias.values = Values::F32(vec![f32::NAN; bias.len()]);
    safetensors::write(&checkpoint, &tensors, &notes).unwrap();
    run(resume(&out)).failed(3, &["last.ckpt", "classifier.1.bias holds NaN"]);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(photos(), &out, &["--lr", "1e30"]).failed(1, &["loss", "lower --lr"]);
    assert!(!out.join("model.safetensors").exists());

    let out = folder.path().join("later");
    train(photos(), &out, &["--epochs", "1"]).done();
    let checkpoint = out.join("last.ckpt");
    let spoilt = edit_checkpoint(&checkpoint, |header| {
        header["config"]["epochs"] = 2.into();
        header["config"]["lr"] = 1e30.into();
    });
    let model = model_bytes(&out);
    let words = ["epoch 2", "lower --lr", "is still in", "later"];
    run(resume(&out)).failed(1, &words);
    assert!(fs::read(&checkpoint).unwrap() == spoilt);
    assert!(model_bytes(&out) == model);
    edit_checkpoint(&checkpoint, |header| {
        header["config"]["lr"] = 1e-4.into();
    });
    run(resume(&out)).done();
    assert_eq!(rows(&out).len(), 2);
}

#[test]
fn weights_that_break_in_the_last_step_of_an_epoch_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = ["--lr", "1e30", "--batch-size", "64"];
    train(photos(), &out, &options).failed(1, &["lower --lr"]);
    assert!(!out.join("model.safetensors").exists());
}

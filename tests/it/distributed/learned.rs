//! What several processes learn.

use std::fs;
use std::path::Path;

use crate::support::{copy, names, photos, run, train};
use crate::training::{assert_same, model_bytes, rows};

/// No layer depends on how a batch is divided.
const PLAIN: [&str; 20] = [
    "--arch",
    "squeezenet1_1",
    "--precision",
    "float32",
    "--dropout",
    "0",
    "--optimizer",
    "sgd",
    "--lr",
    "0.001",
    "--clip-grad-norm",
    "1",
    "--seed",
    "2",
    "--epochs",
    "3",
    "--batch-size",
    "7",
    "--class-weights",
    "true",
];

/// A data set with fewer photos of one class than of the others.
fn uneven(folder: &Path) {
    copy(photos(), folder);
    let class = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut classes: Vec<_> = class.filter(|path| path.is_dir()).collect();
    classes.sort();
    for name in names(&classes[0]).iter().take(5) {
        fs::remove_file(classes[0].join(name)).unwrap();
    }
}

/// Batches of 7 photos, and one of fewer, are divided unevenly, among 4 processes such that some get none.
#[test]
fn losses_are_those_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    uneven(&data);
    let losses = |name: &str, more: &[&str]| -> Vec<f64> {
        let out = folder.path().join(name);
        train(&data, &out, &[&PLAIN, more].concat()).done();
        let rows = rows(&out).into_iter();
        rows.flat_map(|row| {
            [
                row.train_loss,
                row.val_loss,
                row.val_accuracy,
                row.train_accuracy,
            ]
        })
        .collect()
    };
    for more in [&[][..], &["--accumulate", "2"]] {
        let alone = losses(&format!("1{}", more.len()), more);
        assert!((alone[0] - alone[8]).abs() > 1e-3, "it learns: {alone:?}");
        for count in ["2", "4"] {
            let more = [more, &["--nproc", count]].concat();
            let together = losses(&format!("{count}{}", more.len()), &more);
            assert_eq!(together.len(), alone.len());
            for (together, alone) in together.iter().zip(&alone) {
                let apart = (together - alone).abs() / alone.abs().max(1e-3);
                assert!(apart < 1e-4, "{count} processes: {together} {alone}");
            }
        }
    }
}

#[test]
fn one_process_of_a_launcher_is_a_process_alone() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, one] = ["alone", "one"].map(|name| folder.path().join(name));
    train(photos(), &alone, &["--epochs", "1"]).done();
    train(photos(), &one, &["--epochs", "1", "--nproc", "1"]).done();
    assert!(model_bytes(&alone) == model_bytes(&one));
}

#[test]
fn process_0_writes_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = ["--epochs", "2", "--nproc", "2", "--json"];
    let said = train(photos(), &out, &options).done();
    assert_eq!(said.json().len(), 1, "{}", said.stdout);
    assert!(
        said.stderr.contains("2 processes, gradients by Gloo"),
        "{}",
        said.stderr
    );
    assert_eq!(
        said.stderr.matches("Epoch 2/2").count(),
        1,
        "{}",
        said.stderr
    );
    assert!(!said.stderr.contains("[rank 1]"), "{}", said.stderr);
    let collectives = &said.json()[0]["profile"]["run"]["collectives"];
    assert!(collectives.as_f64().unwrap() > 0.0);
    assert!(!out.join("run.lock").exists());
}

#[test]
fn a_run_goes_on_in_another_number_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (epochs, count) in [("1", "1"), ("2", "3"), ("3", "1"), ("4", "2")] {
        let options = ["--epochs", epochs, "--nproc", count, "--resume-or-start"];
        train(photos(), &out, &options).done();
    }
    assert_eq!(rows(&out).len(), 4);
    // Finished, it is reported again.
    let again = folder.path().join("again");
    copy(&out, &again);
    let resume = ["train", "--resume", again.to_str().unwrap(), "--nproc", "2"];
    run(resume).done();
    assert_same(&again, &out);
}

#[test]
fn another_configuration_is_not_taken_for_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(photos(), &out, &["--epochs", "1", "--resume-or-start"]).done();
    let before = model_bytes(&out);
    let other = ["--epochs", "1", "--resume-or-start", "--lr", "0.5"];
    train(photos(), &out, &other).failed(2, &["run holds a run with --lr 0.0001, not 0.5"]);
    assert!(model_bytes(&out) == before);
    // What a run left that ended before its first checkpoint.
    for name in names(&out) {
        if !["config.toml", "split.json", "train.log"].contains(&&*name) {
            fs::remove_file(out.join(name)).unwrap();
        }
    }
    train(photos(), &out, &other).done();
}

/// Photos whose features are shared are those of one process, whoever computes them.
#[test]
fn features_are_those_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    uneven(&data);
    let learned = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let fast = [
            "--recipe",
            "fast",
            "--epochs",
            "1",
            "--precision",
            "float32",
        ];
        let said = train(&data, &out, &[&fast, more].concat()).done();
        assert!(
            said.stderr.contains("Features of view 2"),
            "{}",
            said.stderr
        );
        assert!(said.stderr.contains("Logits divided by"), "{}", said.stderr);
        assert!(!names(&out).contains(&"features".to_owned()));
        rows(&out)
    };
    let alone = learned("1", &[]);
    for count in ["2", "3"] {
        let together = learned(count, &["--nproc", count]);
        assert_eq!(together.len(), alone.len());
        let (head, expected) = (&together[0], &alone[0]);
        assert_eq!(head.phase, "head");
        for (found, expected) in [
            (head.train_loss, expected.train_loss),
            (head.val_loss, expected.val_loss),
        ] {
            let apart = (found - expected).abs() / expected;
            assert!(apart < 0.01, "{count} processes: {found} {expected}");
        }
        assert_eq!(head.val_accuracy, expected.val_accuracy);
        assert!(together.iter().all(|row| row.val_loss.is_finite()));
    }
}

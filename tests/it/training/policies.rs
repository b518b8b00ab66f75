//! Augmentation policies as options of a run.

use std::fs;

use super::{model_bytes, weights};
use crate::support::{photos, run, train};

#[test]
fn a_policy_is_an_option_of_a_run_and_does_not_depend_on_the_workers() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        train(photos(), &out, &[&["--epochs", "1"], options].concat()).done();
        out
    };
    let policy = ["--augment", "randaugment", "--random-erasing", "0.5"];
    let first = trained("first", &policy);
    let many = [&policy[..], &["--workers", "5"]].concat();
    assert!(weights(&first) == weights(&trained("many", &many)));
    let others = [
        trained("recipe", &[]),
        trained("trivial", &["--augment", "trivialaugment"]),
        trained("none", &["--augment", "none"]),
        trained("randaugment", &policy[..2]),
    ];
    for other in others {
        assert!(weights(&first) != weights(&other), "{other:?}");
    }

    let config = first.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(
        text.contains("augment = \"randaugment\"\nrandom-erasing = 0.5\n"),
        "{text}"
    );
    let again = folder.path().join("again");
    let words = [
        "--out",
        again.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    run([&["train", photos().to_str().unwrap()], &words[..]].concat()).done();
    assert!(model_bytes(&first) == model_bytes(&again));
}

#[test]
fn wrong_policies_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = train(photos(), &out, &["--augment", "rand"]);
    said.misused(&["--augment", "randaugment", "trivialaugment"]);
    train(photos(), &out, &["--random-erasing", "1.5"])
        .failed(2, &["--random-erasing must be from 0 to 1"]);
}

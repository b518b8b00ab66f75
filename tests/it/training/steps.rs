//! What a step is made of: accumulation, averaging, mixing, and the learning rate that is found.

use std::fs;
use std::path::Path;

use flowers::weights::StateDict;

use super::{model_bytes, rows, weights};
use crate::support::{Said, flowers, photos, run, train, train_arguments};

fn config(run: &Path) -> toml::Table {
    let text = fs::read_to_string(run.join("config.toml")).unwrap();
    text.parse().unwrap()
}

fn largest_difference(a: &StateDict, b: &StateDict) -> f32 {
    let pairs = a.iter().map(|(name, tensor)| (tensor, &b[name]));
    let floats = pairs.filter_map(|(a, b)| Some((a.as_f32()?, b.as_f32()?)));
    floats
        .flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()))
        .fold(0.0, f32::max)
}

/// A step an epoch, one epoch: timm's average is then the weights themselves, whatever the decay.
#[test]
fn the_average_of_one_step_is_that_step() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        let always = ["--epochs", "1", "--accumulate", "4096", "--batch-size", "8"];
        train(photos(), &out, &[&always[..], options].concat()).done();
        weights(&out)
    };
    let (raw, averaged) = (trained("raw", &[]), trained("averaged", &["--ema", "0.99"]));
    assert!(largest_difference(&raw, &averaged) == 0.0);
}

#[test]
fn averaging_and_clipping_change_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        train(
            photos(),
            &out,
            &[&["--epochs", "1", "--batch-size", "4"], options].concat(),
        )
        .done();
        weights(&out)
    };
    let plain = trained("plain", &["--ema", "0", "--accumulate", "1"]);
    for (name, options) in [
        ("averaged", ["--ema", "0.9"]),
        ("accumulated", ["--accumulate", "2"]),
        ("mixed", ["--mixup", "0.5"]),
        ("cut", ["--cutmix", "0.5"]),
    ] {
        assert!(
            largest_difference(&plain, &trained(name, &options)) > 0.0,
            "{name}"
        );
    }
}

#[test]
fn two_classes_and_a_batch_beyond_the_data_set_are_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("two");
    let classes = fs::read_dir(photos()).unwrap();
    let mut classes: Vec<_> = classes.map(|entry| entry.unwrap().path()).collect();
    classes.sort();
    for class in classes.iter().filter(|path| path.is_dir()).take(2) {
        crate::support::copy(class, &set.join(class.file_name().unwrap()));
    }
    let out = folder.path().join("run");
    let options = ["--mixup", "1", "--cutmix", "1", "--batch-size", "4096"];
    train(&set, &out, &[&["--epochs", "2"], &options[..]].concat()).done();
    for row in rows(&out) {
        assert!((0.0..=1.0).contains(&row.train_accuracy));
        assert!(row.train_loss.is_finite());
    }
}

#[test]
fn values_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (option, value) in [
        ("--accumulate", "0"),
        ("--ema", "1"),
        ("--mixup", "-1"),
        ("--cutmix", "nan"),
        ("--clip-grad-norm", "-1"),
        ("--lr", "fast"),
        ("--precision", "float16"),
    ] {
        let out = folder.path().join("run");
        train(photos(), &out, &[option, value]).misused(&[option]);
    }
}

#[test]
fn a_learning_rate_is_found_said_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = train(photos(), &out, &["--epochs", "1", "--lr", "auto"]).done();
    let found = |text: &str| text.contains("range test");
    assert!(found(&said.stderr), "{}", said.stderr);
    assert!(found(&fs::read_to_string(out.join("train.log")).unwrap()));
    let rate = config(&out)["lr"].as_float().unwrap();
    assert!(rate > 1e-6 && rate < 1.0, "{rate}");

    // The configuration repeats the run without a test of its own.
    let again = folder.path().join("again");
    let file = out.join("config.toml");
    let mut arguments = vec!["train".into(), photos().into()];
    arguments.extend(["--out".into(), again.clone().into_os_string()]);
    arguments.extend(["--config".into(), file.into_os_string()]);
    let said = run(arguments).done();
    assert!(!found(&said.stderr), "{}", said.stderr);
    assert!(model_bytes(&out) == model_bytes(&again));
}

/// oneDNN's limit makes this a processor without bfloat16.
#[test]
fn bfloat16_without_instructions_is_warned_of_and_not_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, precision: &str| {
        let out = folder.path().join(name);
        let options = [
            "--epochs",
            "1",
            "--arch",
            "resnet18",
            "--precision",
            precision,
        ];
        let mut command = flowers();
        command.env("ONEDNN_MAX_CPU_ISA", "avx512_core");
        command.args(train_arguments(photos(), &out, &options));
        let said = Said::of(command.output().unwrap()).done();
        let precision = config(&out)["precision"].as_str().unwrap().to_owned();
        (said.stderr, precision)
    };
    let (said, precision) = trained("auto", "auto");
    assert_eq!(precision, "float32");
    assert!(!said.contains("bfloat16"), "{said}");
    let (said, precision) = trained("asked", "bfloat16");
    assert_eq!(precision, "bfloat16");
    assert!(
        said.contains("no bfloat16 arithmetic") && said.contains(" times as long"),
        "{said}"
    );
}

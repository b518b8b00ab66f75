//! Networks that learn from others.

use std::fs;
use std::path::Path;

use flowers::bundle::Bundle;

use super::model_bytes;
use crate::support::{copy, photos, run, train, trained};

fn taught(out: &Path, options: &[&str]) -> Vec<u8> {
    let teacher = trained();
    let teacher = ["--epochs", "1", "--teacher", teacher.to_str().unwrap()];
    train(photos(), out, &[&teacher, options].concat()).done();
    model_bytes(out)
}

#[test]
fn a_teacher_a_method_and_a_temperature_change_what_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    train(photos(), &out("alone"), &["--epochs", "1"]).done();
    let found = [
        model_bytes(&out("alone")),
        taught(&out("kd"), &[]),
        taught(&out("dkd"), &["--distill-method", "dkd"]),
        taught(&out("warm"), &["--temperature", "8"]),
        taught(&out("only"), &["--distill-weight", "1"]),
        taught(&out("mixed"), &["--mixup", "0.5"]),
        taught(&out("fast"), &["--recipe", "fast"]),
        taught(&out("larger"), &["--image-size", "48"]),
    ];
    for (at, model) in found.iter().enumerate() {
        assert!(
            !found[..at].contains(model),
            "model {at} is as an earlier one"
        );
    }
    assert!(taught(&out("again"), &[]) == found[1]);
}

#[test]
fn the_mean_of_two_equal_teachers_is_one_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let teacher = trained();
    let again = ["--teacher", teacher.to_str().unwrap()];
    let weights = |name: &str| {
        let (model, _) = Bundle::read(&out(name).join("model.safetensors")).unwrap();
        model.weights
    };
    taught(&out("one"), &[]);
    taught(&out("two"), &again);
    assert!(weights("one") == weights("two"));
}

#[test]
fn a_run_records_its_teachers_and_is_repeated_with_them_only() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let teacher = out("teacher");
    copy(trained(), &teacher);
    let named = teacher.to_str().unwrap();
    let first = ["--epochs", "1", "--teacher", named, "--temperature", "2"];
    train(photos(), &out("first"), &first).done();
    let config = out("first").join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(
        text.contains("teacher-sha256") && text.contains("temperature = 2"),
        "{text}"
    );
    let config = ["--config", config.to_str().unwrap()];
    train(photos(), &out("again"), &config).done();
    assert!(model_bytes(&out("first")) == model_bytes(&out("again")));

    fs::copy(
        out("first").join("model.safetensors"),
        teacher.join("model.safetensors"),
    )
    .unwrap();
    let refused = train(photos(), &out("other"), &config);
    refused.failed(
        3,
        &["is not the teacher that the configuration was written for"],
    );
}

#[test]
fn teachers_that_can_not_teach_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let data = folder.path().join("data");
    copy(photos(), &data);
    let mut classes = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let class = classes.find(|path| path.is_dir()).unwrap();
    fs::rename(&class, data.join("zinnia")).unwrap();
    let teacher = trained();
    let teacher = teacher.to_str().unwrap();
    let own = class.file_name().unwrap().to_str().unwrap();
    let refused = train(&data, &out, &["--teacher", teacher]);
    refused.failed(
        3,
        &["does not know 1 of the classes: zinnia; its own are", own],
    );

    let refused = train(photos(), &out, &["--teacher", "nobody.safetensors"]);
    refused.failed(3, &["nobody.safetensors"]);
    let refused = train(photos(), &out, &["--temperature", "2"]);
    refused.failed(2, &["--teacher must be given with"]);
    for (option, value) in [("--temperature", "0"), ("--distill-weight", "1.5")] {
        let refused = train(photos(), &out, &["--teacher", teacher, option, value]);
        refused.failed(2, &[option, "must be"]);
    }
}

#[test]
fn photos_without_labels_join_as_the_teacher_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let sample = [
        "data",
        "sample",
        "--classes",
        "3",
        "--per-class",
        "4",
        "--size",
        "48",
        "--seed",
        "9",
    ];
    let mut arguments: Vec<_> = sample.map(std::ffi::OsString::from).to_vec();
    arguments.push(out("more").into());
    run(arguments).done();
    // Photos of the data set's own are not counted twice.
    copy(photos(), &out("more/again"));
    let unlabelled = out("more");
    let unlabelled = unlabelled.to_str().unwrap();
    let teacher = trained().to_str().unwrap();
    let options = [
        "--epochs",
        "1",
        "--teacher",
        teacher,
        "--unlabelled",
        unlabelled,
    ];
    for recipe in ["classic", "fast"] {
        let said = train(
            photos(),
            &out(recipe),
            &[&options[..], &["--recipe", recipe]].concat(),
        );
        let said = said.done();
        assert!(
            said.stderr.contains("12 of 48 unlabelled photos"),
            "{}",
            said.stderr
        );
        assert!(
            model_bytes(&out(recipe))
                != taught(&out(&format!("{recipe}-without")), &["--recipe", recipe])
        );
    }
    let again = train(photos(), &out("again"), &options).done();
    assert!(again.stderr.contains("12 of 48"));
    assert!(model_bytes(&out("again")) == model_bytes(&out("classic")));
    let config = out("classic/config.toml");
    fs::remove_dir_all(out("more/again")).unwrap();
    let first = fs::read_dir(out("more")).unwrap().next().unwrap().unwrap();
    fs::remove_dir_all(first.path()).unwrap();
    let options = ["--config", config.to_str().unwrap()];
    train(photos(), &out("fewer"), &options).failed(3, &["not those that the run began with"]);
    let alone = ["--unlabelled", unlabelled];
    train(photos(), &out("alone"), &alone).failed(2, &["--teacher", "--unlabelled"]);
    let none = [
        "--teacher",
        teacher,
        "--unlabelled",
        photos().to_str().unwrap(),
    ];
    train(photos(), &out("none"), &none).failed(3, &["all photos in"]);
}

//! Options and configuration files that make no sense.

use std::fs;
use std::path::Path;

use crate::support::{copy, model, names, photos, run, train, trained};

#[test]
fn senseless_options_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["--arch", "unet"],
            &["no architecture \"unet\". Choices: resnet18", "resnet18"],
        ),
        (&["--recipe", "slow"], &["no recipe \"slow\"", "two-phase"]),
        (
            &["--freeze-until", "layer9"],
            &["\"layer9\": mobilenet_v2 has no such layer", "features.14"],
        ),
        (&["--lr", "nan"], &["--lr must be a positive number"]),
        (&["--image-size", "8"], &["--image-size must be 32 to 1024"]),
        (
            &["--val", "0.5", "--test", "0.5"],
            &["--val", "sum to less than 1"],
        ),
    ];
    for (options, words) in cases {
        train(photos(), &out, options).failed(2, words);
    }
    train(photos(), &out, &["--optimizer", "lion"]).misused(&["'lion'", "adamw"]);
    train(photos(), &out, &["--epoch", "3"]).misused(&["'--epoch'", "--epochs"]);
    assert!(!out.exists());
}

#[test]
fn senseless_arguments_show_the_usage() {
    run(["wilt"]).misused(&["'wilt'"]);
    run(["train"]).misused(&["DATA", "--out"]);
    run(["train", "--resume", "a", "--out", "b"]).misused(&["--resume", "--out"]);
    run(["predict", "model", "file", "--top-k", "0"]).misused(&["--top-k"]);
    run(["eval", "model", "data", "--max-regression", "0.1"]).misused(&["--baseline"]);
    run(["eval", "model", "data", "--split", "all of it"]).misused(&["all of it", "val"]);
}

#[test]
fn configuration_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let config = folder.path().join("my config.toml");
    let path = config.to_str().unwrap();
    let cases: [(&[u8], i32, &[&str]); 4] = [
        (
            b"epoch = 3\n",
            2,
            &["my config.toml", "`epoch`", "`epochs`"],
        ),
        (b"epochs = \"3\"\n", 2, &["my config.toml", "epochs"]),
        (b"lr = -1\n", 2, &["lr"]),
        (b"\xff\xfe", 2, &["my config.toml", "not text"]),
    ];
    for (text, code, words) in cases {
        fs::write(&config, text).unwrap();
        train(photos(), &out, &["--config", path]).failed(code, words);
    }
    fs::remove_file(&config).unwrap();
    train(photos(), &out, &["--config", path]).failed(3, &["my config.toml"]);
    assert!(!out.exists());
}

#[test]
fn a_folder_that_holds_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (finished, other) = (folder.path().join("finished"), folder.path().join("other"));
    copy(trained(), &finished);
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.txt"), b"mine").unwrap();
    let before = contents(folder.path());

    let resume = format!("--resume {}", finished.display());
    train(photos(), &finished, &[]).failed(2, &["contains files", &resume]);
    let line = train(photos(), &other, &[]).failed(2, &["contains files", "another folder"]);
    assert!(!line.contains("--resume"), "{line}");
    let photo = photos().join("rose/rose-0001.jpg");
    train(photos(), &photo, &[]).failed(2, &["rose-0001.jpg"]);
    let thesis = other.join("thesis.txt");
    train(photos(), &thesis, &[]).failed(2, &["thesis.txt is a file: choose a folder"]);
    let evaluated = |report: &Path| {
        run([
            "eval".as_ref(),
            model().as_path(),
            photos(),
            "--report".as_ref(),
            report,
        ])
    };
    evaluated(&other).failed(2, &["contains files", "another folder"]);
    let sample = ["data", "sample", other.to_str().unwrap()];
    run(sample).failed(2, &["other"]);
    let split = other.join("thesis.txt");
    let split = [
        "data",
        "split",
        photos().to_str().unwrap(),
        "--out",
        split.to_str().unwrap(),
    ];
    run(split).failed(2, &["thesis.txt", "exists"]);
    assert!(contents(folder.path()) == before, "nothing was touched");
}

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut contents = Vec::new();
    for name in names(folder) {
        for file in names(&folder.join(&name)) {
            let path = folder.join(&name).join(&file);
            contents.push((format!("{name}/{file}"), fs::read(path).unwrap()));
        }
    }
    contents
}

#[test]
fn resuming_needs_a_run_and_no_options() {
    let folder = tempfile::tempdir().unwrap();
    let resume = |run_folder: &Path, more: &[&str]| {
        let first = [
            "train".as_ref(),
            "--resume".as_ref(),
            run_folder.as_os_str(),
        ];
        run(first.into_iter().chain(more.iter().map(AsRef::as_ref)))
    };
    resume(&folder.path().join("none"), &[]).failed(3, &["none", "last.ckpt"]);
    let options = ["--epochs", "9", "--lr", "1e-3"];
    resume(trained(), &options).failed(2, &["own configuration", "but --epochs"]);
    resume(trained(), &["--seed", "1"]).failed(2, &["own configuration"]);

    let checkpoint = fs::read(trained().join("last.ckpt")).unwrap();
    fs::write(
        folder.path().join("last.ckpt"),
        &checkpoint[..checkpoint.len() / 2],
    )
    .unwrap();
    resume(folder.path(), &[]).failed(3, &["last.ckpt", "cut short"]);
    fs::copy(model(), folder.path().join("last.ckpt")).unwrap();
    resume(folder.path(), &[]).failed(3, &["last.ckpt", "not a checkpoint"]);
}

//! A machine that does not do its part: places that can't be written to, full disks, memory.

use std::fs::{self, File};
use std::path::Path;

use crate::support::{
    FULL_DISK, Said, edit_checkpoint, flowers, limited, model, names, photos, run, train,
    train_arguments,
};

#[test]
fn places_that_cannot_be_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    train(photos(), &file.join("run"), &[]).failed(4, &["file/run", "writable"]);
    if cfg!(target_os = "linux") {
        train(photos(), Path::new("/proc/run"), &[]).failed(4, &["/proc/run", "writable"]);
    }
    let sample = file.join("sample");
    run(["data", "sample", sample.to_str().unwrap()]).failed(2, &["file/sample is below a file"]);
    let (model, photos) = (model(), photos().to_str().unwrap());
    let model = model.to_str().unwrap();
    let split = file.join("split.json");
    let split = split.to_str().unwrap();
    run(["data", "split", photos, "--out", split]).failed(4, &["file/split.json"]);
    run(["eval", model, photos, "--report", split]).failed(4, &["file/split.json"]);
    run(["eval", model, photos, "--junit", split]).failed(4, &["file/split.json"]);
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_cannot_be_written_down() {
    let (model, photos) = (model(), photos().to_str().unwrap());
    let model = model.to_str().unwrap();
    let verbs: [&[&str]; 3] = [
        &["predict", model, photos, "--json"],
        &["eval", model, photos, "--json"],
        &["data", "check", photos],
    ];
    for verb in verbs {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = Said::of(flowers().args(verb).stdout(full).output().unwrap());
        said.failed(4, &["standard output", "No space left"]);
    }
}

#[test]
fn a_disk_that_fills_up_costs_nothing_that_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = train_arguments(photos(), &out, &["--epochs", "3"]);
    limited(FULL_DISK, &arguments).failed(4, &["run/last.ckpt", "File too large"]);
    let left = names(&out);
    let spoilt = |name: &String| name.ends_with(".part") || name.ends_with(".ckpt");
    assert!(!left.iter().any(spoilt), "{left:?}");

    let out = folder.path().join("interrupted");
    train(photos(), &out, &["--epochs", "1"]).done();
    let checkpoint = edit_checkpoint(&out.join("last.ckpt"), |header| {
        header["config"]["epochs"] = 2.into();
    });
    let model = fs::read(out.join("model.safetensors")).unwrap();
    let resume = ["train".as_ref(), "--resume".as_ref(), out.as_os_str()];
    limited(FULL_DISK, resume).failed(4, &["File too large"]);
    assert!(fs::read(out.join("last.ckpt")).unwrap() == checkpoint);
    assert!(fs::read(out.join("model.safetensors")).unwrap() == model);
    assert!(names(&out).iter().all(|name| !name.contains(".part")));
    run(resume).done();
    assert_eq!(
        fs::read_to_string(out.join("history.csv"))
            .unwrap()
            .lines()
            .count(),
        3
    );
}

#[test]
fn a_quantized_model_that_does_not_fit_on_the_disk_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("int8.safetensors");
    let mut arguments = vec![Path::new("quantize"), Path::new("--out"), &out];
    arguments.extend(["--method", "dynamic"].map(Path::new));
    let model = model();
    arguments.push(&model);
    limited(FULL_DISK, arguments).failed(4, &["int8.safetensors", "File too large"]);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_that_runs_out_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = [
        "--batch-size",
        "64",
        "--image-size",
        "1024",
        "--epochs",
        "1",
    ];
    let arguments = train_arguments(photos(), &out, &options);
    for kilobytes in [1_200_000, 2_500_000] {
        let said = limited(&format!("-v {kilobytes}"), &arguments);
        said.failed(4, &["out of memory", "--batch-size", "--image-size"]);
        fs::remove_dir_all(&out).unwrap();
    }
}

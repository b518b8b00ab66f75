//! `flowers tune`: trials and what becomes of them, resumed where they stopped, and what is refused.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flowers::bundle::Bundle;
use flowers::weights::StateDict;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Said, TINY, copy, names, photos, run, shared, start, train, trained, wait_until,
};

const SPACE: &str = "lr = { min = 1e-4, max = 1e-2, log = true }\n\
                     dropout = { min = 0, max = 0.5 }\n\
                     augment = [\"none\", \"recipe\"]\n";

/// What the search of [`finished`] is asked for: rungs after epochs 1 and 3.
const SEARCH: [&str; 4] = ["--epochs", "3", "--trials", "4"];

/// `flowers tune DATA --out OUT` with [`SPACE`] and few pixels; `options` win.
fn arguments(out: &Path, space: Option<&Path>, options: &[&str]) -> Vec<OsString> {
    let all: Vec<&str> = [&TINY[..], &SEARCH].concat();
    let defaults = all.chunks(2).filter(|pair| !options.contains(&pair[0]));
    let mut arguments: Vec<OsString> = vec!["tune".into(), photos().into()];
    arguments.extend(["--out".into(), out.into()]);
    if let Some(space) = space {
        arguments.extend(["--space".into(), space.into()]);
    }
    arguments.extend(defaults.flatten().chain(options).map(OsString::from));
    arguments
}

/// A file with [`SPACE`].
fn space() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = shared().join("space.toml");
        fs::write(&path, SPACE).unwrap();
        path
    })
}

fn tune(out: &Path, options: &[&str]) -> Said {
    run(arguments(out, Some(space()), options))
}

/// A finished search, only to be read, and what it said.
fn finished() -> &'static (PathBuf, Said) {
    static FINISHED: OnceLock<(PathBuf, Said)> = OnceLock::new();
    FINISHED.get_or_init(|| {
        let out = shared().join("tuning");
        let said = tune(&out, &[]).done();
        (out, said)
    })
}

/// A copy of [`finished`] in a folder of its own.
fn copied() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    copy(&finished().0, &out);
    (folder, out)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn results(out: &Path) -> Value {
    json(&out.join("tune.json"))
}

/// The trials of a search by their numbers.
fn trials(out: &Path) -> Vec<Value> {
    let results = results(out);
    let mut trials = results["trials"].as_array().unwrap().clone();
    trials.sort_by_key(|trial| trial["trial"].as_u64());
    trials
}

fn best(out: &Path) -> Value {
    let best = trials(out).into_iter().find(|one| one["is_best"] == true);
    best.unwrap()
}

fn weights(run: &Path) -> StateDict {
    let (model, _) = Bundle::read(&run.join("model.safetensors")).unwrap();
    model.weights
}

/// Trains with the configuration that a search found.
fn trained_with_best(out: &Path, run_folder: &Path) -> StateDict {
    let config = out.join("best.toml");
    let start = ["train".into(), photos().as_os_str().to_owned()];
    let options = [
        OsString::from("--out"),
        run_folder.into(),
        "--config".into(),
        config.into(),
    ];
    run(start.into_iter().chain(options)).done();
    weights(run_folder)
}

/// Everything that is the same for a search that was interrupted.
fn lasting(out: &Path) -> Vec<Value> {
    let mut trials = trials(out);
    for trial in &mut trials {
        trial.as_object_mut().unwrap().remove("seconds");
    }
    trials
}

#[test]
fn trials_are_ordinary_runs_of_one_split_and_one_is_tested() {
    let (out, _) = finished();
    let files = [
        "best.toml",
        "search.json",
        "split.json",
        "trials",
        "tune.csv",
        "tune.html",
        "tune.json",
        "tune.png",
    ];
    assert_eq!(names(out), files);
    assert_eq!(names(&out.join("trials")), ["000", "001", "002", "003"]);
    let split = fs::read(out.join("split.json")).unwrap();
    let best = best(out);
    for trial in trials(out) {
        let folder = out.join(trial["run"].as_str().unwrap());
        assert!(fs::read(folder.join("split.json")).unwrap() == split);
        for file in ["config.toml", "last.ckpt", "history.csv", "train.log"] {
            assert!(folder.join(file).is_file(), "{file}: {trial}");
        }
        let is_best = trial["trial"] == best["trial"];
        for file in ["metrics.json", "report.html", "profile.json"] {
            assert_eq!(folder.join(file).exists(), is_best, "{file}: {trial}");
        }
        let (model, _) = Bundle::read(&folder.join("model.safetensors")).unwrap();
        let test = model.manifest.metrics.unwrap().test();
        assert_eq!(test.is_some(), is_best);
        if let Some(test) = test {
            let found = &results(out)["test"];
            assert_eq!(found["accuracy"], test.accuracy);
            assert_eq!(found["photos"], 6);
        }
    }
}

#[test]
fn the_defaults_come_first_and_the_best_is_no_worse() {
    let (out, said) = finished();
    assert_eq!(results(out)["rungs"], serde_json::json!([1, 3]));
    let trials = trials(out);
    let [defaults, others @ ..] = &trials[..] else {
        panic!("{trials:?}");
    };
    assert!(defaults["is_default"] == true && defaults["outcome"] == "complete");
    let usual = serde_json::json!({"augment": "recipe", "dropout": 0.2, "lr": 1e-4});
    assert_eq!(defaults["values"], usual);
    let accuracy = |trial: &Value| trial["val_accuracy"].as_f64().unwrap();
    assert!(accuracy(&best(out)) >= accuracy(defaults));
    let complete = trials.iter().filter(|one| one["outcome"] == "complete");
    let most = complete.clone().map(accuracy).fold(0.0, f64::max);
    assert_eq!(accuracy(&best(out)), most);
    // Three on the first rung send one on, and a fourth no other.
    assert!((1..=2).contains(&complete.count()));
    for trial in others {
        let values = &trial["values"];
        let lr = values["lr"].as_f64().unwrap();
        let dropout = values["dropout"].as_f64().unwrap();
        assert!((1e-4..=1e-2).contains(&lr) && (0.0..=0.5).contains(&dropout));
        assert_ne!(*values, usual);
        let epochs = if trial["outcome"] == "complete" { 3 } else { 1 };
        assert_eq!(trial["epochs"], epochs, "{trial}");
    }
    for words in [
        "3 classes; 24 photos for training, 6 for validation, 6 for testing",
        "searching augment, dropout, lr; trials are compared after epoch 1, 3",
        "trial 0: the defaults, augment recipe, dropout 0.2, lr 1e-4; to epoch 3 of 3",
        "trial 3: augment ",
        "trial 0, epoch 3/3: train Loss: ",
        "is the best: testing it",
    ] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
}

#[test]
fn train_takes_the_best_configuration_and_gives_the_same_model() {
    let (out, _) = finished();
    let text = fs::read_to_string(out.join("best.toml")).unwrap();
    let best = best(out);
    let said = format!(
        "# Found by flowers {} tune: trial {}, ",
        env!("CARGO_PKG_VERSION"),
        best["trial"]
    );
    assert!(text.starts_with(&said), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let again = trained_with_best(out, &folder.path().join("run"));
    assert!(again == weights(&out.join(best["run"].as_str().unwrap())));
}

#[test]
fn results_are_printed_and_written() {
    let (out, said) = finished();
    let results = results(out);
    let ranked = results["trials"].as_array().unwrap();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(
        lines[0].starts_with("trial  augment  dropout"),
        "{}",
        said.stdout
    );
    for (line, trial) in lines[1..].iter().zip(ranked) {
        let number = line.split_whitespace().next().unwrap();
        assert_eq!(number, trial["trial"].to_string());
        assert_eq!(line.contains("best"), trial["is_best"] == true, "{line}");
        assert_eq!(line.contains("defaults"), trial["is_default"] == true);
        assert_eq!(line.contains("stopped"), trial["outcome"] == "stopped");
    }
    for words in [
        "The best is trial ",
        "of 6 validation photos (95% interval ",
        "On the 6 test photos, which chose nothing: ",
        "config  ",
        "best.toml",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let mut csv = csv::Reader::from_path(out.join("tune.csv")).unwrap();
    let rows: Vec<HashMap<String, String>> = csv.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), ranked.len());
    for (row, trial) in rows.iter().zip(ranked) {
        assert_eq!(row["trial"], trial["trial"].to_string());
        assert_eq!(row["augment"], trial["values"]["augment"].as_str().unwrap());
        assert_eq!(
            row["val_accuracy"].parse().ok(),
            trial["val_accuracy"].as_f64()
        );
    }
    let picture = image::open(out.join("tune.png")).unwrap();
    assert!(picture.width() > picture.height());
    let page = fs::read_to_string(out.join("tune.html")).unwrap();
    let report = format!("{}/report.html", best(out)["run"].as_str().unwrap());
    for words in [
        "<svg",
        &report,
        "val accuracy",
        "augment",
        "Found by flowers",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // Nothing is loaded from elsewhere.
    for outside in ["src=\"http", "url(http", "<script", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_killed_search_goes_on_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let (out, stderr) = (folder.path().join("out"), folder.path().join("stderr"));
    let often = ["--checkpoint-minutes", "0.000001"];
    let arguments = arguments(&out, Some(space()), &often);
    for begun in ["000", "001", "003"] {
        let mut child = start(&arguments, &stderr);
        let run = out.join("trials").join(begun);
        wait_until("a trial", || run.join("last.ckpt").exists());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Stopped, in the next one or when it is over.
    let mut child = start(&arguments, &stderr);
    wait_until("its beginning", || {
        fs::read_to_string(&stderr).unwrap().contains("searching")
    });
    let process = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &process]).status();
    assert!(sent.unwrap().success());
    let said = Said {
        code: child.wait().unwrap().code(),
        stdout: String::new(),
        stderr: fs::read_to_string(&stderr).unwrap(),
    };
    if said.code != Some(0) {
        said.stopped(&["progress saved", "with the same command", " tune "]);
    }
    run(&arguments).done();
    let (whole, _) = finished();
    assert_eq!(lasting(&out), lasting(whole));
    let of_best = |out: &Path| weights(&out.join(best(out)["run"].as_str().unwrap()));
    assert!(of_best(&out) == of_best(whole));
    // Nothing is left to do: nothing is done.
    let before = fs::metadata(out.join("trials/003/last.ckpt")).unwrap();
    run(&arguments).done();
    let after = fs::metadata(out.join("trials/003/last.ckpt")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

#[test]
fn features_are_shared_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("out"), folder.path().join("space.toml"));
    fs::write(&file, "lr = [0.01, 0.02, 0.03, 0.04]\n").unwrap();
    let options = ["--recipe", "fast", "--epochs", "3"];
    run(arguments(&out, Some(&file), &options)).done();
    assert_eq!(results(&out)["rungs"], serde_json::json!([2, 4]));
    assert!(!out.join("features").exists());
    for trial in trials(&out) {
        let run = out.join(trial["run"].as_str().unwrap());
        assert!(!run.join("features").exists(), "{trial}");
        let log = fs::read_to_string(run.join("train.log")).unwrap();
        let computes = log.contains("Features of view 4 of 4");
        assert_eq!(computes, trial["is_default"] == true, "{log}");
    }
    let again = trained_with_best(&out, &folder.path().join("run"));
    assert!(again == weights(&out.join(best(&out)["run"].as_str().unwrap())));
}

#[test]
fn a_failed_trial_is_listed_and_the_search_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("out"), folder.path().join("space.toml"));
    fs::write(&file, "lr = [1e30, 1e-3]\n").unwrap();
    // The space holds two others than the defaults.
    let said = run(arguments(&out, Some(&file), &["--trials", "9"])).done();
    let trials = trials(&out);
    assert_eq!(trials.len(), 3);
    let [failed] = &trials
        .iter()
        .filter(|one| one["outcome"] == "failed")
        .collect::<Vec<_>>()[..]
    else {
        panic!("{trials:?}");
    };
    assert_eq!(failed["values"]["lr"], 1e30);
    let why = failed["failure"].as_str().unwrap();
    assert!(why.starts_with("training diverged"), "{why}");
    let line = format!("trial {} failed: training diverged", failed["trial"]);
    assert!(said.stderr.contains(&line), "{}", said.stderr);
    assert!(said.stdout.contains(why), "{}", said.stdout);
    assert_ne!(best(&out)["trial"], failed["trial"]);
}

#[test]
fn if_all_trials_fail_that_is_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("out"), folder.path().join("space.toml"));
    fs::write(&file, "dropout = [0.1, 0.3]\n").unwrap();
    let options = ["--lr", "1e30", "--trials", "3"];
    let said = run(arguments(&out, Some(&file), &options));
    let line = said.failed(1, &["3 of 3 failed", "training diverged", "--space"]);
    assert!(!line.contains("last good checkpoint"), "{line}");
    assert!(!out.join("best.toml").exists());
}

#[test]
fn time_and_trials_end_a_search_that_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    // All but the trial that is trained in any case is too long.
    let options = arguments(&out, Some(space()), &["--time-budget", "0.001s"]);
    run(&options).done();
    assert_eq!(trials(&out).len(), 1);
    assert_eq!(best(&out)["trial"], 0);
    let said = tune(&out, &["--trials", "2", "--json"]).done();
    assert_eq!(said.json()[0], results(&out));
    assert_eq!(trials(&out).len(), 2);
    tune(&out, &[]).done();
    assert_eq!(lasting(&out), lasting(&finished().0));
}

#[test]
fn other_options_and_other_photos_are_refused() {
    let (folder, out) = copied();
    let before = fs::read(out.join("tune.json")).unwrap();
    let remedy = "choose another --out";
    tune(&out, &["--epochs", "9"]).failed(2, &["--epochs 3, not 9", remedy]);
    tune(&out, &["--reduction", "2"]).failed(2, &["--reduction 3, not 2", remedy]);
    let other = folder.path().join("space.toml");
    fs::write(&other, SPACE.replace("0.5", "0.4")).unwrap();
    let said = run(arguments(&out, Some(&other), &[]));
    said.failed(2, &["another space for dropout", remedy]);

    let set = folder.path().join("set");
    copy(photos(), &set);
    let photo = set.join("rose").join(&names(&set.join("rose"))[0]);
    fs::rename(&photo, photo.with_file_name("renamed.jpg")).unwrap();
    let mut elsewhere = arguments(&out, Some(space()), &[]);
    elsewhere[1] = set.into();
    run(&elsewhere).failed(2, &["another split", "--split", remedy]);
    assert!(fs::read(out.join("tune.json")).unwrap() == before);
}

#[test]
fn what_can_not_be_searched_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("out"), folder.path().join("space.toml"));
    let path = file.to_str().unwrap();
    let refused = |text: &str, options: &[&str], words: &[&str]| {
        fs::write(&file, text).unwrap();
        run(arguments(&out, Some(&file), options)).failed(2, words);
        assert!(!out.exists(), "{text}");
    };
    let meant = [path, "weight_decay", "did you mean weight-decay?"];
    refused("weight_decay = [0.1]", &[], &meant);
    refused("epochs = [3, 4]", &[], &[path, "epochs can't be searched"]);
    refused("lr = [0.1", &[], &[path, "TOML"]);
    refused(
        "lr = { min = 1, max = 0.1 }",
        &[],
        &[path, "lr", "less than"],
    );
    refused("warmup = [99]", &[], &[path, "warmup", "--warmup"]);
    refused("dropout = [0.1, 1.5]", &[], &[path, "--dropout"]);
    refused("lr = [0.1]", &["--lr", "0.2"], &[path, "given as --lr"]);
    refused("lr = [0.1]", &["--recipe", "fats"], &["did you mean fast?"]);
    run(arguments(&out, Some(&folder.path().join("no.toml")), &[])).failed(3, &["no.toml"]);
    let all = [
        "--lr",
        "1",
        "--weight-decay",
        "0",
        "--label-smoothing",
        "0",
        "--dropout",
        "0",
        "--augment",
        "none",
    ];
    run(arguments(&out, None, &all)).failed(2, &["nothing to search"]);
    assert!(!out.exists());
    tune(&out, &["--reduction", "1"]).misused(&["--reduction"]);
    tune(&out, &["--trials", "0"]).misused(&["--trials"]);
    let inside = photos().join("out");
    tune(&inside, &[]).failed(2, &["inside the data set"]);
    tune(trained(), &[]).failed(2, &["something else than a search"]);
    // A run is no trial of a search that does not know it.
    fs::create_dir_all(out.join("trials/000")).unwrap();
    fs::write(out.join("trials/000/thesis.txt"), b"mine").unwrap();
    tune(&out, &[]).failed(2, &["000", "thesis.txt"]);
    assert!(out.join("trials/000/thesis.txt").exists());
}

#[test]
fn the_default_space_leaves_out_what_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let options = ["--trials", "2", "--epochs", "1", "--lr", "0.001"];
    run(arguments(&out, None, &options)).done();
    let trials = trials(&out);
    let names: Vec<&String> = trials[1]["values"].as_object().unwrap().keys().collect();
    // Random layers are not frozen, and the size is given.
    assert_eq!(
        names,
        ["weight-decay", "label-smoothing", "dropout", "augment"]
    );
    // The configuration of a plain run with these options.
    let plain = folder.path().join("plain");
    train(photos(), &plain, &["--epochs", "1", "--lr", "0.001"]).done();
    let config = |run: &Path| fs::read_to_string(run.join("config.toml")).unwrap();
    assert_eq!(config(&out.join("trials/000")), config(&plain));
}

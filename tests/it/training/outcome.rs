//! What a run leaves in its folder, what repeats it, and what its options do.

use std::fs;
use std::path::{Path, PathBuf};

use flowers::bundle::Bundle;
use flowers::data::{Folder, ScanOptions, Split, SplitOptions};
use flowers::metrics::Evaluation;
use flowers::progress::Silent;
use flowers::weights::{Values, safetensors};

use super::{model_bytes, rows, weights};
use crate::support::{
    Said, TINY, copy, flowers, model, names, photos, run, train, train_arguments, trained,
};

#[test]
fn a_run_folder_holds_what_is_promised() {
    let mut found = names(trained());
    found.retain(|name| !name.starts_with("events.out.tfevents."));
    let promised = [
        "config.toml",
        "confusion_matrix.png",
        "history.csv",
        "last.ckpt",
        "metrics.json",
        "model.safetensors",
        "profile.json",
        "report.html",
        "split.json",
        "train.log",
        "training_curves.png",
    ];
    assert_eq!(found, promised);
    let file = |name: &str| fs::read(trained().join(name)).unwrap();
    let metrics = Evaluation::from_json(&file("metrics.json")).unwrap();
    assert_eq!((metrics.n, metrics.labels.len()), (6, 3));
    for name in ["confusion_matrix.png", "training_curves.png"] {
        let plot = image::load_from_memory(&file(name)).unwrap();
        assert!(plot.width() > 200 && plot.height() > 200, "{name}");
    }
    let report = String::from_utf8(file("report.html")).unwrap();
    assert!(report.contains("sunflower"));
    for reference in ["src=\"http", "href=\"http", "url(http"] {
        assert!(!report.contains(reference), "the report needs nothing else");
    }
    let log = String::from_utf8(file("train.log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3 * 4);
    for (epoch, lines) in lines.chunks(3).enumerate() {
        assert_eq!(lines[0], format!("Epoch {}/4 (train)", epoch + 1));
        assert!(lines[1].starts_with("train Loss: ") && lines[1].contains(" Acc: "));
        assert!(lines[2].starts_with("val Loss: ") && lines[2].contains(" Acc: "));
    }
}

#[test]
fn the_history_is_a_row_an_epoch_and_the_model_its_best() {
    let rows = rows(trained());
    let epochs: Vec<usize> = rows.iter().map(|row| row.epoch).collect();
    assert_eq!(epochs, [1, 2, 3, 4]);
    for row in &rows {
        assert_eq!((row.phase.as_str(), row.learning_rate), ("train", 0.003));
        assert!(
            row.train_loss.is_finite() && row.val_loss.is_finite(),
            "{row:?}"
        );
        assert!(row.images_per_second > 0.0 && row.seconds > 0.0, "{row:?}");
        assert!((0.0..=1.0).contains(&row.waiting), "{row:?}");
        for accuracy in [row.train_accuracy * 24.0, row.val_accuracy * 6.0] {
            assert!((accuracy - accuracy.round()).abs() < 1e-9, "{row:?}");
        }
    }
    let best = flowers::metrics::history::best(&rows).unwrap();
    let path = trained().join("model.safetensors");
    let said = run([
        Path::new("eval"),
        &path,
        photos(),
        Path::new("--split=val"),
        Path::new("--json"),
    ]);
    let measured = &said.done().json()[0];
    assert_eq!(measured["accuracy"], best.val_accuracy);
    assert!((measured["loss"].as_f64().unwrap() - best.val_loss).abs() < 1e-6);
}

#[test]
fn the_end_of_a_run_is_told_as_text_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let text = train(photos(), &folder.path().join("a"), &["--epochs", "1"]).done();
    for part in [
        "Training complete in 0m ",
        "Best val Acc: 0.",
        " the bottleneck, which ",
        "precision",
        "report.html",
    ] {
        assert!(text.stdout.contains(part), "{part} in {}", text.stdout);
    }
    for part in ["Epoch 1/1", "train Loss: ", "val Loss: ", "images/s"] {
        assert!(text.stderr.contains(part), "{part} in {}", text.stderr);
    }
    let said = train(
        photos(),
        &folder.path().join("b"),
        &["--epochs", "1", "--json"],
    )
    .done();
    let [summary] = &said.json()[..] else {
        panic!("one line: {}", said.stdout);
    };
    assert_eq!(summary["best_epoch"], 1);
    assert_eq!(summary["evaluation"]["n"], 6);
    assert!(summary["profile"]["run"]["total"].as_f64().unwrap() > 0.0);
    assert!(Path::new(summary["model"].as_str().unwrap()).exists());
}

#[test]
fn a_run_tells_where_its_time_went() {
    let json = fs::read(trained().join("profile.json")).unwrap();
    let profile: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(profile["measured_epochs"], 4);
    assert_eq!(profile["per_epoch"].as_array().unwrap().len(), 4);
    let seconds = |profile: &serde_json::Value, part: &str| profile[part].as_f64().unwrap();
    for part in [
        "forward",
        "backward",
        "optimizer",
        "validation",
        "checkpoints",
    ] {
        assert!(seconds(&profile["run"], part) > 0.0, "{part}");
    }
    for work in ["reading", "decoding", "augmenting"] {
        assert!(seconds(&profile["run"]["workers"], work) > 0.0, "{work}");
    }
    for epoch in profile["per_epoch"].as_array().unwrap() {
        let parts = [
            "waiting",
            "forward",
            "backward",
            "optimizer",
            "validation",
            "checkpoints",
        ];
        let sum: f64 = parts.iter().map(|part| seconds(epoch, part)).sum();
        let total = seconds(epoch, "total");
        assert!(sum > 0.5 * total && sum <= total * 1.0001, "{epoch}");
    }
}

#[test]
fn a_run_can_be_repeated_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let config = trained().join("config.toml");
    let again = out("config");
    let arguments = [
        Path::new("train"),
        photos(),
        Path::new("--out"),
        &again,
        Path::new("--config"),
        &config,
    ];
    run(arguments).done();
    assert!(
        model_bytes(&again) == model_bytes(trained()),
        "by its config.toml"
    );
    assert_eq!(
        fs::read(again.join("config.toml")).unwrap(),
        fs::read(config).unwrap()
    );
    assert_eq!(
        fs::read(again.join("split.json")).unwrap(),
        fs::read(trained().join("split.json")).unwrap()
    );

    let options = ["--epochs", "4", "--lr", "0.003"];
    let with = |name: &str, more: &[&str]| {
        train(photos(), &out(name), &[&options, more].concat()).done();
        weights(&out(name))
    };
    // The model file tells the number of workers, so only its weights are the same.
    assert!(with("workers", &["--workers", "5"]) == weights(trained()));
    assert!(with("seed", &["--seed", "1"]) != weights(trained()));
}

/// `flowers train --weights auto` with what is in a cache, and no way to anywhere else.
fn train_from_cache(cache: &Path, out: &Path, options: &[&str]) -> Said {
    let options = [&["--weights", "auto", "--epochs", "1"][..], options].concat();
    let mut command = flowers();
    command.args(train_arguments(photos(), out, &options));
    command.env("FLOWERS_CACHE", cache);
    command.env("HTTPS_PROXY", "http://127.0.0.1:9");
    Said::of(command.output().unwrap())
}

fn read_text(run: &Path, name: &str) -> String {
    fs::read_to_string(run.join(name)).unwrap()
}

#[test]
fn what_auto_came_to_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, out) = (folder.path().join("cache"), folder.path().join("run"));
    let said = train_from_cache(&cache, &out, &[]).done();
    let warning = "warning: TRAINING FROM SCRATCH";
    assert!(said.stderr.contains(warning), "{}", said.stderr);
    let config = read_text(&out, "config.toml");
    assert!(config.contains("weights = \"none\"\n"), "{config}");
    assert!(!config.contains("sha256"), "{config}");
    assert!(read_text(&out, "train.log").starts_with(warning));
    let said_in_report =
        |run: &Path| read_text(run, "report.html").contains("TRAINING FROM SCRATCH");
    assert!(said_in_report(&out));
    let manifest = Bundle::read(&out.join("model.safetensors"))
        .unwrap()
        .0
        .manifest;
    assert_eq!(manifest.recipe.unwrap().weights(), Some("none"));

    // Resuming knows of it, repeating needs no "auto".
    fs::remove_file(out.join("report.html")).unwrap();
    run(["train".as_ref(), "--resume".as_ref(), out.as_os_str()]).done();
    assert!(said_in_report(&out));
    let again = folder.path().join("again");
    let config = out.join("config.toml");
    let arguments = ["train".as_ref(), photos(), "--out".as_ref(), &again];
    let arguments = arguments
        .into_iter()
        .chain(["--config".as_ref(), config.as_path()]);
    run(arguments).done();
    assert!(model_bytes(&again) == model_bytes(&out));
}

#[test]
fn a_file_of_weights_is_known_by_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, out) = (
        folder.path().join("start.safetensors"),
        folder.path().join("run"),
    );
    fs::copy(model(), &weights).unwrap();
    let options = ["--epochs", "1", "--weights", weights.to_str().unwrap()];
    train(photos(), &out, &options).done();
    let (_, sha256) = Bundle::read(&weights).unwrap();
    let line = format!("weights-sha256 = \"{sha256}\"\n");
    assert!(read_text(&out, "config.toml").contains(&line));

    let config = out.join("config.toml");
    let repeat = |name: &str, more: &[&str]| {
        let again = folder.path().join(name);
        let arguments = ["train".as_ref(), photos(), "--out".as_ref(), &again];
        let config = ["--config".as_ref(), config.as_path()];
        let more = more.iter().map(Path::new);
        run(arguments.into_iter().chain(config).chain(more))
    };
    repeat("same", &[]).done();
    fs::copy(trained().join("model.safetensors"), &weights).unwrap();
    let words = ["start.safetensors is not the file", &sha256, "--weights"];
    repeat("other", &[]).failed(3, &words);
    repeat("chosen", &options[2..]).done();
}

#[test]
fn a_split_of_another_run_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    copy(photos(), &set);
    fs::copy(
        photos().join("rose/rose-0001.jpg"),
        set.join("rose/copy.jpg"),
    )
    .unwrap();
    let split = trained().join("split.json");
    let out = folder.path().join("run");
    let options = [
        "--epochs",
        "1",
        "--seed",
        "9",
        "--split",
        split.to_str().unwrap(),
    ];
    train(&set, &out, &options).done();
    assert_eq!(
        fs::read(out.join("split.json")).unwrap(),
        fs::read(split).unwrap()
    );
}

#[test]
fn what_comes_before_the_frozen_layer_stays() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let path = trained().join("model.safetensors");
    let weights_option = ["--weights", path.to_str().unwrap(), "--epochs", "1"];
    let freeze = ["--freeze-until", "features.14", "--lr", "0.01"];
    train(photos(), &out, &[weights_option, freeze].concat()).done();
    let (before, after) = (weights(trained()), weights(&out));
    let place = |name: &str| name.split('.').nth(1).and_then(|n| n.parse::<u32>().ok());
    for (name, tensor) in &before {
        let frozen = name.starts_with("features.") && place(name).unwrap() < 14;
        assert_eq!(*tensor == after[name], frozen, "{name}");
    }
}

#[test]
fn two_phases_train_the_head_then_the_upper_layers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = ["--recipe", "two-phase", "--epochs", "2", "--lr", "0.001"];
    train(photos(), &out, &options).done();
    let phases: Vec<_> = rows(&out)
        .into_iter()
        .map(|row| (row.phase, row.learning_rate))
        .collect();
    let phase = |name: &str, rate| (name.to_string(), rate);
    let expected = [
        ("head", 0.01),
        ("head", 0.01),
        ("fine-tune", 0.001),
        ("fine-tune", 0.001),
    ];
    assert_eq!(phases, expected.map(|(name, rate)| phase(name, rate)));
    let weights = weights(&out);
    assert_eq!(weights["classifier.1.0.weight"].shape, [128, 1280]);
    assert_eq!(weights["classifier.1.3.weight"].shape, [3, 128]);
    let (checkpoint, _) = safetensors::read(&out.join("last.ckpt")).unwrap();
    let moved: Vec<&String> = checkpoint
        .keys()
        .filter(|name| name.starts_with("optimizer/features."))
        .collect();
    let upper = |name: &&&String| (14..=18).any(|n| name.contains(&format!("/features.{n}.")));
    assert!(moved.len() > 20 && moved.iter().filter(upper).count() == moved.len());
}

#[test]
fn early_stop_ends_a_run_that_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let still = ["--freeze-until", "classifier.1", "--lr", "1e-30"];
    let patience = ["--epochs", "9", "--early-stop", "2"];
    train(photos(), &out, &[still, patience].concat()).done();
    assert_eq!(
        rows(&out).len(),
        3,
        "the first epoch, and two that are no better"
    );
}

/// The loss of a model that stays as it is, and takes everything for a rose: its logits are 2, 0
/// and 0 whatever it is shown.
fn standing_loss(data: &Path, folder: &Path, options: &[&str]) -> f64 {
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    let weight = bundle.weights.get_mut("classifier.1.weight").unwrap();
    weight.values = Values::F32(vec![0.0; weight.len()]);
    let bias = bundle.weights.get_mut("classifier.1.bias").unwrap();
    bias.values = Values::F32(vec![2.0, 0.0, 0.0]);
    let path = folder.join("sure.safetensors");
    bundle.write(&path).unwrap();
    let out = tempfile::tempdir_in(folder).unwrap();
    let start = ["--weights", path.to_str().unwrap(), "--epochs", "1"];
    let still = ["--lr", "1e-30", "--freeze-until", "classifier.1"];
    let whole = match options.contains(&"--batch-size") {
        true => &[][..],
        false => &["--batch-size", "64"],
    };
    train(
        data,
        out.path(),
        &[&start[..], &still, whole, options].concat(),
    )
    .done();
    rows(out.path())[0].train_loss
}

/// Cross-entropies of that model for a rose and for anything else.
fn losses() -> [f64; 2] {
    let log_sum = (2f64.exp() + 2.0).ln();
    [log_sum - 2.0, log_sum]
}

#[track_caller]
fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
}

#[test]
fn smoothed_labels_are_shared_out_over_all_classes() {
    let folder = tempfile::tempdir().unwrap();
    let [rose, other] = losses();
    let mean = (rose + 2.0 * other) / 3.0;
    // Eight photos of each class are trained on.
    let plain = standing_loss(photos(), folder.path(), &[]);
    assert_near(plain, mean);
    let set = roses_left(&folder.path().join("set"), 6);
    let [roses, others] = trained_on(&set);
    let plain = (roses * rose + others * other) / (roses + others);
    let smoothed = standing_loss(&set, folder.path(), &["--label-smoothing", "0.3"]);
    assert_near(smoothed, 0.7 * plain + 0.3 * mean);
}

#[test]
fn class_weights_make_up_for_the_number_of_photos() {
    let folder = tempfile::tempdir().unwrap();
    let set = roses_left(&folder.path().join("set"), 4);
    let ([rose, other], [roses, others]) = (losses(), trained_on(&set));
    let plain = standing_loss(&set, folder.path(), &[]);
    assert_near(plain, (roses * rose + others * other) / (roses + others));
    let weighted = standing_loss(&set, folder.path(), &["--class-weights"]);
    assert_near(weighted, (rose + 2.0 * other) / 3.0);
}

#[test]
fn every_photo_counts_alike_in_the_loss_of_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let [rose, other] = losses();
    let mean = |roses: f64, others: f64| (roses * rose + others * other) / (roses + others);
    let found = |batch| standing_loss(photos(), folder.path(), &["--batch-size", batch]);
    assert_near(found("14"), mean(8.0, 16.0));
    assert_near(found("12"), mean(8.0, 16.0));
    // A batch of one photo is left out.
    let found = found("23");
    let nearest = [mean(7.0, 16.0), mean(8.0, 15.0)].map(|loss| (loss - found).abs());
    assert!(nearest[0].min(nearest[1]) < 1e-4, "{found}");
}

#[test]
fn every_epoch_augments_anew() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let still = ["--freeze-until", "classifier.1", "--lr", "1e-30"];
    let whole = ["--dropout", "0", "--batch-size", "64", "--epochs", "2"];
    train(photos(), &out, &[&still[..], &whole].concat()).done();
    let rows = rows(&out);
    assert_near(rows[0].val_loss, rows[1].val_loss);
    let apart = (rows[0].train_loss - rows[1].train_loss).abs();
    assert!(apart > 1e-3, "the same pictures in both epochs: {apart}");
}

/// A copy of the photos with only some of the roses.
fn roses_left(set: &Path, count: usize) -> PathBuf {
    copy(photos(), set);
    for number in count + 1..=12 {
        fs::remove_file(set.join(format!("rose/rose-{number:04}.jpg"))).unwrap();
    }
    set.to_path_buf()
}

/// Numbers of roses and of others that a usual split trains on.
fn trained_on(set: &Path) -> [f64; 2] {
    let folder = Folder::scan(&set.into(), &ScanOptions::default(), &Silent).unwrap();
    let split = Split::make(&folder, &SplitOptions::default()).unwrap();
    let roses = split.counts(&folder, 0)[0];
    [roses as f64, (split.train.len() - roses) as f64]
}

#[test]
fn the_command_line_wins_over_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    fs::write(&config, "epochs = 7\nlr = 0.5\nbatch-size = 12\n").unwrap();
    let out = folder.path().join("run");
    let options = ["--config", config.to_str().unwrap(), "--epochs", "1"];
    train(photos(), &out, &options).done();
    let resolved = fs::read_to_string(out.join("config.toml")).unwrap();
    for line in [
        "epochs = 1\n",
        "lr = 0.5\n",
        &format!("batch-size = {}\n", TINY[7]),
    ] {
        assert!(resolved.contains(line), "{line} in {resolved}");
    }
}

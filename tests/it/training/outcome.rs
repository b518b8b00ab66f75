//! What a run leaves in its folder, what repeats it, and what its options do.

use std::fs;
use std::path::Path;

use flowers::metrics::Evaluation;
use flowers::weights::safetensors;

use super::{model_bytes, rows, weights};
use crate::support::{TINY, copy, model, names, photos, run, train, trained};

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
    let path = model();
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
    assert!(Path::new(summary["model"].as_str().unwrap()).exists());
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
    let path = model();
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

#[test]
fn label_smoothing_bounds_the_loss_from_below() {
    let folder = tempfile::tempdir().unwrap();
    let least_loss = |name: &str, smoothing: &str| {
        let out = folder.path().join(name);
        let options = ["--arch", "resnet18", "--epochs", "3", "--lr", "0.0003"];
        let smoothing = ["--label-smoothing", smoothing];
        train(photos(), &out, &[&options[..], &smoothing].concat()).done();
        let losses = rows(&out).into_iter().map(|row| row.train_loss);
        losses.fold(f64::INFINITY, f64::min)
    };
    // The entropy of the smoothed label (0.4, 0.3, 0.3): no prediction can do better.
    let bound = -(0.4 * 0.4f64.ln() + 0.6 * 0.3f64.ln());
    let (smoothed, plain) = (least_loss("smoothed", "0.9"), least_loss("plain", "0"));
    assert!(
        smoothed > bound - 1e-6 && plain < bound,
        "{smoothed} {plain}"
    );
}

#[test]
fn class_weights_matter_where_classes_differ_in_size() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    copy(photos(), &set);
    let pair = |set: &Path, name: &str| {
        let out = |kind: &str| folder.path().join(format!("{name}-{kind}"));
        let options = ["--epochs", "1", "--lr", "0.003"];
        train(set, &out("plain"), &options).done();
        train(
            set,
            &out("weighted"),
            &[&options[..], &["--class-weights"]].concat(),
        )
        .done();
        (weights(&out("plain")), weights(&out("weighted")))
    };
    let (plain, weighted) = pair(&set, "balanced");
    assert!(plain == weighted, "equal classes have equal weights");
    for number in 5..=12 {
        fs::remove_file(set.join(format!("rose/rose-{number:04}.jpg"))).unwrap();
    }
    let (plain, weighted) = pair(&set, "unbalanced");
    assert!(plain != weighted);
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

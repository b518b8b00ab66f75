//! The recipe `fast`, and runs within a time budget.

use std::path::Path;

use flowers::bundle::Bundle;

use super::rows;
use crate::support::{names, photos, run, train};

/// The phase of each epoch.
fn phases(run: &Path) -> Vec<String> {
    rows(run).into_iter().map(|row| row.phase).collect()
}

#[test]
fn the_head_is_solved_for_and_then_the_last_stage_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = train(photos(), &out, &["--recipe", "fast", "--epochs", "2"]).done();
    assert!(
        said.stderr.contains("keeps frozen are random"),
        "{}",
        said.stderr
    );
    assert_eq!(phases(&out), ["head", "fine-tune", "fine-tune"]);
    for line in [
        "Features of view 4 of 4",
        "Epoch 1/3 (head)",
        "Epoch 3/3 (fine-tune)",
    ] {
        assert!(said.stderr.contains(line), "{}", said.stderr);
    }
    assert!(!names(&out).contains(&"features".to_owned()));
    let rows = rows(&out);
    // Of the cycle only the end.
    let candidates: Vec<bool> = rows.iter().map(|row| row.candidate).collect();
    assert_eq!(candidates, [true, false, true]);
    // A linear head on more features than photos fits them all.
    assert_eq!(rows[0].train_accuracy, 1.0);
    assert!(rows.iter().all(|row| row.val_loss.is_finite()));
}

#[test]
fn a_model_is_scaled_once_by_a_temperature_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = train(photos(), &out, &["--recipe", "fast", "--epochs", "1"]).done();
    let path = out.join("model.safetensors");
    let (model, _) = Bundle::read(&path).unwrap();
    let temperature = model.manifest.metrics.unwrap().temperature().unwrap();
    assert_ne!(temperature, 1.0);
    let line = format!("Logits divided by {temperature:.3},");
    assert!(said.stderr.contains(&line), "{}", said.stderr);
    let before = std::fs::read(&path).unwrap();
    run([Path::new("train"), Path::new("--resume"), &out]).done();
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn features_stay_within_the_size_of_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = ["--recipe", "fast", "--epochs", "1", "--cache-size", "1KB"];
    let said = train(photos(), &out, &options).done();
    assert!(
        said.stderr.contains("Features of view 1 of 1"),
        "{}",
        said.stderr
    );
    assert_eq!(phases(&out), ["head", "fine-tune"]);
}

#[test]
fn a_time_budget_allows_as_many_epochs_as_fit() {
    let folder = tempfile::tempdir().unwrap();
    for recipe in ["classic", "fast"] {
        let out = folder.path().join(recipe);
        let options = [
            "--recipe",
            recipe,
            "--epochs",
            "100000",
            "--time-budget",
            "3s",
        ];
        let said = train(photos(), &out, &options).done();
        assert!(
            said.stderr.contains("The time budget allows"),
            "{}",
            said.stderr
        );
        let epochs = rows(&out).len();
        assert!((1..100_000).contains(&epochs), "{recipe}: {epochs}");
    }
    let refused = ["--time-budget", "5d"];
    let said = train(photos(), &folder.path().join("no"), &refused);
    assert_eq!(said.code, Some(2));
    assert!(
        said.stderr.contains("e.g. 90s, 5m or 2h"),
        "{}",
        said.stderr
    );
}

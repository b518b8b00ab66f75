//! The recipe `fast`, and runs within a time budget.

use super::rows;
use crate::support::{names, photos, train};

/// The phase of each epoch.
fn phases(run: &std::path::Path) -> Vec<String> {
    rows(run).into_iter().map(|row| row.phase).collect()
}

#[test]
fn the_head_is_solved_for_with_each_view_and_then_the_last_stage_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = train(photos(), &out, &["--recipe", "fast", "--epochs", "2"]).done();
    assert!(
        said.stderr.contains("keeps frozen are random"),
        "{}",
        said.stderr
    );
    let mut expected = vec!["head"; 4];
    expected.extend(["fine-tune"; 2]);
    assert_eq!(phases(&out), expected);
    assert!(!names(&out).contains(&"features".to_owned()));
    let rows = rows(&out);
    // A linear head on more features than photos fits them all.
    assert_eq!(rows[0].train_accuracy, 1.0);
    assert!(rows.iter().all(|row| row.val_loss.is_finite()));
}

#[test]
fn features_stay_within_the_size_of_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = ["--recipe", "fast", "--epochs", "1", "--cache-size", "1KB"];
    train(photos(), &out, &options).done();
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

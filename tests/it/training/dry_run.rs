//! Dry runs: what they tell, and that they leave nothing behind.

use std::fs;

use crate::support::{names, photos, run, train, train_arguments, trained};

/// The arguments of a dry run without `--out`.
fn arguments(options: &[&str]) -> Vec<std::ffi::OsString> {
    let mut arguments = train_arguments(photos(), "".as_ref(), options);
    arguments.drain(2..4);
    arguments.push("--dry-run".into());
    arguments
}

#[test]
fn a_dry_run_tells_what_a_run_will_take() {
    let two_phase = ["--recipe", "two-phase", "--epochs", "7"];
    let said = run([arguments(&two_phase), vec!["--json".into()]].concat()).done();
    let [forecast] = &said.json()[..] else {
        panic!("one line: {}", said.stdout);
    };
    let parts = ["train", "val", "test"].map(|part| forecast[part].as_u64().unwrap());
    assert_eq!(parts, [24, 6, 6]);
    let phases = forecast["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["head", "fine-tune"]);
    let mut sum = forecast["test_seconds"].as_f64().unwrap();
    for phase in phases {
        let positive = [
            "images_per_second",
            "train_seconds",
            "validation_seconds",
            "seconds",
        ];
        for field in positive {
            assert!(phase[field].as_f64().unwrap() > 0.0, "{field}: {phase}");
        }
        let (rate, seconds) = (&phase["images_per_second"], &phase["train_seconds"]);
        let photos = rate.as_f64().unwrap() * seconds.as_f64().unwrap();
        assert!((photos - 24.0).abs() < 1e-6, "{phase}");
        assert_eq!(phase["epochs"], 7);
        assert!(phase["measured_steps"].as_u64().unwrap() > 0);
        sum += phase["seconds"].as_f64().unwrap();
    }
    let seconds = forecast["seconds"].as_f64().unwrap();
    assert!((sum - seconds).abs() < 1e-6, "{sum} {seconds}");
    // 1280 x 128 and 128 x 3 weights with their biases.
    assert_eq!(
        phases[0]["trained_parameters"],
        1280 * 128 + 128 + 128 * 3 + 3
    );
    assert!(phases[1]["trained_parameters"].as_u64() > phases[0]["trained_parameters"].as_u64());
    assert!(phases[1]["parameters"].as_u64() > phases[1]["trained_parameters"].as_u64());
    assert!(forecast["disk_bytes"].as_u64().unwrap() > 9_000_000);
    assert!(forecast["peak_disk_bytes"].as_u64() > forecast["disk_bytes"].as_u64());
    if cfg!(target_os = "linux") {
        assert!(forecast["peak_memory_bytes"].as_u64().unwrap() > 50_000_000);
    }
    assert!(forecast["profile"]["run"]["backward"].as_f64().unwrap() > 0.0);
    assert!(!forecast["unknown"].as_array().unwrap().is_empty());
}

#[test]
fn its_sizes_are_those_of_the_run() {
    let options = ["--epochs", "4", "--lr", "0.003", "--json"];
    let said = run(arguments(&options)).done();
    let size = |name: &str| fs::metadata(trained().join(name)).unwrap().len() as f64;
    let found = size("model.safetensors") + size("last.ckpt");
    let told = said.json()[0]["disk_bytes"].as_f64().unwrap();
    // The files hold names and descriptions too.
    assert!((0.9..=1.0).contains(&(told / found)), "{told} {found}");
}

#[test]
fn a_dry_run_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = train(photos(), &out, &["--epochs", "2", "--dry-run"]).done();
    for part in ["images/s", "memory", "disk", "2 epochs", "not known"] {
        assert!(said.stdout.contains(part), "{part} in {}", said.stdout);
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_dry_run_fails_where_the_run_would() {
    let wrong = |options: &[&str]| run(arguments(options));
    wrong(&["--lr", "-1"]).failed(2, &["--lr"]);
    wrong(&["--recipe", "tow-phase"]).failed(2, &["two-phase"]);
    wrong(&["--weights", "missing.pth"]).failed(3, &["missing.pth"]);
    train(photos(), trained(), &["--dry-run"]).failed(2, &["already contains files"]);
    let inside = photos().join("run");
    train(photos(), &inside, &["--dry-run"]).failed(2, &["inside the data set"]);
    assert!(!inside.exists());
    let resume = [
        "train",
        "--dry-run",
        "--resume",
        trained().to_str().unwrap(),
    ];
    run(resume).misused(&["--resume"]);
}

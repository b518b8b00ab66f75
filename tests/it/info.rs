//! `flowers info`: architectures, recipes, and model files.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::support::{model, run, trained};

#[test]
fn the_overview_lists_architectures_and_recipes() {
    let said = run(["info"]).done();
    let rows = [
        "resnet18",
        "resnet34",
        "resnet50",
        "mobilenet_v2",
        "efficientnet_lite0",
    ];
    for name in rows {
        let row = said.stdout.lines().find(|line| line.starts_with(name));
        assert!(
            row.is_some_and(|row| row.contains(" M ")),
            "{name} in {}",
            said.stdout
        );
    }
    for name in ["recipe classic: ", "recipe two-phase: "] {
        assert!(said.stdout.contains(name), "{}", said.stdout);
    }
    let overview = &run(["info", "--json"]).done().json()[0];
    let architectures = overview["architectures"].as_array().unwrap();
    let texts = |key: &str| -> Vec<&str> {
        let texts = architectures.iter().map(|entry| entry[key].as_str());
        texts.map(Option::unwrap).collect()
    };
    for name in rows {
        assert!(texts("name").contains(&name), "{name}");
    }
    let mut families = texts("family");
    families.dedup();
    for family in families {
        let heading = format!("\n-- {family} (");
        assert_eq!(said.stdout.matches(&heading).count(), 1, "{family}");
    }
    assert_eq!(architectures[0]["imagenet_top1"], 69.758);
    assert_eq!(architectures[0]["licence"], "BSD-3-Clause");
    let table = said
        .stdout
        .lines()
        .take_while(|line| !line.starts_with("top-1"));
    for line in table {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert_eq!(overview["recipes"][1]["name"], "two-phase");
}

/// Totals of torchvision's table: 11,689,512 parameters, 1.814 G multiply-accumulates.
#[test]
fn an_architecture_is_described_layer_by_layer() {
    let text = run(["info", "resnet18"]).done().stdout;
    let total = text.lines().find(|line| line.starts_with("total")).unwrap();
    let total: Vec<&str> = total.split_whitespace().collect();
    assert_eq!(total, ["total", "11,689,512", "1,814,073,344"]);
    let row = |name: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().collect()
    };
    assert_eq!(
        row("conv1 "),
        ["conv1", "Conv2d", "64x112x112", "9,408", "118,013,952"]
    );
    assert_eq!(row("fc "), ["fc", "Linear", "1000", "513,000", "512,000"]);
    assert!(text.contains("layers for --freeze-until: conv1, bn1, layer1.0"));

    let described = &run(["info", "resnet18", "--classes", "3", "--json"])
        .done()
        .json()[0];
    assert_eq!(described["parameters"], 11_689_512 - 513_000 + 3 * 513);
    for total in ["parameters", "macs"] {
        let layers = described["layers"].as_array().unwrap();
        let sum: u64 = layers
            .iter()
            .map(|layer| layer[total].as_u64().unwrap())
            .sum();
        assert_eq!(described[total], sum, "{total}");
    }
    let smaller = &run(["info", "resnet18", "--image-size", "112", "--json"])
        .done()
        .json()[0];
    let macs = smaller["macs"].as_u64().unwrap();
    assert!(macs < 1_814_073_344 / 3, "{macs}");
}

#[test]
fn a_picture_size_that_does_not_fit_is_named_with_the_remedy() {
    for (name, size, words) in [
        (
            "vgg16",
            "96",
            "avgpool: 7 x 7 equal windows do not fit a map of [512, 3, 3]",
        ),
        ("inception_v3", "32", "use a larger image size"),
    ] {
        run(["info", name, "--image-size", size]).failed(2, &[words, "image size"]);
    }
}

#[test]
fn a_model_file_is_described() {
    let path = trained().join("model.safetensors");
    let text = run([Path::new("info"), &path]).done().stdout;
    let sha256: String = Sha256::digest(std::fs::read(&path).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let metrics = std::fs::read(trained().join("metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(&metrics).unwrap();
    let number = |value: &serde_json::Value| format!("{:.4}", value.as_f64().unwrap());
    let interval = &metrics["accuracy_interval"];
    let tested = format!(
        "test accuracy {} (95% interval {} to {}, 6 photos)",
        number(&metrics["accuracy"]),
        number(&interval[0]),
        number(&interval[1])
    );
    assert!(
        text.find("test accuracy") < text.find("val accuracy"),
        "{text}"
    );
    for line in [
        &format!("sha256        {sha256}"),
        "architecture  mobilenet_v2",
        "classifier    3 classes",
        "labels        rose, sunflower, tulip",
        "input         shorter side resized to 37, 32x32 centre crop",
        &tested,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let described = &run([Path::new("info"), &path, Path::new("--json")])
        .done()
        .json()[0];
    assert_eq!(described["sha256"], sha256);
    assert_eq!(described["manifest"]["schema"], 1);
    assert_eq!(described["manifest"]["recipe"]["lr"], 0.003);
    let kept = &described["manifest"]["metrics"];
    assert_eq!(kept["test_accuracy"], metrics["accuracy"]);
    assert_eq!(kept["test_photos"], 6);
}

#[test]
fn a_model_that_was_never_tested_says_so() {
    let path = model();
    let text = run([Path::new("info"), &path]).done().stdout;
    assert!(text.contains("test accuracy not measured"), "{text}");
}

#[test]
fn an_unknown_subject_is_named() {
    let words = ["no model file or architecture \"petunia\"", "resnet18"];
    run(["info", "petunia"]).failed(2, &words);
}

#[test]
fn backends_say_what_this_machine_has() {
    let found = &run(["info", "--backends", "--json"]).done().json()[0];
    let backends = found.as_array().unwrap();
    let names: Vec<&str> = backends.iter().filter_map(|b| b["name"].as_str()).collect();
    assert_eq!(names, ["onednn", "torchscript", "onnx"]);
    let has_onednn = cfg!(all(target_arch = "x86_64", target_os = "linux"));
    for backend in &backends[usize::from(!has_onednn)..] {
        assert_eq!(backend["usable"], true, "{backend}");
        let status = backend["status"].as_str().unwrap();
        assert!(status.contains("devices: cpu"), "{status}");
    }
    let table = run(["info", "--backends"]).done().stdout;
    assert!(
        table.contains("torchscript") && table.contains("kernels"),
        "{table}"
    );
    assert_eq!(run(["info", "resnet18", "--backends"]).code, Some(2));
}

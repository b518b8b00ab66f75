//! The registry of architectures against torchvision's: golden values by `tests/golden/models.py`.

use std::collections::BTreeMap;

use flowers::error::exit_code;
use flowers::graph::Graph;
use flowers::models::pretrained::Publisher;
use flowers::models::{self, ARCHITECTURES, Architecture};
use flowers::training::Settings;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn golden() -> BTreeMap<String, Value> {
    serde_json::from_str(include_str!("../golden/models/architectures.json")).unwrap()
}

fn imagenet(architecture: &Architecture) -> Graph {
    architecture.graph(&architecture.imagenet()).unwrap()
}

/// Sorted lines `NAME SHAPE`.
fn listed(graph: &Graph) -> Vec<String> {
    let mut lines: Vec<String> = graph
        .parameters()
        .map(|parameter| {
            let shape: Vec<String> = parameter.shape.iter().map(usize::to_string).collect();
            format!("{} {}", parameter.name, shape.join("x"))
        })
        .collect();
    lines.sort();
    lines
}

fn digest(lines: &[String]) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn names_and_shapes_of_all_parameters_are_the_published_ones() {
    let golden = golden();
    for architecture in ARCHITECTURES {
        let (name, graph) = (architecture.name, imagenet(architecture));
        let expected = &golden[name];
        assert_eq!(graph.parameter_count(), expected["parameters"], "{name}");
        let listed = listed(&graph);
        assert_eq!(digest(&listed), expected["state"], "{name}: {listed:#?}");
    }
}

#[test]
fn costs_accuracies_files_and_preprocessing_are_those_that_torchvision_states() {
    for (name, expected) in golden() {
        let Some(macs) = expected["giga_macs"].as_f64() else {
            continue;
        };
        let architecture = models::find(&name).unwrap();
        let found = imagenet(architecture).macs() as f64 / 1e9;
        assert!((found - macs).abs() < 1e-3, "{name}: {found} {macs}");
        assert_eq!(expected["accuracy"], architecture.accuracy, "{name}");
        let source = &architecture.source;
        let Publisher::Url(url) = source.publisher else {
            panic!("{name} is downloaded");
        };
        assert_eq!(expected["url"], url, "{name}");
        assert!(url.contains(&source.sha256[..8]), "{name}");

        let size = architecture.image_size;
        let prepared = (architecture.preprocessing)(size as u32);
        let prepared = serde_json::to_value(prepared).unwrap();
        for key in ["resize", "crop", "interpolation"] {
            assert_eq!(prepared[key], expected[key], "{name}: {key}");
        }
        for key in ["mean", "std"] {
            let numbers =
                |value: &Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };
            assert_eq!(numbers(&prepared[key]), numbers(&expected[key]), "{name}");
        }
    }
}

#[test]
fn names_of_timm_are_translated() {
    let golden = golden();
    let name = "efficientnet_lite3";
    let architecture = models::find(name).unwrap();
    let theirs: Vec<String> = serde_json::from_value(golden[name]["timm"].clone()).unwrap();
    let mut translated: Vec<String> = theirs
        .iter()
        .map(|line| {
            let (name, shape) = line.split_once(' ').unwrap();
            let here = (architecture.renamed)(name);
            format!("{} {shape}", here.unwrap_or_else(|| panic!("{name}")))
        })
        .collect();
    translated.sort();
    assert_eq!(translated, listed(&imagenet(architecture)));
}

#[test]
fn the_readme_names_every_architecture() {
    let readme = include_str!("../../README.md");
    for architecture in ARCHITECTURES {
        // "vgg11, each with _bn too"
        let name = architecture.name.trim_end_matches("_bn");
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn a_classifier_that_cannot_be_solved_for_is_refused() {
    let settings = |recipe: &str| Settings {
        arch: Some("squeezenet1_1".into()),
        recipe: Some(recipe.into()),
        ..Settings::default()
    };
    let error = settings("fast").resolve().unwrap_err();
    assert_eq!(exit_code(&error), 2);
    let message = error.to_string();
    assert!(message.contains("--recipe two-phase"), "{message}");
    settings("two-phase").resolve().unwrap();
}

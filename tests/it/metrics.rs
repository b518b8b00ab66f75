//! Metrics equal scikit-learn's on stored logits; gates and their JUnit report.

use std::path::Path;

use flowers::error::exit_code;
use flowers::labels::Labels;
use flowers::metrics::junit::junit;
use flowers::metrics::{Evaluation, Gates, Predictions};
use proptest::prelude::*;
use serde_json::Value;

/// Every metric is a ratio or a mean of logarithms in `f64`; only the order of sums differs.
const TOLERANCE: f64 = 1e-6;

const CASES: [&str; 6] = [
    "ten_flowers",
    "never_predicted_and_no_support",
    "perfect",
    "two_classes",
    "surely_wrong",
    "decimals_on_the_half",
];

fn golden(case: &str) -> (Evaluation, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics");
    let json = std::fs::read(folder.join(format!("{case}.json"))).unwrap();
    let golden: Value = serde_json::from_slice(&json).unwrap();
    let names: Vec<String> =
        serde_json::from_value(golden["evaluation"]["labels"].clone()).unwrap();
    let truth: Vec<usize> = serde_json::from_value(golden["truth"].clone()).unwrap();
    let logits: Vec<Vec<f32>> = serde_json::from_value(golden["logits"].clone()).unwrap();
    let labels = Labels::new(names).unwrap();
    let predictions = Predictions::from_logits(labels, &truth, &logits.concat()).unwrap();
    (Evaluation::of(&predictions).unwrap(), golden)
}

/// The same JSON, numbers within [`TOLERANCE`], the keys in the same order.
fn assert_close(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (found - expected).abs() <= TOLERANCE,
                "{at}: {found}, not {expected}"
            );
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{at}");
            for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_close(found, expected, &format!("{at}[{place}]"));
            }
        }
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{at}");
            for (key, found) in found {
                assert_close(found, &expected[key], &format!("{at}.{key}"));
            }
        }
        _ => assert_eq!(found, expected, "{at}"),
    }
}

#[test]
fn every_metric_equals_scikit_learns() {
    for case in CASES {
        let (evaluation, golden) = golden(case);
        let mut json = serde_json::to_value(&evaluation).unwrap();
        // Not a matter of predictions.
        json.as_object_mut().unwrap().shift_remove("trained_on");
        assert_close(&json, &golden["evaluation"], case);
    }
}

#[test]
fn the_table_is_scikit_learns_letter_by_letter() {
    for case in CASES {
        let (evaluation, golden) = golden(case);
        for (key, digits) in [("report", 2), ("report4", 4)] {
            let table = evaluation.classification_report(digits);
            assert_eq!(table, golden[key].as_str().unwrap(), "{case}");
        }
    }
}

#[test]
fn wide_names_are_aligned_on_a_terminal() {
    let labels = Labels::new(["向日葵", "rose"]).unwrap();
    let predictions = Predictions::from_logits(labels, &[0, 1], &[1.0, 0.0, 0.0, 1.0]).unwrap();
    let table = Evaluation::of(&predictions)
        .unwrap()
        .classification_report(2);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[2],
        "        rose       1.00      1.00      1.00         1"
    );
    assert_eq!(
        lines[3],
        "      向日葵       1.00      1.00      1.00         1"
    );
}

#[test]
fn a_name_with_a_newline_stays_on_its_line() {
    let labels = Labels::new(["a\nb", "c"]).unwrap();
    let predictions = Predictions::from_logits(labels, &[0], &[1.0, 0.0]).unwrap();
    let table = Evaluation::of(&predictions)
        .unwrap()
        .classification_report(2);
    assert!(table.contains("a\\nb "), "{table}");
    assert_eq!(table.lines().count(), 8);
}

#[test]
fn a_value_on_the_threshold_passes() {
    let (evaluation, _) = golden("ten_flowers");
    let gates = |min_accuracy| Gates {
        min_accuracy: Some(min_accuracy),
        ..Gates::default()
    };
    let judged = gates(evaluation.accuracy).judge(&evaluation).unwrap();
    assert_eq!(judged.len(), 1);
    assert!(judged[0].passed);
    let judged = gates(evaluation.accuracy + 1e-6)
        .judge(&evaluation)
        .unwrap();
    assert_eq!((judged[0].name, judged[0].passed), ("accuracy", false));
}

#[test]
fn a_regression_is_measured_from_the_baseline() {
    let (mut evaluation, _) = golden("ten_flowers");
    let mut baseline = evaluation.clone();
    // In binary 0.52 - 0.05 is above 0.47.
    (baseline.accuracy, baseline.macro_f1) = (0.52, 0.95);
    (evaluation.accuracy, evaluation.macro_f1) = (0.47, 0.89);
    let gates = Gates {
        baseline: Some(baseline),
        max_regression: 0.05,
        ..Gates::default()
    };
    let judged = gates.judge(&evaluation).unwrap();
    let passed: Vec<_> = judged.iter().map(|gate| (gate.name, gate.passed)).collect();
    assert_eq!(
        passed,
        [
            ("accuracy_regression", true),
            ("macro_f1_regression", false)
        ]
    );
    assert!((judged[1].required - 0.9).abs() < 1e-12);
}

#[test]
fn gates_that_make_no_sense_are_refused() {
    let (evaluation, _) = golden("ten_flowers");
    for threshold in [90.0, -0.1, f64::NAN] {
        let gates = Gates {
            min_macro_f1: Some(threshold),
            ..Gates::default()
        };
        assert_eq!(exit_code(&gates.judge(&evaluation).unwrap_err()), 2);
    }
    let gates = Gates {
        baseline: Some(golden("perfect").0),
        ..Gates::default()
    };
    let error = gates.check(&evaluation.labels).unwrap_err();
    assert_eq!(exit_code(&error), 3);
    assert!(
        error
            .to_string()
            .contains("only in the model: dandelion, iris"),
        "{error}"
    );
}

#[test]
fn junit_counts_the_missed_gates() {
    let (mut evaluation, _) = golden("perfect");
    evaluation.per_class[0].class = "<img src=x> & \u{1}\n".into();
    let gates = Gates {
        min_accuracy: Some(0.5),
        min_macro_f1: Some(1.0),
        ..Gates::default()
    };
    evaluation.macro_f1 = 0.25;
    let xml = junit(&evaluation, &gates.judge(&evaluation).unwrap()).unwrap();
    let head = r#"<testsuites name="flowers eval" tests="5" skipped="0" failures="1" errors="0">"#;
    assert!(xml.contains(head), "{xml}");
    assert!(
        xml.contains(r#"message="macro_f1 is 0.250000, required 1.000000""#),
        "{xml}"
    );
    assert!(xml.contains(r"&lt;img src=x&gt; &amp; \u{1}\n"), "{xml}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn metrics_stay_in_their_range(
        images in prop::collection::vec((0usize..4, prop::array::uniform4(-9f32..9.0)), 1..40),
        constant in -100f32..100.0,
    ) {
        let labels = Labels::new(["a", "b", "c", "d"]).unwrap();
        let mut predictions = Predictions::new(labels.clone());
        let mut shifted = Predictions::new(labels);
        for (truth, logits) in &images {
            predictions.push(*truth, logits).unwrap();
            shifted.push(*truth, &logits.map(|x| x + constant)).unwrap();
        }
        let found = Evaluation::of(&predictions).unwrap();
        let [low, high] = found.accuracy_interval;
        prop_assert!(0.0 <= low && low <= found.accuracy && found.accuracy <= high && high <= 1.0);
        prop_assert!(found.accuracy <= found.top3_accuracy);
        for ratio in [found.macro_f1, found.weighted_f1, found.ece, found.top3_accuracy] {
            prop_assert!((0.0..=1.0).contains(&ratio));
        }
        // Softmax doesn't see a constant; only its rounding in f32 is left.
        let loss = Evaluation::of(&shifted).unwrap().loss;
        prop_assert!((found.loss - loss).abs() < 1e-4);
        let wrong = predictions.worst_mistakes(usize::MAX).len();
        prop_assert_eq!(wrong as f64, (found.n as f64 * (1.0 - found.accuracy)).round());
    }
}

//! The report shows what it is given as text, the plots hold what they promise at every size.

use flowers::data::Unreadable;
use flowers::labels::Labels;
use flowers::metrics::{Epoch, Evaluation, GateResult, Predictions, calibration};
use flowers::report::{
    ClassSplit, ComparisonPage, ComparisonRow, Fact, MistakePhoto, ModelPoint, ReportData,
    Thumbnail, confusion_png, confusion_svg, curves_png, curves_svg, reliability_svg,
};
use image::RgbImage;
use proptest::prelude::*;

const EVIL: &str = "<img src=x onerror=alert(1)>\"'&\n";

/// Every class predicted right `per_class` times, and the first once taken for the last.
fn predictions(names: &[String], per_class: usize) -> Predictions {
    let mut predictions = Predictions::new(Labels::new(names).unwrap());
    let logits =
        |id: usize| -> Vec<f32> { (0..names.len()).map(|at| f32::from(at == id)).collect() };
    for id in 0..names.len() {
        for _ in 0..per_class {
            predictions.push(id, &logits(id)).unwrap();
        }
    }
    predictions.push(0, &logits(names.len() - 1)).unwrap();
    predictions
}

fn evaluation(names: &[String], per_class: usize) -> Evaluation {
    Evaluation::of(&predictions(names, per_class)).unwrap()
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|id| format!("flower {id:03}")).collect()
}

fn epoch(number: usize, phase: &str, value: f64) -> Epoch {
    Epoch {
        epoch: number,
        phase: phase.into(),
        learning_rate: 1e-4,
        train_loss: 1.0 - value,
        train_accuracy: value,
        val_loss: 1.1 - value,
        val_accuracy: value * 0.9,
        images_per_second: 60.0,
        waiting: 0.01,
        seconds: 10.0,
        candidate: true,
    }
}

fn picture(png: &[u8]) -> RgbImage {
    image::load_from_memory_with_format(png, image::ImageFormat::Png)
        .unwrap()
        .to_rgb8()
}

#[test]
fn a_cell_is_as_dark_as_its_share_of_the_row() {
    let evaluation = evaluation(&names(2), 9);
    let picture = picture(&confusion_png(&evaluation).unwrap());
    let near = |colour: [u8; 3]| {
        let alike = |pixel: &&image::Rgb<u8>| {
            let channels = pixel.0.iter().zip(colour);
            channels.into_iter().all(|(a, b)| a.abs_diff(b) <= 1)
        };
        picture.pixels().filter(alike).count()
    };
    // Opacity 0.1 + 0.9 * share of (11, 79, 159) over (244, 246, 249): 9 of 9, 9 of 10, 1 of 10,
    // 0 of 9. Each a cell of 75 units at two pixels a unit, less its digit.
    for colour in [
        [11, 79, 159],
        [32, 94, 167],
        [200, 214, 232],
        [244, 246, 249],
    ] {
        let pixels = near(colour);
        assert!((20_000..=25_500).contains(&pixels), "{colour:?}: {pixels}");
    }
}

#[test]
fn a_rare_class_is_shaded_like_a_common_one() {
    let labels = Labels::new(["common", "rare"]).unwrap();
    let mut predictions = Predictions::new(labels);
    for (actual, predicted, times) in [(0, 0, 90), (0, 1, 10), (1, 1, 9), (1, 0, 1)] {
        let logits = [f32::from(predicted == 0), f32::from(predicted == 1)];
        for _ in 0..times {
            predictions.push(actual, &logits).unwrap();
        }
    }
    let svg = confusion_svg(&Evaluation::of(&predictions).unwrap());
    assert!(svg.contains("common predicted as common: 90 of 100 (90.0%)"));
    for opacity in ["0.910", "0.190"] {
        let cells = svg.matches(&format!("fill-opacity=\"{opacity}\"")).count();
        assert_eq!(cells, 2, "{opacity}");
    }
}

#[test]
fn an_empty_cell_is_blank() {
    let svg = confusion_svg(&evaluation(&names(3), 5));
    assert!(!svg.contains(">0</text>"));
    assert_eq!(svg.matches(" predicted as ").count(), 4);
}

#[test]
fn names_are_drawn_without_an_installed_font() {
    let draw = |last: &str| {
        let names = ["aaa".to_string(), last.to_string()];
        picture(&confusion_png(&evaluation(&names, 3)).unwrap())
    };
    let (rose, iris) = (draw("rrrr"), draw("rrrř"));
    assert_eq!(rose.dimensions(), iris.dimensions());
    assert_ne!(rose, iris);
    draw("向日葵");
}

#[test]
fn counts_are_written_up_to_a_hundred_classes() {
    for (classes, named) in [(2, 2), (10, 10), (100, 100), (400, 134)] {
        let svg = confusion_svg(&evaluation(&names(classes), 47));
        let counts = svg.matches(">47</text>").count();
        let expected = if classes <= 100 { classes } else { 0 };
        assert_eq!(counts, expected, "{classes}");
        let is_name = |line: &&str| line.starts_with("<text") && line.contains(">flower ");
        assert_eq!(svg.lines().filter(is_name).count(), 2 * named, "{classes}");
        assert!(svg.contains(">Predicted</text>") && svg.contains(">Actual</text>"));
        assert!(svg.contains("<title>flower 000 predicted as flower "));
    }
}

#[test]
fn long_names_end_with_an_ellipsis() {
    let names = ["a".to_string(), "b".repeat(300)];
    let svg = confusion_svg(&evaluation(&names, 1));
    assert!(svg.contains("bbb…</text>"));
    let picture = picture(&confusion_png(&evaluation(&names, 1)).unwrap());
    assert!(picture.width() < 1000, "{}", picture.width());
}

#[test]
fn curves_are_drawn_for_one_epoch_and_for_many() {
    let many: Vec<Epoch> = (1..=500)
        .map(|n| epoch(n, "classic", n as f64 / 500.0))
        .collect();
    for epochs in [&many[..0], &many[..1], &many[..]] {
        let svg = curves_svg(epochs);
        assert!(curves_png(epochs).unwrap().len() > 1000);
        let last = epochs
            .last()
            .map(|last| format!("best: epoch {}, ", last.epoch));
        assert_eq!(svg.contains("best: "), last.is_some());
        assert!(svg.contains(&last.unwrap_or_default()));
    }
}

#[test]
fn phases_are_told_apart() {
    let mut epochs = vec![epoch(1, "head", 0.2), epoch(2, "head", 0.4)];
    assert!(!curves_svg(&epochs).contains("head"));
    epochs.push(epoch(3, "whole <network>", 0.6));
    let svg = curves_svg(&epochs);
    assert_eq!(svg.matches(">head</text>").count(), 2);
    assert_eq!(svg.matches("&lt;network&gt;").count(), 2);
}

#[test]
fn a_gap_splits_the_curve() {
    let epochs = |middle: f64| [epoch(1, "", 0.2), epoch(2, "", middle), epoch(3, "", 0.6)];
    let lines = |epochs: &[Epoch]| curves_svg(epochs).matches(r#"stroke-width="2""#).count();
    assert_eq!(lines(&epochs(0.4)), 4);
    assert_eq!(lines(&epochs(f64::NAN)), 0);
}

fn report(name: &str) -> ReportData {
    let names = [name.to_string(), "rose".to_string()];
    let predictions = predictions(&names, 5);
    let evaluation = Evaluation::of(&predictions).unwrap();
    let mistake = predictions.worst_mistakes(1)[0];
    ReportData {
        title: name.into(),
        facts: vec![Fact {
            name: "Data",
            value: name.into(),
        }],
        reliability: calibration::bins(predictions.outcomes()),
        gates: vec![GateResult {
            name: "accuracy",
            required: 0.99,
            actual: evaluation.accuracy,
            passed: false,
        }],
        evaluation,
        warnings: vec![format!("trained on {name}")],
        history: vec![epoch(1, name, 0.5), epoch(2, "rest", 0.7)],
        mistakes: vec![
            MistakePhoto {
                mistake,
                file: name.into(),
                thumbnail: Some(Thumbnail::of(&RgbImage::new(40, 30)).unwrap()),
            },
            MistakePhoto {
                mistake,
                file: "gone.jpg".into(),
                thumbnail: None,
            },
        ],
        split: vec![ClassSplit {
            class: name.into(),
            train: 7,
            val: 2,
            test: 1,
        }],
        unreadable: vec![Unreadable {
            path: name.into(),
            reason: name.into(),
        }],
        config: serde_json::json!({ "data": { name: name } }),
        command: vec!["flowers".into(), "train".into(), name.into()],
    }
}

#[test]
fn whatever_a_class_is_called_it_is_text() {
    let html = report(EVIL).html().unwrap();
    assert!(!html.contains("<img src=x"));
    for part in html.split("<img ").skip(1) {
        assert!(
            part.starts_with("src=\"data:image/jpeg;base64,"),
            "{part:.60}"
        );
    }
    // Title, heading, fact, matrix, most confused, classes, mistakes, split, unreadable, config
    // and command line.
    let escaped = html.matches("img src=x onerror=alert").count();
    assert!(escaped >= 14, "{escaped}");
}

#[test]
fn the_report_asks_nothing_of_the_network() {
    let html = report("daisy").html().unwrap();
    let html = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http:", "https:", "<script", "<link", "@import", "src=\"/"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn the_report_says_what_was_measured() {
    let html = report("daisy").html().unwrap();
    for fact in [
        ">90.9%</p>",
        "95% interval 62.3% to 98.4%",
        "<p>trained on daisy</p>",
        "<b>missed</b> accuracy <span>0.9091, required 0.9900</span>",
        "aria-label=\"Loss over the epochs\"",
        "aria-label=\"Accuracy over the epochs\"",
        "<dt>Data</dt><dd>daisy</dd>",
        "<span>actual</span> <b>daisy</b>",
        "no picture",
        "<td class=\"number\">10</td>",
        "<code>data.daisy</code>",
        "<code>flowers train daisy</code>",
    ] {
        assert!(html.contains(fact), "{fact}");
    }
}

#[test]
fn the_report_carries_its_font() {
    let html = report("daisy").html().unwrap();
    let (_, font) = html.split_once("url(data:font/woff2;base64,").unwrap();
    // "wOF2"
    assert!(font.starts_with("d09GM"));
    assert!(html.contains("font-src data:"));
}

#[test]
fn what_is_empty_has_no_section() {
    let mut data = report("daisy");
    let headings = [
        "Training",
        "Calibration",
        "Worst mistakes",
        "Data",
        "Unreadable files",
    ];
    let headings = headings.map(|heading| format!("<h2>{heading}</h2>"));
    let html = data.html().unwrap();
    assert!(headings.iter().all(|heading| html.contains(heading)));
    data.history.clear();
    data.reliability.clear();
    data.mistakes.clear();
    data.split.clear();
    data.unreadable.clear();
    let html = data.html().unwrap();
    assert!(!headings.iter().any(|heading| html.contains(heading)));
}

#[test]
fn the_reliability_diagram_shows_only_bins_with_images() {
    let bins = calibration::bins(predictions(&names(2), 5).outcomes());
    let svg = reliability_svg(&bins);
    assert!(svg.contains("11 images, confidence 73.1%, accuracy 90.9%"));
    // The bar of the accuracy and that of the gap.
    assert_eq!(svg.matches("<title>").count(), 2);
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1.0,
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::MAX, 1e11, -1.0, 0.0, 1.0]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_can_be_drawn(
        values in prop::collection::vec(prop::array::uniform4(value()), 0..60),
        change in 0usize..60,
    ) {
        let epochs: Vec<Epoch> = values
            .iter()
            .enumerate()
            .map(|(place, &[train_loss, train_accuracy, val_loss, val_accuracy])| Epoch {
                train_loss,
                train_accuracy,
                val_loss,
                val_accuracy,
                ..epoch(place + 1, if place < change { "head" } else { "all" }, 0.0)
            })
            .collect();
        let svg = curves_svg(&epochs);
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        prop_assert!(svg.len() < 40_000);
    }
}

#[test]
fn a_comparison_shows_text_as_text_and_draws_every_model() {
    let models = [
        ("float32", 9.0, 0.95),
        ("int8", 2.0, 0.93),
        ("int8", 90.0, 0.9),
    ];
    let point = |(precision, latency_ms, accuracy): (&str, f64, f64)| ModelPoint {
        network: EVIL.into(),
        precision: precision.into(),
        latency_ms,
        accuracy,
        on_front: latency_ms < 50.0,
    };
    let page = ComparisonPage {
        title: EVIL.into(),
        facts: vec![Fact {
            name: "Data",
            value: EVIL.into(),
        }],
        advice: vec![EVIL.into()],
        notes: vec![EVIL.into()],
        heads: vec!["network".into()],
        rows: vec![ComparisonRow {
            cells: vec![EVIL.into(), EVIL.into()],
            report: EVIL.into(),
            on_front: true,
        }],
        points: models.map(point).to_vec(),
        command: vec![EVIL.into()],
    };
    let html = page.html().unwrap();
    assert!(!html.contains("<img src=x"), "{html}");
    // The solid and the hollow diamond of int8, and the one of the legend.
    assert_eq!(html.matches("<polygon").count(), 4);
    // On a logarithmic axis.
    assert!(html.contains(">2</text>") && html.contains(">50</text>"));
    let picture = picture(&page.png().unwrap());
    assert!(picture.width() > picture.height());
}

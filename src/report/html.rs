//! The HTML report: one file that needs no other.

use std::path::PathBuf;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::confusion::{confusion_svg, narrowest};
use super::curves::panels_svg;
use super::font;
use super::reliability::reliability_svg;
use super::thumbnail::Thumbnail;
use crate::data::Unreadable;
use crate::error::{Result, shown};
use crate::metrics::calibration::Bin;
use crate::metrics::confusion::most_confused;
use crate::metrics::{ClassMetrics, Epoch, Evaluation, GateResult, Mistake};

/// What the report is made of. A part that is empty has no section.
#[derive(Debug, Clone)]
pub struct ReportData {
    /// What was trained or evaluated on which data set.
    pub title: String,
    /// Shown below the title.
    pub facts: Vec<Fact>,
    pub evaluation: Evaluation,
    /// From [`bins`](crate::metrics::calibration::bins).
    pub reliability: Vec<Bin>,
    pub gates: Vec<GateResult>,
    /// What is to be known before the figures are believed.
    pub warnings: Vec<String>,
    pub history: Vec<Epoch>,
    /// The worst first.
    pub mistakes: Vec<MistakePhoto>,
    /// A row a class, in the order of the labels.
    pub split: Vec<ClassSplit>,
    pub unreadable: Vec<Unreadable>,
    /// The resolved configuration; nested tables are shown with dotted keys.
    pub config: serde_json::Value,
    /// The command line that makes the run again, an argument an element.
    pub command: Vec<String>,
}

/// Something short to know of a run, such as when it was, what it started from, and on which
/// processor.
#[derive(Debug, Clone)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
}

/// A wrong prediction with its picture.
#[derive(Debug, Clone)]
pub struct MistakePhoto {
    pub mistake: Mistake,
    pub file: PathBuf,
    /// `None` where the file can't be read any more.
    pub thumbnail: Option<Thumbnail>,
}

/// How many images of a class each part holds.
#[derive(Debug, Clone)]
pub struct ClassSplit {
    pub class: String,
    pub train: usize,
    pub val: usize,
    pub test: usize,
}

impl ReportData {
    /// The whole document. It asks nothing of the network, follows the reader's colour scheme,
    /// and shows class and file names as text, whatever they hold.
    pub fn html(&self) -> Result<String> {
        Ok(Page::of(self).render()?)
    }
}

#[derive(Template)]
#[template(path = "report.html", config = "assets/askama.toml")]
struct Page<'a> {
    style: &'static str,
    font: String,
    version: &'static str,
    title: String,
    facts: Vec<Fact>,
    tiles: Vec<Tile>,
    gates: Vec<Gate>,
    warnings: Vec<String>,
    curves: Vec<String>,
    confusion: String,
    /// Width below which the matrix is scrolled rather than shrunk, in pixels.
    narrowest: u32,
    reliability: Option<String>,
    confused: Vec<[String; 3]>,
    classes: Vec<ClassRow>,
    mistakes: Vec<MistakeCard<'a>>,
    split: Vec<SplitRow>,
    split_total: [usize; 4],
    unreadable: Vec<[String; 2]>,
    config: Vec<[String; 2]>,
    command: String,
}

/// A headline number.
struct Tile {
    name: &'static str,
    value: String,
    note: String,
}

struct Gate {
    name: String,
    passed: bool,
    found: String,
}

struct ClassRow {
    class: String,
    metrics: [Bar; 3],
    support: u64,
}

/// A ratio as text and as the width of a bar in percent.
struct Bar {
    text: String,
    width: String,
}

struct MistakeCard<'a> {
    thumbnail: Option<&'a str>,
    file: String,
    actual: String,
    predicted: String,
    confidence: String,
}

struct SplitRow {
    class: String,
    counts: [usize; 4],
}

impl<'a> Page<'a> {
    fn of(data: &'a ReportData) -> Self {
        let evaluation = &data.evaluation;
        let curves = match data.history.as_slice() {
            [] => Vec::new(),
            epochs => panels_svg(epochs),
        };
        let reliability =
            (!data.reliability.is_empty()).then(|| reliability_svg(&data.reliability));
        let split: Vec<SplitRow> = data.split.iter().map(SplitRow::of).collect();
        let split_total = split.iter().fold([0; 4], |mut total, row| {
            for (sum, count) in total.iter_mut().zip(row.counts) {
                *sum += count;
            }
            total
        });
        let unreadable = data.unreadable.iter();
        let mut config = Vec::new();
        flatten("", &data.config, &mut config);
        Self {
            style: include_str!("../../assets/report/report.css"),
            font: STANDARD.encode(font::FOR_BROWSERS),
            version: env!("CARGO_PKG_VERSION"),
            title: shown(&data.title),
            facts: data.facts.iter().map(Fact::printable).collect(),
            tiles: tiles(evaluation),
            gates: data.gates.iter().map(Gate::of).collect(),
            warnings: data.warnings.iter().map(shown).collect(),
            curves,
            confusion: confusion_svg(evaluation),
            narrowest: narrowest(evaluation).ceil() as u32,
            reliability,
            confused: confused(evaluation),
            classes: evaluation.per_class.iter().map(ClassRow::of).collect(),
            mistakes: data
                .mistakes
                .iter()
                .map(|photo| MistakeCard::of(photo, evaluation))
                .collect(),
            split,
            split_total,
            unreadable: unreadable
                .map(|file| [shown(&file.path), shown(&file.reason)])
                .collect(),
            config,
            command: command_line(&data.command),
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn name(evaluation: &Evaluation, id: usize) -> String {
    shown(evaluation.labels.name(id).unwrap_or_default())
}

fn tiles(evaluation: &Evaluation) -> Vec<Tile> {
    let [low, high] = evaluation.accuracy_interval;
    let tile = |name, value, note: &str| Tile {
        name,
        value,
        note: note.into(),
    };
    let interval = format!("95% interval {} to {}", percent(low), percent(high));
    let classes = format!("in {} classes", evaluation.labels.len());
    let top3 = tile(
        "Top-3 accuracy",
        percent(evaluation.top3_accuracy),
        "true class among the top three",
    );
    let mut tiles = vec![tile("Accuracy", percent(evaluation.accuracy), &interval)];
    // Of three classes or fewer it is always 100%.
    tiles.extend(Some(top3).filter(|_| evaluation.labels.len() > 3));
    tiles.extend([
        tile(
            "Macro F1",
            format!("{:.3}", evaluation.macro_f1),
            "mean over the classes",
        ),
        tile(
            "Weighted F1",
            format!("{:.3}", evaluation.weighted_f1),
            "weighted by support",
        ),
        tile(
            "Loss",
            format!("{:.3}", evaluation.loss),
            "cross-entropy, nats",
        ),
        tile(
            "Calibration error",
            percent(evaluation.ece),
            "expected calibration error, 15 bins",
        ),
        tile("Images", evaluation.n.to_string(), &classes),
    ]);
    tiles
}

/// Actual class, predicted class, count.
fn confused(evaluation: &Evaluation) -> Vec<[String; 3]> {
    let pairs = most_confused(&evaluation.confusion, 8).into_iter();
    let row = |pair: crate::metrics::confusion::Confusion| {
        let names = [pair.actual, pair.predicted].map(|id| name(evaluation, id));
        let [actual, predicted] = names;
        [actual, predicted, pair.count.to_string()]
    };
    pairs.map(row).collect()
}

impl Fact {
    pub(super) fn printable(&self) -> Self {
        Self {
            name: self.name,
            value: shown(&self.value),
        }
    }
}

impl Gate {
    fn of(gate: &GateResult) -> Self {
        Self {
            name: gate.name.replace('_', " "),
            passed: gate.passed,
            found: format!("{:.4}, required {:.4}", gate.actual, gate.required),
        }
    }
}

impl ClassRow {
    fn of(class: &ClassMetrics) -> Self {
        let bar = |ratio: f64| Bar {
            text: format!("{ratio:.3}"),
            width: format!("{:.1}", 100.0 * ratio),
        };
        Self {
            class: shown(&class.class),
            metrics: [class.precision, class.recall, class.f1].map(bar),
            support: class.support,
        }
    }
}

impl<'a> MistakeCard<'a> {
    fn of(photo: &'a MistakePhoto, evaluation: &Evaluation) -> Self {
        Self {
            thumbnail: photo.thumbnail.as_ref().map(Thumbnail::uri),
            file: shown(&photo.file),
            actual: name(evaluation, photo.mistake.actual),
            predicted: name(evaluation, photo.mistake.predicted),
            confidence: percent(photo.mistake.confidence),
        }
    }
}

impl SplitRow {
    fn of(row: &ClassSplit) -> Self {
        let total = row.train + row.val + row.test;
        Self {
            class: shown(&row.class),
            counts: [row.train, row.val, row.test, total],
        }
    }
}

/// Lists the leaves of a JSON document as dotted key and value.
fn flatten(prefix: &str, value: &serde_json::Value, rows: &mut Vec<[String; 2]>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, rows);
            }
        }
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => rows.push([shown(prefix), shown(text)]),
        other => rows.push([shown(prefix), other.to_string()]),
    }
}

/// The arguments as a line for a POSIX shell.
pub(super) fn command_line(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    let quoted = arguments.iter().map(|argument| {
        match !argument.is_empty() && argument.chars().all(plain) {
            true => argument.clone(),
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_a_shell() {
        let arguments = ["flowers", "train", "my photos", "it's", "$(x)", ""].map(String::from);
        let line = command_line(&arguments);
        assert_eq!(line, r"flowers train 'my photos' 'it'\''s' '$(x)' ''");
    }

    #[test]
    fn nested_tables_have_dotted_keys() {
        let config = serde_json::json!({"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": null});
        let mut rows = Vec::new();
        flatten("", &config, &mut rows);
        let expected = [["a.b", "1"], ["a.c", "[1,2]"], ["d", "x"]];
        assert_eq!(rows, expected.map(|row| row.map(String::from)));
    }
}

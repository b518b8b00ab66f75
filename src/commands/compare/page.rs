//! A comparison as the page of the report shows it.

use std::path::Path;
use std::time::SystemTime;

use super::text::{HEADS, cells};
use crate::commands::facts::{self, fact};
use crate::comparison::{CandidateResult, Comparison, ModelResult};
use crate::error::shown;
use crate::report::{ComparisonPage, ComparisonRow, ModelPoint};
use crate::values::plural;

pub(super) fn page(comparison: &Comparison) -> ComparisonPage {
    let device = match &*comparison.device {
        "cpu" => String::new(),
        device => format!(", computed on {device}"),
    };
    let threads = plural(comparison.threads, "thread");
    let row = |(candidate, model): (&CandidateResult, &ModelResult)| ComparisonRow {
        cells: cells(candidate, model),
        report: format!("{}/report.html", candidate.architecture),
        on_front: model.pareto,
    };
    let point = |(candidate, model): (&CandidateResult, &ModelResult)| ModelPoint {
        network: candidate.architecture.into(),
        precision: model.precision.clone(),
        latency_ms: model.latency_ms,
        accuracy: model.accuracy,
        on_front: model.pareto,
    };
    let name = Path::new(&comparison.data).file_name();
    let name = name.map_or_else(|| comparison.data.clone(), shown);
    ComparisonPage {
        title: format!("{} networks on {name}", comparison.candidates.len()),
        facts: vec![
            fact("Data", comparison.data.clone()),
            fact(
                "Recipe",
                format!("{}, seed {}", comparison.recipe, comparison.seed),
            ),
            fact(
                "Measured on",
                format!("{} photos ({})", comparison.photos, comparison.measured_on),
            ),
            fact(
                "Processor",
                format!("{}, {threads}{device}", comparison.processor),
            ),
            facts::date(SystemTime::now()),
        ],
        advice: comparison
            .advice
            .iter()
            .map(|advice| advice.sentence.clone())
            .collect(),
        notes: comparison.notes.clone(),
        heads: HEADS.map(String::from).to_vec(),
        rows: comparison.models().map(row).collect(),
        points: comparison.models().map(point).collect(),
        command: std::env::args_os().map(shown).collect(),
    }
}

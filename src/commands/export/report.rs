//! What `flowers export` says.

use serde::Serialize;

use crate::commands::output::Output;
use crate::error::{Result, shown};
use crate::export::{Example, Squared, Verdict, Verified};
use crate::image::Preprocessing;
use crate::image::preprocess::Interpolation;

/// What came of an export.
#[derive(Serialize)]
pub(super) struct Exported {
    pub(super) file: String,
    pub(super) format: &'static str,
    pub(super) bytes: usize,
    pub(super) verification: Option<Verified>,
    /// The model's answers to photos that are made square in several ways; with photos only.
    pub(super) geometries: Vec<Squared>,
    pub(super) example: Example,
}

impl Exported {
    pub(super) fn report(&self, preprocessing: &Preprocessing, json: bool) -> Result<()> {
        let mut output = Output::stdout(json);
        let size = self.bytes as f64 / 1e6;
        let out = shown(&self.file);
        output.text(format_args!("{out}: {}, {size:.1} MB", self.format))?;
        output.text(match &self.verification {
            Some(verified) => line(verified),
            None => "not verified (--no-verify)".into(),
        })?;
        if matches!(
            self.verification,
            Some(Verified {
                verdict: Verdict::Scores(_),
                ..
            })
        ) {
            output.text(pictures(preprocessing))?;
        }
        for squared in &self.geometries {
            output.text(row(squared))?;
        }
        let Example {
            language, needs, ..
        } = self.example;
        output.text(format_args!("\nTo use it ({language}; needs {needs}):\n"))?;
        for code in self.example.code.lines() {
            output.text(format_args!("    {code}"))?;
        }
        output.json(self)
    }
}

/// How the network wants pictures.
fn pictures(preprocessing: &Preprocessing) -> String {
    let Preprocessing { resize, crop, .. } = preprocessing;
    let filter = match preprocessing.interpolation {
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    };
    format!(
        "pictures: upright RGB, the shorter side resized to {resize} pixels ({filter}), the central \
         {crop} x {crop} pixels"
    )
}

fn row(squared: &Squared) -> String {
    let Squared {
        geometry,
        photos,
        same_label,
        ..
    } = squared;
    let correct = match squared.correct {
        Some(correct) => format!(", {correct} correct"),
        None => String::new(),
    };
    format!("  {geometry}: same label on {same_label} of {photos}{correct}")
}

/// A verification as a person reads it.
pub(super) fn line(verified: &Verified) -> String {
    let reader = verified.reader;
    let found = match &verified.verdict {
        Verdict::Scores(agreement) => {
            let pictures = agreement.pictures;
            let correct = agreement.correct.map(|correct| {
                let (model, export) = (correct.model, correct.export);
                format!(" (correct: {model} by the model, {export} by the export)")
            });
            format!(
                "same label on {} of {pictures} pictures{}, scores differ by at most {} (tolerance {})",
                agreement.same_label,
                correct.unwrap_or_default(),
                rounded(agreement.largest_difference),
                rounded(agreement.tolerance)
            )
        }
        Verdict::Parameters { equal, parameters } => {
            format!("{equal} of {parameters} parameters are bit for bit the same")
        }
    };
    let verdict = if verified.passed { "passed" } else { "FAILED" };
    format!("{verdict}: read back by {reader}, {found}")
}

/// A few significant digits, as a decimal where that is short.
fn rounded(value: f32) -> String {
    let decimal = match value {
        v if (1.0..1000.0).contains(&v) => format!("{v:.2}"),
        v if (0.001..1.0).contains(&v) => format!("{v:.5}"),
        0.0 => return "0".into(),
        v => return format!("{v:.1e}"),
    };
    decimal.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_short() {
        let shown = [0.0, 1.32, 0.05, 0.001, 250.0, 3.21e-6].map(rounded);
        assert_eq!(shown, ["0", "1.32", "0.05", "0.001", "250", "3.2e-6"]);
    }
}

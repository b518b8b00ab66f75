//! Answers as text, as JSON lines, or as a CSV table.

use std::path::Path;

use serde::Serialize;

use crate::commands::output::{Output, path_text};
use crate::error::{Result, shown};
use crate::image::decode::Warning;
use crate::metrics::Answer;

/// Where the answers go.
pub(super) struct Answers {
    output: Output<'static>,
    csv: bool,
    /// Classes that each answer names.
    named: usize,
}

#[derive(Serialize)]
struct Success<'a> {
    file: String,
    #[serde(flatten)]
    answer: Answer,
    #[serde(skip_serializing_if = "<[Warning]>::is_empty")]
    warnings: &'a [Warning],
}

#[derive(Serialize)]
struct Failure {
    file: String,
    error: String,
}

impl Answers {
    /// Begins on standard output; a table has its header.
    ///
    /// # Errors
    /// [`crate::error::Error::Environment`] when it can't be written to.
    pub(super) fn begin(json: bool, csv: bool, named: usize) -> Result<Self> {
        let mut answers = Self {
            output: Output::stdout(json),
            csv,
            named,
        };
        if csv {
            let mut head = vec!["file".to_owned()];
            for rank in 1..=named {
                let rank = if rank == 1 {
                    String::new()
                } else {
                    format!("_{rank}")
                };
                head.extend([format!("label{rank}"), format!("confidence{rank}")]);
            }
            head.extend(["error".into(), "warnings".into()]);
            answers.row(&head)?;
        }
        Ok(answers)
    }

    /// Tells what a picture shows.
    pub(super) fn answer(
        &mut self,
        file: &Path,
        answer: Answer,
        warnings: &[Warning],
    ) -> Result<()> {
        if self.csv {
            let mut row = vec![path_text(file)];
            for guess in &answer.top_predictions {
                row.extend([guess.class.clone(), format!("{:.6}", guess.confidence)]);
            }
            let warnings: Vec<String> = warnings.iter().map(Warning::to_string).collect();
            row.extend([String::new(), warnings.join("; ")]);
            return self.row(&row);
        }
        let others: Vec<String> = answer.top_predictions[1..]
            .iter()
            .map(|guess| format!("{} {:.3}", shown(&guess.class), guess.confidence))
            .collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!("  ({})", others.join(", "))
        };
        self.output.text(format_args!(
            "{}: {} {:.3}{others}",
            shown(file),
            shown(&answer.class),
            answer.confidence
        ))?;
        self.output.json(&Success {
            file: path_text(file),
            answer,
            warnings,
        })
    }

    /// Tells why a picture has no answer.
    pub(super) fn fail(&mut self, file: &Path, why: &str) -> Result<()> {
        if self.csv {
            let mut row = vec![path_text(file)];
            row.resize(1 + 2 * self.named, String::new());
            row.extend([why.into(), String::new()]);
            return self.row(&row);
        }
        self.output
            .text(format_args!("{}: error: {why}", shown(file)))?;
        self.output.json(&Failure {
            file: path_text(file),
            error: why.into(),
        })
    }

    fn row(&mut self, cells: &[String]) -> Result<()> {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        writer.write_record(cells)?;
        let line = String::from_utf8(writer.into_inner()?)?;
        self.output.text(line.trim_end_matches('\n'))
    }
}

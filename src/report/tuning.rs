//! The page of a hyper-parameter search: one file that needs no other.

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::font;
use super::html::{Fact, command_line};
use super::parallel::{Axis, TrialLine, parallel_png, parallel_svg};
use crate::error::{Result, shown};

/// What the page is made of.
#[derive(Debug, Clone)]
pub struct TuningPage {
    pub title: String,
    /// Shown below the title.
    pub facts: Vec<Fact>,
    /// What was found, one sentence each.
    pub findings: Vec<String>,
    pub axes: Vec<Axis>,
    pub lines: Vec<TrialLine>,
    pub heads: Vec<String>,
    pub rows: Vec<TuningRow>,
    /// The configuration that was found, as a file.
    pub config: String,
    /// The command line that makes the search again, an argument an element.
    pub command: Vec<String>,
}

/// A trial in the table.
#[derive(Debug, Clone)]
pub struct TuningRow {
    /// Below the heads.
    pub cells: Vec<String>,
    pub is_best: bool,
    /// The report of its run, relative to the page, if it has one.
    pub report: Option<String>,
}

#[derive(Template)]
#[template(path = "tuning.html", config = "assets/askama.toml")]
struct Page<'a> {
    style: &'static str,
    font: String,
    version: &'static str,
    title: String,
    facts: Vec<Fact>,
    findings: Vec<String>,
    plot: String,
    heads: &'a [String],
    rows: Vec<TuningRow>,
    config: &'a str,
    command: String,
}

impl TuningPage {
    /// The whole document, which asks nothing of the network.
    ///
    /// # Errors
    /// When it can't be written, which is a bug.
    pub fn html(&self) -> Result<String> {
        let printable = |texts: &[String]| texts.iter().map(shown).collect();
        let row = |row: &TuningRow| TuningRow {
            cells: printable(&row.cells),
            is_best: row.is_best,
            report: row.report.as_ref().map(shown),
        };
        let page = Page {
            style: include_str!("../../assets/report/report.css"),
            font: STANDARD.encode(font::FOR_BROWSERS),
            version: env!("CARGO_PKG_VERSION"),
            title: shown(&self.title),
            facts: self.facts.iter().map(Fact::printable).collect(),
            findings: printable(&self.findings),
            plot: parallel_svg(&self.axes, &self.lines),
            heads: &self.heads,
            rows: self.rows.iter().map(row).collect(),
            config: &self.config,
            command: command_line(&self.command),
        };
        Ok(page.render()?)
    }

    /// The plot as a PNG.
    ///
    /// # Errors
    /// As [`parallel_png`].
    pub fn png(&self) -> Result<Vec<u8>> {
        parallel_png(&self.axes, &self.lines)
    }
}

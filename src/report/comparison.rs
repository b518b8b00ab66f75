//! The page of a comparison: one file that needs no other.

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::font;
use super::html::{Fact, command_line};
use super::pareto::{ModelPoint, pareto_png, pareto_svg};
use crate::error::{Result, shown};

/// What the page is made of.
#[derive(Debug, Clone)]
pub struct ComparisonPage {
    pub title: String,
    /// Shown below the title.
    pub facts: Vec<Fact>,
    /// Sentences that say what to take.
    pub advice: Vec<String>,
    /// What is to be known before the figures are believed.
    pub notes: Vec<String>,
    pub heads: Vec<String>,
    pub rows: Vec<ComparisonRow>,
    pub points: Vec<ModelPoint>,
    /// The command line that makes the comparison again, an argument an element.
    pub command: Vec<String>,
}

/// A model in the table.
#[derive(Debug, Clone)]
pub struct ComparisonRow {
    /// Below the heads.
    pub cells: Vec<String>,
    /// The report of its run, relative to the page.
    pub report: String,
    /// Whether it is on the Pareto front.
    pub on_front: bool,
}

#[derive(Template)]
#[template(path = "comparison.html", config = "assets/askama.toml")]
struct Page<'a> {
    style: &'static str,
    font: String,
    version: &'static str,
    title: String,
    facts: Vec<Fact>,
    advice: Vec<String>,
    notes: Vec<String>,
    plot: String,
    heads: &'a [String],
    rows: Vec<ComparisonRow>,
    command: String,
}

impl ComparisonPage {
    /// The whole document, which asks nothing of the network.
    ///
    /// # Errors
    /// When it can't be written, which is a bug.
    pub fn html(&self) -> Result<String> {
        let printable = |texts: &[String]| texts.iter().map(shown).collect();
        let row = |row: &ComparisonRow| ComparisonRow {
            cells: row.cells.iter().map(shown).collect(),
            report: shown(&row.report),
            on_front: row.on_front,
        };
        let page = Page {
            style: include_str!("../../assets/report/report.css"),
            font: STANDARD.encode(font::FOR_BROWSERS),
            version: env!("CARGO_PKG_VERSION"),
            title: shown(&self.title),
            facts: self.facts.iter().map(Fact::printable).collect(),
            advice: printable(&self.advice),
            notes: printable(&self.notes),
            plot: pareto_svg(&self.points),
            heads: &self.heads,
            rows: self.rows.iter().map(row).collect(),
            command: command_line(&self.command),
        };
        Ok(page.render()?)
    }

    /// The plot as a PNG.
    ///
    /// # Errors
    /// As [`pareto_png`].
    pub fn png(&self) -> Result<Vec<u8>> {
        pareto_png(&self.points)
    }
}

//! `flowers data`: check, split and sample.

use serde::Serialize;

use super::output::Output;
use super::photos;
use super::progress::Bar;
use super::table::table;
use crate::cli::data::{CheckArgs, DataCommand, SampleArgs, SplitArgs};
use crate::data::check::{self, Class, Report, Severity};
use crate::data::{Depth, Folder, ScanOptions, Split, SplitOptions};
use crate::error::{Error, Result, shown};
use crate::files;
use crate::progress::Progress;
use crate::sample::{self, SampleSet};
use crate::values::plural;

/// Runs a `flowers data` verb with its results on standard output.
///
/// # Errors
/// Those of the verb.
pub fn run(command: &DataCommand) -> Result<()> {
    let progress = Bar::new();
    match command {
        DataCommand::Check(args) => check(args, &mut Output::stdout(args.json), &progress),
        DataCommand::Split(args) => split(args, &mut Output::stdout(args.json), &progress),
        DataCommand::Sample(args) => sample(args, &mut Output::stdout(false), &progress),
    }
}

/// `flowers data check`
///
/// # Errors
/// [`Error::Data`] after the report when the set can't be trained on, and without one when it
/// can't be indexed.
pub fn check(args: &CheckArgs, output: &mut Output<'_>, progress: &dyn Progress) -> Result<()> {
    let source = args.source.named()?;
    let options = ScanOptions {
        reread: true,
        ..ScanOptions::cached(args.bad.max_bad, Depth::Pixels)
    };
    let folder = Folder::index(&source, &options, progress)?;
    let report = check::check(&folder, args.bad.max_bad);
    output.json(&report)?;
    output.text(described(&report))?;
    if report.trainable {
        return Ok(());
    }
    let errors = report.count(Severity::Error);
    let message = format!(
        "{} can't be trained on: the report has {}",
        report.folder,
        plural(errors, "error")
    );
    Err(Error::Data(message).into())
}

/// `flowers data split`
///
/// # Errors
/// [`Error::Usage`] when the output exists already or the shares are none, and those of
/// [`Folder::scan`], [`Split::make`] and the writing.
pub fn split(args: &SplitArgs, output: &mut Output<'_>, progress: &dyn Progress) -> Result<()> {
    files::check_new(&args.out, "remove it")?;
    let source = args.source.named()?;
    let folder = photos::scan(&source, args.bad.max_bad, Depth::Pixels, progress)?;
    let options = SplitOptions {
        val: args.val,
        test: args.test,
        seed: args.seed,
    };
    let split = Split::make(&folder, &options)?;
    split.manifest.write(&args.out)?;
    let summary = SplitSummary::of(&split, &folder, args)?;
    output.json(&summary)?;
    output.text(summary.described())
}

/// `flowers data sample`
///
/// # Errors
/// Those of [`sample::write`].
pub fn sample(args: &SampleArgs, output: &mut Output<'_>, progress: &dyn Progress) -> Result<()> {
    let set = SampleSet {
        classes: args.classes,
        per_class: args.per_class,
        size: args.size,
        seed: args.seed,
    };
    sample::write(&set, &args.dir, progress)?;
    output.text(format_args!(
        "generated {} images of {} kinds of flowers in {}\nnext: flowers train {} --out run",
        args.classes * args.per_class,
        args.classes,
        shown(&args.dir),
        shown(&args.dir)
    ))
}

fn described(report: &Report) -> String {
    const FEW: usize = 5;
    let mut text = class_table(report);
    if let Some(sizes) = &report.sizes {
        let [narrow, wide] = sizes.width;
        let [low, high] = sizes.height;
        let median = sizes.median_shorter_side;
        text.push_str(&format!(
            "\nsizes: {narrow} to {wide} pixels wide, {low} to {high} pixels high, median of the \
             shorter side {median}\n"
        ));
    }
    if !report.findings.is_empty() {
        text.push('\n');
    }
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text.push_str(&format!("{severity}: {}\n", finding.message));
        for file in finding.files.iter().take(FEW) {
            text.push_str(&format!("  {file}\n"));
        }
        if finding.files.len() > FEW {
            let more = finding.files.len() - FEW;
            text.push_str(&format!("  and {more} more (--json lists them all)\n"));
        }
    }
    let verdict = match (report.trainable, report.count(Severity::Warning)) {
        (true, 0) => "ready for training".to_owned(),
        (true, warnings) => format!("ready for training, with {}", plural(warnings, "warning")),
        (false, _) => format!(
            "not ready for training: {}",
            plural(report.count(Severity::Error), "error")
        ),
    };
    text.push_str(&format!("\n{}: {verdict}", report.folder));
    text
}

fn class_table(report: &Report) -> String {
    let cells = |name: String, photos: usize, class: [usize; 4]| {
        let shown_counts = if report.split { 4 } else { 1 };
        let mut row = vec![name, photos.to_string()];
        row.extend(class.iter().take(shown_counts).map(usize::to_string));
        row
    };
    let counts = |class: &Class| [class.distinct, class.train, class.val, class.test];
    let heads = ["class", "photos", "distinct", "train", "val", "test"];
    let shown_heads = if report.split { 6 } else { 3 };
    let mut rows = vec![
        heads[..shown_heads]
            .iter()
            .map(|&head| head.into())
            .collect(),
    ];
    let mut total = [0; 4];
    for class in &report.classes {
        let counts = counts(class);
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
        rows.push(cells(shown(&class.class), class.photos, counts));
    }
    rows.push(cells("total".into(), report.photos, total));
    table(&rows)
}

#[derive(Serialize)]
struct SplitSummary {
    file: String,
    sha256: String,
    classes: Vec<SplitClass>,
    left_out: usize,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct SplitClass {
    class: String,
    train: usize,
    val: usize,
    test: usize,
}

impl SplitSummary {
    fn of(split: &Split, folder: &Folder, args: &SplitArgs) -> Result<Self> {
        let classes = folder.labels.names().iter().enumerate();
        let classes = classes.map(|(id, name)| {
            let [train, val, test] = split.counts(folder, id);
            SplitClass {
                class: name.clone(),
                train,
                val,
                test,
            }
        });
        Ok(Self {
            file: shown(&args.out),
            sha256: split.manifest.sha256()?,
            classes: classes.collect(),
            left_out: split.left_out.len(),
            warnings: split.warnings(folder),
        })
    }

    fn described(&self) -> String {
        let row = |name: String, counts: [usize; 3]| {
            let mut cells = vec![name];
            cells.extend(counts.iter().map(usize::to_string));
            cells
        };
        let heads = ["class", "train", "val", "test"];
        let mut rows = vec![heads.iter().map(|&head| head.into()).collect()];
        let mut total = [0; 3];
        for class in &self.classes {
            let counts = [class.train, class.val, class.test];
            for (sum, count) in total.iter_mut().zip(counts) {
                *sum += count;
            }
            rows.push(row(shown(&class.class), counts));
        }
        rows.push(row("total".into(), total));
        let mut text = table(&rows);
        for warning in &self.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        text.push_str(&format!("\nwritten to {}", self.file));
        text
    }
}

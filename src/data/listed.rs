//! A CSV file of labels: a line for each photo with its file, its label and perhaps its part.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use unicode_normalization::UnicodeNormalization;

use super::parts;
use super::photo::Part;
use crate::error::{Error, Result, shown};
use crate::files;
use crate::labels::normalized;

/// The names that each column may have; of several columns the one whose name comes first counts.
const FILE: &[&str] = &["file", "filename", "file_name", "filepath", "path", "image"];
const LABEL: &[&str] = &["label", "class", "class_name", "category"];
const SPLIT: &[&str] = &["split", "part", "subset", "set"];

/// What is expected of a file of labels.
pub(super) const EXPECTED: &str = "the columns file, label and, if the photos are split, split (train, \
                            val or test)";

/// A line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub file: PathBuf,
    /// In Unicode's normal form C.
    pub label: String,
    /// `None` when there is no such column or nothing in it.
    pub part: Option<Part>,
}

/// Reads a file of labels, with commas, semicolons or tabs between the columns; the paths in it
/// start from `root`.
///
/// # Errors
/// [`Error::Data`] naming the file and the line: not readable, no such columns, no rows, an empty
/// field, a part of another name, or parts in a column of another name.
pub(super) fn read(table: &Path, root: &Path) -> Result<Vec<Row>> {
    let text = files::read(table)?;
    let rows = parse(&text).map_err(|what| Error::Data(format!("{}: {what}", shown(table))))?;
    let placed = |row: Row| Row {
        file: place(root, &row.file),
        ..row
    };
    Ok(rows.into_iter().map(placed).collect())
}

/// The names of a file's columns, if it is a table.
pub(super) fn columns(table: &Path) -> Option<String> {
    let text = files::read(table).ok()?;
    let names = reader(&text).headers().ok()?.clone();
    Some(shown(names.iter().collect::<Vec<_>>().join(", ")))
}

fn reader(text: &[u8]) -> csv::Reader<&[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let head = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |separator: u8| head.iter().filter(|&&byte| byte == separator).count();
    // Of equal counts the last wins.
    let separator = [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|&separator| count(separator));
    ReaderBuilder::new()
        .delimiter(separator.unwrap_or(b','))
        .trim(Trim::All)
        .from_reader(text)
}

fn parse(text: &[u8]) -> Result<Vec<Row>, String> {
    let mut reader = reader(text);
    let broken = |cause: csv::Error| format!("not a CSV file ({cause}): it needs {EXPECTED}");
    let names = reader.headers().map_err(broken)?.clone();
    let column = |known: &[&str]| {
        let of = |known: &&str| {
            names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(known))
        };
        known.iter().find_map(of)
    };
    let (Some(file), Some(label)) = (column(FILE), column(LABEL)) else {
        let names = shown(names.iter().collect::<Vec<_>>().join(", "));
        return Err(format!("its columns are {names}, but it needs {EXPECTED}"));
    };
    let split = column(SPLIT);
    let records: Result<Vec<StringRecord>, _> = reader.records().collect();
    let mut records = records.map_err(broken)?;
    records.retain(|record| record.iter().any(|field| !field.is_empty()));
    if records.is_empty() {
        return Err(format!(
            "it lists no photos: it needs a line for each, with {EXPECTED}"
        ));
    }
    let mut others = (0..names.len()).filter(|column| ![file, label].contains(column));
    if split.is_none()
        && let Some(column) = others.find(|&column| holds_parts(&records, column))
    {
        let name = shown(names.get(column).unwrap_or_default());
        return Err(format!(
            "the column {name} looks like a split: rename it to split, or remove it"
        ));
    }
    let row = |record: &StringRecord| {
        let line = record.position().map_or(0, csv::Position::line);
        row(record, file, label, split).map_err(|what| format!("line {line}: {what}"))
    };
    records.iter().map(row).collect()
}

/// Whether a column holds nothing but names of parts, of several.
fn holds_parts(records: &[StringRecord], column: usize) -> bool {
    let fields = records.iter().filter_map(|record| record.get(column));
    let parts = fields.filter(|field| !field.is_empty()).map(parts::named);
    let parts: Option<BTreeSet<Part>> = parts.collect();
    parts.is_some_and(|parts| parts.len() > 1)
}

fn row(
    record: &StringRecord,
    file: usize,
    label: usize,
    split: Option<usize>,
) -> Result<Row, String> {
    let field = |column: usize| record.get(column).unwrap_or_default();
    for (column, what) in [(file, "file"), (label, "label")] {
        if field(column).is_empty() {
            return Err(format!("the column {what} is empty"));
        }
    }
    let part = match split.map(field).unwrap_or_default() {
        "" => None,
        name => Some(
            parts::named(name)
                .ok_or_else(|| format!("unknown split {}: use train, val or test", shown(name)))?,
        ),
    };
    Ok(Row {
        file: field(file).into(),
        label: normalized(field(label)).into_owned(),
        part,
    })
}

/// Where a file is; a path written on Windows may have backslashes, and one written on a Mac
/// letters that are composed otherwise than in the file's name.
fn place(root: &Path, file: &Path) -> PathBuf {
    let written = root.join(file);
    let text = match file.to_str() {
        Some(text) if !written.exists() => text.replace('\\', "/"),
        _ => return written,
    };
    let forms = [text.nfc().collect(), text.nfd().collect(), text];
    let mut paths = forms.iter().map(|form: &String| root.join(form));
    paths.find(|path| path.exists()).unwrap_or(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(file: &str, label: &str, part: Option<Part>) -> Row {
        Row {
            file: file.into(),
            label: label.into(),
            part,
        }
    }

    #[test]
    fn columns_are_found_by_name_whatever_their_order_and_separator() {
        let rows = [
            row("a/1.jpg", "rose", Some(Part::Train)),
            row("2.jpg", "tulip, red", None),
        ];
        for text in [
            "label,file,split\nrose,a/1.jpg,train\n\"tulip, red\",2.jpg,\n",
            "\u{feff}File;Label;Split\r\na/1.jpg;rose;training\r\n2.jpg;tulip, red;\r\n",
            "filename\tsubset\tclass\na/1.jpg\tTRAIN\trose\n2.jpg\t\ttulip, red\n",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), rows, "{text}");
        }
        let order = b"image,class,file,label\nx,y,1.jpg,rose\n";
        assert_eq!(parse(order).unwrap(), [row("1.jpg", "rose", None)]);
        let blank = b"file,label\n1.jpg,rose\n,\n";
        assert_eq!(parse(blank).unwrap(), [row("1.jpg", "rose", None)]);
        let no_split = parse(b"image,width,category\n1.jpg,20,rose\n").unwrap();
        assert_eq!(no_split, [row("1.jpg", "rose", None)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, words) in [
            (
                "id,breed\n1,pug\n",
                "its columns are id, breed, but it needs the columns file",
            ),
            ("file,label\n", "it lists no photos"),
            ("", "it needs the columns file, label"),
            ("file,label\n1.jpg,\n", "line 2: the column label is empty"),
            (
                "file,label,split\n1.jpg,a,train\n2.jpg,a,holdout\n",
                "line 3: unknown split holdout",
            ),
            ("file,label\n1.jpg,a,b\n", "not a CSV file"),
            (
                "file,label,partition\n1.jpg,a,train\n2.jpg,a,test\n",
                "the column partition looks like a split: rename it to split",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

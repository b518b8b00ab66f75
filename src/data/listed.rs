//! A CSV file of labels: a line for each photo with its file, its label and perhaps its part.

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::folder::Part;
use super::parts;
use crate::error::{Error, Result, shown};
use crate::files;

/// The names that each column may have; the first is the one to recommend.
const FILE: &[&str] = &["file", "filename", "file_name", "filepath", "path", "image"];
const LABEL: &[&str] = &["label", "class", "class_name", "category"];
const SPLIT: &[&str] = &["split", "part", "subset", "set"];

/// What is expected of a file of labels.
pub const EXPECTED: &str = "the columns file, label and, if the photos are split, split (train, \
                            val or test)";

/// A line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub file: PathBuf,
    pub label: String,
    /// `None` when there is no such column or nothing in it.
    pub part: Option<Part>,
}

/// Reads a file of labels, with commas, semicolons or tabs between the columns; the paths in it
/// start from `root`.
///
/// # Errors
/// [`Error::Data`] naming the file and the line: not readable, no such columns, no rows, an empty
/// field, or a part of another name.
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
        let is = |name: &str| known.iter().any(|known| name.eq_ignore_ascii_case(known));
        names.iter().position(is)
    };
    let (Some(file), Some(label)) = (column(FILE), column(LABEL)) else {
        let names = shown(names.iter().collect::<Vec<_>>().join(", "));
        return Err(format!("its columns are {names}, but it needs {EXPECTED}"));
    };
    let split = column(SPLIT);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, csv::Position::line);
        let row =
            row(&record, file, label, split).map_err(|what| format!("line {line}: {what}"))?;
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(format!(
            "it lists no photos: it needs a line for each, with {EXPECTED}"
        ));
    }
    Ok(rows)
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
            return Err(format!("the {what} is empty"));
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
        label: field(label).to_owned(),
        part,
    })
}

/// Where a file is; a path written on Windows may have backslashes.
fn place(root: &Path, file: &Path) -> PathBuf {
    let path = root.join(file);
    match file.to_str() {
        Some(text) if text.contains('\\') && !path.exists() => root.join(text.replace('\\', "/")),
        _ => path,
    }
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
            ("file,label\n1.jpg,\n", "line 2: the label is empty"),
            (
                "file,label,split\n1.jpg,a,train\n2.jpg,a,holdout\n",
                "line 3: unknown split holdout",
            ),
            ("file,label\n1.jpg,a,b\n", "not a CSV file"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

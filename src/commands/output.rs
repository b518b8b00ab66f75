//! Results on standard output, text for people or JSON for programs; notes on standard error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;

use serde::Serialize;

use crate::distributed::Lost;
use crate::error::{Error, Result};

/// An environment variable of processes that another `flowers` has started: where to leave the reason why
/// they end.
pub(super) const ERROR_FILE: &str = "FLOWERS_ERROR_FILE";

/// Where a command writes its results. A reader that went away (`| head`) ends the output
/// quietly.
pub struct Output<'a> {
    sink: Box<dyn Write + 'a>,
    json: bool,
    open: bool,
}

impl Output<'static> {
    /// Standard output; only [`Output::json`] writes to it if `json` is set, otherwise only
    /// [`Output::text`].
    pub fn stdout(json: bool) -> Self {
        Self::to(io::stdout(), json)
    }
}

impl<'a> Output<'a> {
    pub fn to(sink: impl Write + 'a, json: bool) -> Self {
        Self {
            sink: Box::new(sink),
            json,
            open: true,
        }
    }

    /// Writes a line in text mode.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be written, e.g. to a full disk.
    pub fn text(&mut self, line: impl Display) -> Result<()> {
        if self.json {
            return Ok(());
        }
        self.line(line)
    }

    /// Writes a value as one line of JSON in JSON mode.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let line = serde_json::to_string(value)?;
        self.line(line)
    }

    fn line(&mut self, line: impl Display) -> Result<()> {
        if !self.open {
            return Ok(());
        }
        match writeln!(self.sink, "{line}").and_then(|()| self.sink.flush()) {
            Err(cause) if cause.kind() == ErrorKind::BrokenPipe => {
                self.open = false;
                Ok(())
            }
            written => written.map_err(|cause| {
                Error::Environment(format!("can't write to standard output: {cause}")).into()
            }),
        }
    }
}

/// A path as JSON holds it: the name itself, control characters and all, for a program to open.
/// Bytes that are not UTF-8 are lost.
pub fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Written in front of every note of a process that is not the first of its run.
static PREFIX: OnceLock<String> = OnceLock::new();

/// Lets every note name a process of several.
pub(super) fn speak_as(rank: usize) {
    PREFIX.set(format!("[rank {rank}] ")).ok();
}

/// Writes the reason why the program ends to standard error. Work that the user stopped is no
/// error. A process that another `flowers` has started leaves it to that, unless another process of its
/// run has more to say.
pub fn fail(error: &anyhow::Error) {
    let line = match error.downcast_ref() {
        Some(Error::Interrupted(_)) => format!("{error:#}"),
        _ => format!("error: {error:#}"),
    };
    let is_left = std::env::var_os(ERROR_FILE)
        .is_some_and(|file| error.is::<Lost>() || std::fs::write(file, &line).is_ok());
    if !is_left {
        note(line);
    }
}

/// Writes a line to standard error. Nobody reading it is no reason to fail.
pub fn note(line: impl Display) {
    let prefix = PREFIX.get().map_or("", String::as_str);
    writeln!(io::stderr(), "{prefix}{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_mode_hears_its_own() {
        let write = |json| {
            let mut sink = Vec::new();
            let mut output = Output::to(&mut sink, json);
            output.text("two photos").unwrap();
            output.json(&[1, 2]).unwrap();
            drop(output);
            String::from_utf8(sink).unwrap()
        };
        assert_eq!(write(false), "two photos\n");
        assert_eq!(write(true), "[1,2]\n");
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        assert!(
            Output::to(Failing(ErrorKind::BrokenPipe), false)
                .text("x")
                .is_ok()
        );
        let full = Output::to(Failing(ErrorKind::StorageFull), false).text("x");
        assert_eq!(crate::error::exit_code(&full.unwrap_err()), 4);
    }
}

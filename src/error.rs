//! Every kind of failure and the exit code it ends the program with.

use std::path::Path;

pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// What went wrong, by who has to act. The message names the cause and the remedy.
///
/// Library code returns these inside [`anyhow::Error`]; context may be added on the way up,
/// and [`exit_code`] finds the kind again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A quality gate was missed: the work was done, its result is not good enough.
    #[error("{0}")]
    Gate(String),
    /// The arguments or the configuration make no sense.
    #[error("{0}")]
    Usage(String),
    /// A data set, a picture, or a model file can't be used.
    #[error("{0}")]
    Data(String),
    /// The environment failed: download, disk, port, memory.
    #[error("{0}")]
    Environment(String),
    /// The user pressed Ctrl-C; what was done is saved.
    #[error("{0}")]
    Interrupted(String),
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Self::Gate(_) => 1,
            Self::Usage(_) => 2,
            Self::Data(_) => 3,
            Self::Environment(_) => 4,
            Self::Interrupted(_) => 130,
        }
    }
}

/// Parameters or logits that are infinite or NaN, as when a training has diverged: context of an
/// [`Error::Data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's scores are not finite")]
pub struct NonFinite;

impl NonFinite {
    /// The error of a network that can't be computed with.
    ///
    /// # Errors
    /// Always.
    pub fn weights<T>() -> Result<T> {
        let message = "its weights are broken; train it again, perhaps with a lower learning rate";
        Err(anyhow::Error::new(Error::Data(message.into())).context(Self))
    }
}

/// Memory that ran out: context of an [`Error::Environment`] that says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutOfMemory {
    #[error("out of memory")]
    OfMachine,
    #[error("out of GPU memory")]
    OfGpu,
}

impl OutOfMemory {
    /// The error, with its remedy.
    pub(crate) fn error(self, remedy: String) -> anyhow::Error {
        anyhow::Error::new(Error::Environment(remedy)).context(self)
    }
}

/// The exit code of a failed run: that of the first [`Error`] in the chain, 4 for an input or
/// output error that nothing more was said about, and 101, "a bug", for the rest.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return error.code();
        }
        if cause.is::<std::io::Error>() {
            return 4;
        }
    }
    101
}

/// A path or name as one printable line: control characters escaped, invalid UTF-8
/// replaced.
pub fn shown(path: impl AsRef<Path>) -> String {
    let mut line = String::new();
    for c in path.as_ref().to_string_lossy().chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// A path as one word of a shell.
pub fn quoted(path: impl AsRef<Path>) -> String {
    let text = shown(path);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The first few of a list on one line, and how many more there are.
pub fn some(items: impl IntoIterator<Item = String>) -> String {
    const FEW: usize = 5;
    let mut items = items.into_iter();
    let mut line = items.by_ref().take(FEW).collect::<Vec<_>>().join(", ");
    let more = items.count();
    if more > 0 {
        line.push_str(&format!(" and {more} more"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_kind_survives_context() {
        let error = Err::<(), _>(Error::Data("broken".into()))
            .context("model.safetensors")
            .unwrap_err();
        assert_eq!(exit_code(&error), 3);
        assert_eq!(format!("{error:#}"), "model.safetensors: broken");
    }

    #[test]
    fn an_unexplained_failure_is_a_bug() {
        assert_eq!(exit_code(&anyhow::anyhow!("?")), 101);
        assert_eq!(exit_code(&std::io::Error::other("disk").into()), 4);
    }

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(shown("a\nb c"), "a\\nb c");
    }
}

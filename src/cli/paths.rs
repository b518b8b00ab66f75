//! Paths that may mean a file inside of what they name.

use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::bundle;

/// A model file, or the folder of a run, whose model it then is.
pub(super) fn model() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(bundle::located)
}

/// The folder of a run, or a file in it.
pub(super) fn run() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| match path.parent() {
        Some(parent) if path.is_file() && parent == Path::new("") => ".".into(),
        Some(parent) if path.is_file() => parent.into(),
        _ => path,
    })
}

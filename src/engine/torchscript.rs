//! Writes TorchScript archives: a zip of code and pickled attributes that libtorch compiles.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::Result;

/// Pickle of an empty object of class `__torch__.Net`: protocol 2, the class, no arguments,
/// an empty state.
const EMPTY_NET: &[u8] = b"\x80\x02c__torch__\nNet\n)\x81}b.";
/// Pickle of an empty tuple.
const NO_CONSTANTS: &[u8] = b"\x80\x02).";

/// An archive of a module without attributes that has the given methods, which are written in
/// TorchScript and indented by two spaces.
pub fn archive(methods: &str) -> Result<Vec<u8>> {
    let code = format!(
        "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n{}\n",
        methods.trim_matches('\n')
    );
    let members: [(&str, &[u8]); 4] = [
        ("net/data.pkl", EMPTY_NET),
        ("net/code/__torch__.py", code.as_bytes()),
        ("net/constants.pkl", NO_CONSTANTS),
        ("net/version", b"3\n"),
    ];
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in members {
        zip.start_file(name, stored)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

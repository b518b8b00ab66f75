//! Writes zip archives as PyTorch's own are: nothing compressed, one folder, tensors aligned.

use std::io::{Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::Result;

/// PyTorch maps tensors into memory where they start at a multiple of this.
const ALIGNMENT: u16 = 64;

/// An archive in the making. The same members give the same bytes.
pub struct Archive<W: Write + Seek> {
    zip: ZipWriter<W>,
    folder: &'static str,
}

impl<W: Write + Seek> Archive<W> {
    pub fn new(sink: W, folder: &'static str) -> Self {
        Self {
            zip: ZipWriter::new(sink),
            folder,
        }
    }

    /// Begins a member; what is written to the sink is its content.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn member(&mut self, name: &str) -> Result<&mut dyn Write> {
        let stored = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .with_alignment(ALIGNMENT);
        self.zip
            .start_file(format!("{}/{name}", self.folder), stored)?;
        Ok(&mut self.zip)
    }

    /// # Errors
    /// Those of the sink.
    pub fn finish(self) -> Result<W> {
        Ok(self.zip.finish()?)
    }
}

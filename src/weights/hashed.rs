//! The SHA-256 of a file, computed while it is read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// A reader that hashes what passes through it.
pub struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashed<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    /// The hash of all that was read, in lower-case hex.
    pub fn finish(self) -> String {
        hex(&self.hash.finalize())
    }
}

/// The SHA-256 of a file in lower-case hex.
pub fn of_file(path: &Path) -> io::Result<String> {
    let mut file = Hashed::new(File::open(path)?);
    io::copy(&mut file, &mut io::sink())?;
    Ok(file.finish())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_fips_180() {
        let mut source = Hashed::new(&b"abc"[..]);
        io::copy(&mut source, &mut io::sink()).unwrap();
        assert_eq!(
            source.finish(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

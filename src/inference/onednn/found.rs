//! Where oneDNN's library may be, and whether such a file is whole.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use libloading::Library;

/// oneDNN's own name, and that of Debian's package.
const NAMES: [&str; 2] = ["libdnnl.so.3", "libdnnl.so.3.6"];

/// Where distributions keep libraries.
const SYSTEM: [&str; 5] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

/// The files by oneDNN's names, in the order in which they are tried: beside libtorch, on the loader's path,
/// in the system.
pub(super) fn files() -> Vec<PathBuf> {
    let beside = beside_libtorch();
    let path = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let path: Vec<PathBuf> = env::split_paths(&path).collect();
    let folders = beside.into_iter().chain(path);
    let folders = folders.chain(SYSTEM.map(PathBuf::from));
    let files = folders.flat_map(|folder| NAMES.map(|name| folder.join(name)));
    files.filter(|file| file.exists()).collect()
}

/// The folder of the libtorch that this process has loaded, or would load.
fn beside_libtorch() -> Option<PathBuf> {
    // SAFETY: a small part of libtorch, whose constructors run when that is loaded anyway.
    std::mem::forget(unsafe { Library::new("libc10.so") });
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut files = maps.lines().filter_map(|line| line.split_once('/'));
    let (_, file) = files.find(|(_, file)| file.ends_with("/libc10.so"))?;
    Some(Path::new("/").join(file).parent()?.to_path_buf())
}

/// Refuses what the loader would end the process for: a library that ends before its code does.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let read = || -> std::io::Result<bool> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0)?;
        let [segments, entry, count] = [32..40, 54..56, 56..58].map(|at| number(&header[at]));
        if !header.starts_with(b"\x7fELF\x02\x01") || entry < 56 {
            return Ok(false);
        }
        for at in 0..count {
            let mut segment = [0; 56];
            file.read_exact_at(&mut segment, segments.saturating_add(at * entry))?;
            let [offset, length] = [8..16, 32..40].map(|at| number(&segment[at]));
            if offset.saturating_add(length) > size {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(true)
    };
    match read() {
        Ok(true) => Ok(()),
        Ok(false) => Err("it is not a library for this machine".into()),
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err("it is truncated".into())
        }
        Err(cause) => Err(cause.to_string()),
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_cut_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.so");
        // The loaded program is one, too.
        let whole = fs::read("/proc/self/exe").unwrap();
        fs::write(&file, &whole).unwrap();
        check(&file).unwrap();
        for size in [0, 3, 63, 64, 100, 5000, whole.len() / 2] {
            fs::write(&file, &whole[..size]).unwrap();
            assert_eq!(check(&file), Err("it is truncated".into()), "{size}");
        }
        fs::write(&file, [7; 4096]).unwrap();
        assert!(check(&file).unwrap_err().contains("not a library"));
        fs::remove_file(&file).unwrap();
        assert!(check(&file).unwrap_err().contains("No such file"));
    }
}

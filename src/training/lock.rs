//! The lock of a run folder: one process at a time works in it, and the file names it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, shown};
use crate::files::has_no_locks;

/// The lock file's name. The file is removed when the lock is released.
pub(super) const NAME: &str = "run.lock";

/// A locked run folder, released on drop.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks a folder. The system releases a lock when its process ends, so the file of a killed
    /// process is reused.
    ///
    /// # Errors
    /// [`Error::Environment`] when the folder is locked by another process, which is named, or can't
    /// be written to.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let unwritten = |cause: io::Error| {
            Error::Environment(format!("can't write to {}: {cause}", shown(folder)))
        };
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(unwritten)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(folder, &mut file)),
                Err(TryLockError::Error(cause)) if has_no_locks(&cause) => {}
                Err(TryLockError::Error(cause)) => return Err(unwritten(cause).into()),
            }
            // The process that held the lock may have removed the file since it was opened.
            if is_at(&file, &path) {
                sign(&mut file).map_err(unwritten)?;
                return Ok(Self { path, _file: file });
            }
        }
    }

    /// Checks that no other process has locked a folder, and leaves it untouched.
    ///
    /// # Errors
    /// [`Error::Environment`] naming the process.
    pub fn refuse_held(folder: &Path) -> Result<()> {
        let Ok(mut file) = File::open(folder.join(NAME)) else {
            return Ok(());
        };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(held(folder, &mut file)),
            _ => Ok(()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked, so that no other process's file is removed.
        std::fs::remove_file(&self.path).ok();
    }
}

/// Writes which process holds the lock.
fn sign(file: &mut File) -> io::Result<()> {
    let host = gethostname::gethostname();
    let host = host.to_string_lossy();
    file.set_len(0)?;
    writeln!(file, "process {} on {host}", std::process::id())
}

fn held(folder: &Path, file: &mut File) -> anyhow::Error {
    let mut holder = String::new();
    file.read_to_string(&mut holder).ok();
    let holder = match holder.trim() {
        "" => "another process",
        holder => holder,
    };
    Error::Environment(format!(
        "{} is in use by {}: wait until it is done, or stop it (Ctrl-C or SIGTERM save the run) and \
         try again",
        shown(folder),
        shown(holder)
    ))
    .into()
}

/// Whether an open file is still the one at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, named) = (file.metadata().map(identity), path.metadata().map(identity));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

/// On other systems an open file can't be removed.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn a_folder_is_locked_until_the_lock_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        Lock::refuse_held(folder.path()).unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let by_me = format!("process {} on ", std::process::id());
        for refused in [
            Lock::take(folder.path()).unwrap_err(),
            Lock::refuse_held(folder.path()).unwrap_err(),
        ] {
            assert_eq!(exit_code(&refused), 4);
            assert!(refused.to_string().contains(&by_me), "{refused}");
        }
        drop(lock);
        assert!(!folder.path().join(NAME).exists());
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn the_lock_file_of_a_killed_process_is_reused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "process 1 on a host\nmore").unwrap();
        Lock::refuse_held(folder.path()).unwrap();
        let _lock = Lock::take(folder.path()).unwrap();
        let signed = std::fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(signed.lines().count(), 1, "{signed}");
        assert!(!signed.contains("process 1 on a host"), "{signed}");
    }

    #[test]
    fn of_many_at_once_one_gets_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        let enter = || {
            for _ in 0..200 {
                if let Ok(lock) = Lock::take(folder.path()) {
                    let others = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    assert_eq!(others, 0);
                    std::thread::yield_now();
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(lock);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(enter);
            }
        });
    }
}

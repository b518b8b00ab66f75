//! Files that are either whole or not there: temporary name, sync, rename.

mod folder;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use etcetera::BaseStrategy;
use tempfile::NamedTempFile;

use crate::error::{Error, Result, shown};
pub(crate) use folder::{Layout, check_folder_replaceable, read_folder, write_folder_checked};

const PREFIX: &str = ".flowers-";
const SUFFIX: &str = ".part";

/// Writes a file through `fill` so that `path` holds the old content or the whole new one,
/// whatever happens in between. Replaces a file that is there.
///
/// # Errors
/// [`Error::Environment`] when the folder can't be written to or the disk is full; the
/// temporary file is removed.
pub(crate) fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let is_device = path
        .metadata()
        .is_ok_and(|target| !target.is_file() && !target.is_dir());
    let written = if is_device {
        // A pipe or device is written to; replacing it would destroy it.
        File::create(path).and_then(|mut sink| fill(&mut sink))
    } else {
        draft(path, fill).and_then(|part| persist(part, path))
    };
    written.map_err(|cause| unwritten(path, &cause))
}

/// As [`write_atomically`], but the new file only takes its name when `check`, which is given
/// where it is until then, agrees. The content is not in memory any more by then. Without `force`, a file
/// that has appeared meanwhile stays.
///
/// # Errors
/// Those of [`write_atomically`], and what `check` says; no file is left then.
pub(crate) fn write_checked<T>(
    path: &Path,
    content: Vec<u8>,
    force: bool,
    check: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let part = draft(path, |sink| sink.write_all(&content));
    let part = part.map_err(|cause| unwritten(path, &cause))?;
    drop(content);
    let checked = check(part.path())?;
    let persisted = match force {
        true => persist(part, path),
        false => {
            let persisted = part.persist_noclobber(path);
            persisted.map(drop).map_err(|failed| failed.error)
        }
    };
    persisted.map_err(|cause| unwritten(path, &cause))?;
    sync_folder(folder_of(path));
    Ok(checked)
}

fn unwritten(path: &Path, cause: &io::Error) -> anyhow::Error {
    let folder = folder_of(path);
    let why = match folder.symlink_metadata() {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            format!("there is no folder {}, create it first", shown(folder))
        }
        _ => cause.to_string(),
    };
    Error::Environment(format!("can't write {}: {why}", shown(path))).into()
}

/// The whole content under a temporary name beside `path`.
fn draft(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut part = builder.tempfile_in(folder_of(path))?;
    {
        let mut writer = BufWriter::with_capacity(1 << 20, part.as_file_mut());
        fill(&mut writer)?;
        writer.flush()?;
    }
    part.as_file().sync_all()?;
    Ok(part)
}

fn persist(part: NamedTempFile, path: &Path) -> io::Result<()> {
    part.persist(path).map_err(|failed| failed.error)?;
    sync_folder(folder_of(path));
    Ok(())
}

/// Lets a rename survive a power cut, where the folder may be listed and the file system can do it.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
}

/// Removes the unfinished files that killed processes left in a folder.
pub(crate) fn remove_parts(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_part(&entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// Whether a file of this name is an unfinished one.
pub(crate) fn is_part(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Whether a file can be written later: its folder is there and takes new files.
///
/// # Errors
/// [`Error::Environment`] naming the file and the reason.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let probe = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempfile_in(folder_of(path));
    probe.map(drop).map_err(|cause| unwritten(path, &cause))
}

/// Whether a lock failed because the file system has none, as some network ones.
pub(crate) fn has_no_locks(cause: &io::Error) -> bool {
    #[cfg(unix)]
    if cause.raw_os_error() == Some(libc::ENOLCK) {
        return true;
    }
    cause.kind() == io::ErrorKind::Unsupported
}

/// Refuses an output that the user did not ask to replace, and the model that it is made of.
///
/// # Errors
/// [`Error::Usage`], and those of [`check_writable`].
pub(crate) fn check_replaceable(out: &Path, model: &Path, force: bool) -> Result<()> {
    let refused = |why: &str| Err(Error::Usage(format!("{} {why}", shown(out))).into());
    let same = out.canonicalize().ok().zip(model.canonicalize().ok());
    if out.exists() && !out.is_file() {
        return refused("exists and is not a file: choose another --out");
    }
    if same.is_some_and(|(out, model)| out == model) {
        return refused("is the model itself: choose another --out");
    }
    if !force {
        check_new(out, "replace it with --force")?;
    }
    check_writable(out)
}

/// Refuses an output that exists; `otherwise` is what the user can do besides choosing another one.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn check_new(out: &Path, otherwise: &str) -> Result<()> {
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    let out = shown(out);
    let message = format!("{out} already exists: choose another --out, or {otherwise}");
    Err(Error::Usage(message).into())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The folder `name` for what can be made or downloaded again: in the one that `FLOWERS_CACHE` names,
/// else in `flowers` in the platform's cache folder; `None` where there is none.
pub(crate) fn cache_folder(name: &str) -> Option<PathBuf> {
    let base = match std::env::var_os("FLOWERS_CACHE").filter(|folder| !folder.is_empty()) {
        Some(folder) => folder.into(),
        None => {
            let platform = etcetera::choose_base_strategy().ok()?;
            platform.cache_dir().join("flowers")
        }
    };
    Some(base.join(name))
}

/// Reads a file that the user named.
///
/// # Errors
/// [`Error::Data`] naming the file and the reason.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|cause| Error::Data(format!("can't read {}: {cause}", shown(path))).into())
}

/// Makes a folder and its parents.
///
/// # Errors
/// [`Error::Environment`] naming the folder and the reason.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .map_err(|cause| Error::Environment(format!("can't create {}: {cause}", shown(path))))
        .context("the output folder must be writable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        write_atomically(&path, |sink| sink.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |sink| {
            sink.write_all(b"ne")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(crate::error::exit_code(&failed.unwrap_err()), 4);
        let refused = write_checked(&path, b"new".to_vec(), true, |part| {
            assert_eq!(std::fs::read(part).unwrap(), b"new");
            Err::<(), _>(Error::Gate("it is wrong".into()).into())
        });
        assert_eq!(crate::error::exit_code(&refused.unwrap_err()), 1);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let late = write_checked(&path, b"new".to_vec(), false, |_| Ok(()));
        assert!(late.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_output_is_replaced_when_asked_but_never_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let [model, out] = ["model", "out"].map(|name| folder.path().join(name));
        std::fs::write(&model, b"model").unwrap();
        let refused = |out: &Path, force| {
            let refused = check_replaceable(out, &model, force).unwrap_err();
            assert_eq!(crate::error::exit_code(&refused), 2);
            refused.to_string()
        };
        check_replaceable(&out, &model, false).unwrap();
        std::fs::write(&out, b"other").unwrap();
        assert!(refused(&out, false).contains("already exists"));
        check_replaceable(&out, &model, true).unwrap();
        assert!(refused(&model, true).contains("is the model itself"));
        assert!(refused(folder.path(), true).contains("is not a file"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_system_without_locks_is_told_from_other_failures() {
        let failed = io::Error::from_raw_os_error;
        assert!(
            [libc::ENOLCK, libc::EOPNOTSUPP, libc::ENOSYS]
                .map(failed)
                .iter()
                .all(has_no_locks)
        );
        assert!(!has_no_locks(&failed(libc::EIO)));
    }
}

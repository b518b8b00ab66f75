//! Folders of files that are either whole or not there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::TempDir;
use walkdir::WalkDir;

use super::{PREFIX, SUFFIX, check_new, check_writable, folder_of, read, unwritten};
use crate::error::{Error, Result, shown};

/// Writes a folder of files, by their paths in it; it only takes its name when `check`, which is given
/// where it is until then, agrees. A folder that is there is replaced.
///
/// # Errors
/// [`Error::Environment`] when it can't be written, and what `check` says; nothing is left then.
pub(crate) fn write_folder_checked<T>(
    path: &Path,
    members: BTreeMap<String, Vec<u8>>,
    check: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let part = draft(path, members).map_err(|cause| unwritten(path, &cause))?;
    let checked = check(part.path())?;
    put_in_place(part, path).map_err(|cause| unwritten(path, &cause))?;
    Ok(checked)
}

fn temporary(path: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
    builder.tempdir_in(folder_of(path))
}

/// All files in a folder with a temporary name beside `path`.
fn draft(path: &Path, members: BTreeMap<String, Vec<u8>>) -> io::Result<TempDir> {
    let part = temporary(path)?;
    for (name, content) in members {
        let place = part.path().join(name);
        fs::create_dir_all(folder_of(&place))?;
        let mut file = File::create_new(place)?;
        file.write_all(&content)?;
        file.sync_all()?;
    }
    Ok(part)
}

fn put_in_place(part: TempDir, path: &Path) -> io::Result<()> {
    let replaced = match path.exists() {
        true => {
            let replaced = temporary(path)?;
            fs::rename(path, replaced.path().join("replaced"))?;
            Some(replaced)
        }
        false => None,
    };
    if let Err(cause) = fs::rename(part.path(), path) {
        if let Some(replaced) = replaced {
            fs::rename(replaced.path().join("replaced"), path)?;
        }
        return Err(cause);
    }
    // It has another name now: there is nothing to remove.
    let _ = part.keep();
    #[cfg(unix)]
    File::open(folder_of(path))?.sync_all().ok();
    Ok(())
}

/// The files of a folder, by their paths in it.
///
/// # Errors
/// [`Error::Data`] naming what can't be read.
pub(crate) fn read_folder(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut members = BTreeMap::new();
    for entry in WalkDir::new(path) {
        let entry = entry.map_err(|cause| Error::Data(format!("can't read {cause}")))?;
        if !entry.file_type().is_dir() {
            members.insert(name_in(path, entry.path()), read(entry.path())?);
        }
    }
    Ok(members)
}

fn name_in(folder: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let parts = inside.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// Refuses an output folder that the user did not ask to replace, or that holds more than `members`,
/// which are paths in it.
///
/// # Errors
/// [`Error::Usage`], and [`Error::Environment`] when its parent can't be written to.
pub(crate) fn check_folder_replaceable(out: &Path, members: &[&str], force: bool) -> Result<()> {
    let refused = |why: String| Err(Error::Usage(format!("{} {why}", shown(out))).into());
    if !force {
        check_new(out, "replace it with --force")?;
    }
    if out.exists() && !out.is_dir() {
        return refused("exists and is not a folder: choose another --out".into());
    }
    for entry in WalkDir::new(out).into_iter().flatten() {
        let name = name_in(out, entry.path());
        if !entry.file_type().is_dir() && !members.contains(&&*name) {
            let name = shown(name);
            return refused(format!(
                "holds {name}, which is not of an export: remove it, or choose another --out"
            ));
        }
    }
    check_writable(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(content: &str) -> BTreeMap<String, Vec<u8>> {
        let file = |name: &str| (name.to_owned(), content.into());
        BTreeMap::from([file("1/model.pb"), file("labels.txt")])
    }

    #[test]
    fn a_folder_is_whole_or_not_there() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("model");
        let write = |content: &str, agrees: bool| {
            write_folder_checked(&path, members(content), |part| {
                assert_eq!(read_folder(part).unwrap(), members(content));
                match agrees {
                    true => Ok(()),
                    false => Err(Error::Gate("it is wrong".into()).into()),
                }
            })
        };
        assert!(write("new", false).is_err());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        write("old", true).unwrap();
        assert!(write("new", false).is_err());
        assert_eq!(read_folder(&path).unwrap(), members("old"));
        write("new", true).unwrap();
        assert_eq!(read_folder(&path).unwrap(), members("new"));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_an_export_wrote_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("model");
        let check = |force| check_folder_replaceable(&path, &["1/model.pb", "labels.txt"], force);
        check(false).unwrap();
        write_folder_checked(&path, members("old"), |_| Ok(())).unwrap();
        assert!(check(false).unwrap_err().to_string().contains("--force"));
        check(true).unwrap();
        fs::write(path.join("1/photo.jpg"), b"mine").unwrap();
        let refused = check(true).unwrap_err().to_string();
        assert!(refused.contains("1/photo.jpg"), "{refused}");
        let file = parent.path().join("file");
        fs::write(&file, b"mine").unwrap();
        let refused = check_folder_replaceable(&file, &[], true).unwrap_err();
        assert!(refused.to_string().contains("is not a folder"));
    }
}

//! Folders of files that are either whole or not there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::TempDir;
use walkdir::WalkDir;

use super::{PREFIX, SUFFIX, check_new, check_writable, folder_of, read, sync_folder, unwritten};
use crate::error::{Error, Result, shown};

/// What a folder consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Paths of the files in it, with `/` between the parts.
    pub members: &'static [&'static str],
    /// Names of entries that others make, and that stay when it is replaced.
    pub kept: &'static [&'static str],
}

/// Writes a folder of files, by their paths in it; it only takes its name when `check`, which is given
/// where it is until then, agrees. With `force`, a folder of the same layout is replaced; without, and if
/// it holds anything else, what has appeared meanwhile stays.
///
/// # Errors
/// [`Error::Environment`] when it can't be written, [`Error::Usage`] for what must not be replaced, and
/// what `check` says; nothing is left then.
pub(crate) fn write_folder_checked<T>(
    path: &Path,
    members: BTreeMap<String, Vec<u8>>,
    (layout, force): (Layout, bool),
    check: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let part = draft(path, members).map_err(|cause| unwritten(path, &cause))?;
    let checked = check(part.path())?;
    match force && path.symlink_metadata().is_ok() {
        true => replace(part, path, layout)?,
        false => take_name(part, path).map_err(|cause| unwritten(path, &cause))?,
    }
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
        let mut file = File::create_new(&place)?;
        file.write_all(&content)?;
        file.sync_all()?;
    }
    for entry in WalkDir::new(part.path()).contents_first(true) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            sync_folder(entry.path());
        }
    }
    Ok(part)
}

/// Renames a folder, unless something else has the name.
fn take_name(part: TempDir, path: &Path) -> io::Result<()> {
    fs::rename(part.path(), path)?;
    // It has another name now: there is nothing to remove.
    let _ = part.keep();
    sync_folder(folder_of(path));
    Ok(())
}

/// Puts a folder in the place of another, which is looked at once more when nobody finds it any longer.
fn replace(part: TempDir, path: &Path, layout: Layout) -> Result<()> {
    let failed = |cause: io::Error| unwritten(path, &cause);
    let aside = temporary(path).map_err(failed)?;
    let old = aside.path().join("replaced");
    fs::rename(path, &old).map_err(failed)?;
    let kept = |from: &Path, to: &Path| {
        let mut names = layout.kept.iter().filter(|name| from.join(name).exists());
        names.try_for_each(|name| fs::rename(from.join(name), to.join(name)))
    };
    let new = part.path().to_owned();
    let replaced = check_holds(&old, path, layout)
        .and_then(|()| kept(&old, &new).map_err(failed))
        .and_then(|()| take_name(part, path).map_err(failed));
    let Err(cause) = replaced else {
        return Ok(());
    };
    kept(&new, &old).ok();
    match fs::rename(&old, path) {
        Ok(()) => Err(cause),
        Err(_) => {
            let place = shown(aside.keep().join("replaced"));
            Err(cause.context(format!("what was there is now in {place}")))
        }
    }
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

/// Refuses an output folder that the user did not ask to replace, or that holds anything else than its
/// layout says.
///
/// # Errors
/// [`Error::Usage`], and [`Error::Environment`] when it can't be read or its parent can't be written to.
pub(crate) fn check_folder_replaceable(out: &Path, layout: Layout, force: bool) -> Result<()> {
    let refused = |why: &str| Err(Error::Usage(format!("{} {why}", shown(out))).into());
    if !force {
        check_new(out, "replace it with --force")?;
    }
    if out.file_name().is_none() {
        return refused("is not a name for a new folder: choose another --out");
    }
    let Ok(metadata) = out.symlink_metadata() else {
        return check_writable(out);
    };
    if metadata.is_symlink() {
        return refused("is a symbolic link: choose another --out, or what it points to");
    }
    if !metadata.is_dir() {
        return refused("exists and is not a folder: choose another --out");
    }
    check_holds(out, out, layout)?;
    check_writable(out)
}

/// Refuses a folder, which is called `name`, that holds anything but its layout.
fn check_holds(folder: &Path, name: &Path, layout: Layout) -> Result<()> {
    let is_kept = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 1 && layout.kept.contains(&&*name)
    };
    let entries = WalkDir::new(folder).min_depth(1).into_iter();
    for entry in entries.filter_entry(|entry| !is_kept(entry)) {
        let entry = entry.map_err(|cause| unwritten(name, &cause.into()))?;
        let inside = name_in(folder, entry.path());
        let is_own = match entry.file_type().is_dir() {
            true => {
                let start = format!("{inside}/");
                layout
                    .members
                    .iter()
                    .any(|member| member.starts_with(&start))
            }
            false => layout.members.contains(&&*inside),
        };
        if !is_own {
            let message = format!(
                "{} holds {}, which is not part of an export: remove it, or choose another --out",
                shown(name),
                shown(inside)
            );
            return Err(Error::Usage(message).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        members: &["1/model.pb", "labels.txt"],
        kept: &["packages"],
    };

    fn members(content: &str) -> BTreeMap<String, Vec<u8>> {
        let file = |name: &&str| ((*name).to_owned(), content.into());
        LAYOUT.members.iter().map(file).collect()
    }

    fn write(path: &Path, content: &str, force: bool) -> Result<()> {
        write_folder_checked(path, members(content), (LAYOUT, force), |_| Ok(()))
    }

    #[test]
    fn a_folder_is_whole_or_not_there() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("model");
        let refused = write_folder_checked(&path, members("new"), (LAYOUT, true), |part| {
            assert_eq!(read_folder(part).unwrap(), members("new"));
            Err::<(), _>(Error::Gate("it is wrong".into()).into())
        });
        assert!(refused.is_err());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        write(&path, "old", false).unwrap();
        assert!(write(&path, "new", false).is_err());
        assert_eq!(read_folder(&path).unwrap(), members("old"));
        write(&path, "new", true).unwrap();
        assert_eq!(read_folder(&path).unwrap(), members("new"));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_appears_meanwhile_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("model");
        for force in [false, true] {
            let late = write_folder_checked(&path, members("new"), (LAYOUT, force), |_| {
                fs::create_dir_all(&path)?;
                fs::write(path.join("photo.jpg"), b"mine")?;
                Ok(())
            });
            assert!(late.is_err(), "{force}");
            assert_eq!(fs::read(path.join("photo.jpg")).unwrap(), b"mine");
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn only_what_an_export_wrote_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("model");
        let check = |force| check_folder_replaceable(&path, LAYOUT, force);
        let refused = || check(true).unwrap_err().to_string();
        check(false).unwrap();
        write(&path, "old", false).unwrap();
        assert!(check(false).unwrap_err().to_string().contains("--force"));
        fs::create_dir(path.join("packages")).unwrap();
        fs::write(path.join("packages/runtime.js"), b"theirs").unwrap();
        check(true).unwrap();
        write(&path, "new", true).unwrap();
        assert_eq!(
            fs::read(path.join("packages/runtime.js")).unwrap(),
            b"theirs"
        );
        fs::create_dir(path.join("empty")).unwrap();
        assert!(refused().contains("empty"));
        fs::remove_dir(path.join("empty")).unwrap();
        fs::write(path.join("1/photo.jpg"), b"mine").unwrap();
        assert!(refused().contains("1/photo.jpg"), "{}", refused());
        let file = parent.path().join("file");
        fs::write(&file, b"mine").unwrap();
        for (out, why) in [(&*file, "is not a folder"), (Path::new("."), "not a name")] {
            let refused = check_folder_replaceable(out, LAYOUT, true).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        #[cfg(unix)]
        {
            let link = parent.path().join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            let refused = check_folder_replaceable(&link, LAYOUT, true).unwrap_err();
            assert!(refused.to_string().contains("symbolic link"), "{refused}");
        }
    }
}

//! The folder that several runs are in.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result, shown};
use crate::files;
use crate::training::Lock;

/// Creates the folder unless it is there, locks it, and removes what a killed process left unfinished.
/// `purpose` is what it is the folder of, `is_own` knows what that writes into it.
///
/// # Errors
/// [`Error::Usage`] when it is a file or holds something else, [`Error::Environment`] when it is in use
/// by another process or can't be written to.
pub(crate) fn open(out: &Path, purpose: &str, is_own: impl Fn(&str) -> bool) -> Result<Lock> {
    if out.is_file() {
        let message = format!("{} is a file: choose a folder", shown(out));
        return Err(Error::Usage(message).into());
    }
    let is_known = |name: &str| name == LOCK || files::is_part(name) || is_own(name);
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    if let Some(other) = names.find(|name| !is_known(name)) {
        let message = format!(
            "{} holds something else than {purpose}, e.g. {}: choose another folder",
            shown(out),
            shown(&other)
        );
        return Err(Error::Usage(message).into());
    }
    files::create_folder(out)?;
    let lock = Lock::take(out)?;
    files::remove_parts(out);
    Ok(lock)
}

const LOCK: &str = "run.lock";

/// Removes what a run left that was stopped before its first checkpoint.
///
/// # Errors
/// [`Error::Environment`] when it can't be removed.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            let message = format!("can't remove {}: {cause}", shown(folder));
            Err(Error::Environment(message).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn only_a_folder_of_the_same_purpose_is_opened_again() {
        let open = |out: &Path| {
            let is_own = |name: &str| ["resnet18", "compare.csv"].contains(&name);
            super::open(out, "a comparison", is_own)
        };
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        drop(open(&out).unwrap());
        fs::create_dir(out.join("resnet18")).unwrap();
        fs::write(out.join("compare.csv"), "").unwrap();
        fs::write(out.join(".flowers-abc.part"), "").unwrap();
        let lock = open(&out).unwrap();
        assert!(!out.join(".flowers-abc.part").exists());
        assert_eq!(exit_code(&open(&out).unwrap_err()), 4);
        drop(lock);
        fs::write(out.join("model.safetensors"), "").unwrap();
        let refused = open(&out).unwrap_err();
        assert_eq!(exit_code(&refused), 2);
        assert!(refused.to_string().contains("model.safetensors"));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(exit_code(&open(&file).unwrap_err()), 2);
    }
}

//! The folder of a comparison.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result, shown};
use crate::files;
use crate::models::ARCHITECTURES;
use crate::training::Lock;

/// What a comparison writes besides the runs of its candidates.
const FILES: [&str; 6] = [
    "run.lock",
    "split.json",
    "compare.json",
    "compare.csv",
    "compare.png",
    "compare.html",
];

/// Creates the folder unless it is there, locks it, and removes what a killed process left unfinished.
///
/// # Errors
/// [`Error::Usage`] when it is a file or holds something else than a comparison,
/// [`Error::Environment`] when it is in use by another process or can't be written to.
pub(crate) fn open(out: &Path) -> Result<Lock> {
    if out.is_file() {
        let message = format!("{} is a file: choose a folder", shown(out));
        return Err(Error::Usage(message).into());
    }
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    if let Some(other) = names.find(|name| !is_own(name)) {
        let message = format!(
            "{} holds something else than a comparison, e.g. {}: choose another folder",
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

fn is_own(name: &str) -> bool {
    let is_candidate = ARCHITECTURES.iter().any(|known| known.name == name);
    is_candidate || FILES.contains(&name) || files::is_part(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn only_the_folder_of_a_comparison_is_opened_again() {
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

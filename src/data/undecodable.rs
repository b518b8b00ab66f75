//! Photos that turn out to be undecodable when they are loaded: reported, counted, and tolerated up
//! to a limit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::photo::Unreadable;
use crate::error::{Error, Result, shown};

/// The undecodable photos that the loaders of a run have found, each counted once.
///
/// A scan has found them before if it decoded the photos; see [`Depth`](super::Depth).
pub struct Undecodable {
    allowed: usize,
    tell: Box<dyn Fn(&Unreadable) + Send + Sync>,
    /// Reasons by path.
    found: Mutex<BTreeMap<PathBuf, String>>,
}

impl Undecodable {
    /// Tolerates `allowed` photos; `tell` is called once for each.
    pub fn allowing(allowed: usize, tell: impl Fn(&Unreadable) + Send + Sync + 'static) -> Self {
        Self {
            allowed,
            tell: Box::new(tell),
            found: Mutex::default(),
        }
    }

    /// Counts a photo.
    ///
    /// # Errors
    /// [`Error::Data`] naming it when it is one too many.
    pub(super) fn add(&self, photo: Unreadable) -> Result<()> {
        let mut found = self.lock();
        if found.contains_key(&photo.path) {
            return Ok(());
        }
        if found.len() >= self.allowed {
            let message = format!(
                "{}: {}; that exceeds the {} undecodable photos that are tolerated: remove \
                 them (`flowers data check` lists them), or raise --max-bad",
                shown(&photo.path),
                photo.reason,
                self.allowed
            );
            return Err(Error::Data(message).into());
        }
        (self.tell)(&photo);
        found.insert(photo.path, photo.reason);
        Ok(())
    }

    pub fn contains(&self, path: &Path) -> bool {
        self.lock().contains_key(path)
    }

    /// Those met so far, in the order of their paths.
    pub fn found(&self) -> Vec<Unreadable> {
        let found = self.lock().clone().into_iter();
        found
            .map(|(path, reason)| Unreadable { path, reason })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Undecodable {
    /// Tolerates none.
    fn default() -> Self {
        Self::allowing(0, |_| {})
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_photo_counts_once_and_one_too_many_is_an_error() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let tell = move |photo: &Unreadable| sink.lock().unwrap().push(photo.path.clone());
        let undecodable = Undecodable::allowing(2, tell);
        let photo = |name: &str| Unreadable {
            path: name.into(),
            reason: "broken".into(),
        };
        for name in ["b", "a", "b", "a"] {
            undecodable.add(photo(name)).unwrap();
        }
        let error = undecodable.add(photo("c")).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 3);
        let words = "c: broken; that exceeds the 2 undecodable photos that";
        assert!(error.to_string().starts_with(words), "{error}");
        assert_eq!(undecodable.found(), [photo("a"), photo("b")]);
        assert_eq!(*told.lock().unwrap(), [PathBuf::from("b"), "a".into()]);
        assert!(undecodable.contains(Path::new("a")) && !undecodable.contains(Path::new("c")));
    }
}

//! What systems leave in folders of photos, and nobody means as data.

use std::ffi::OsStr;

/// Names of files and folders, in lower case, that file managers, archivers, version control and
/// network storage make. Thumbnails of a Synology are in `@eaDir`, deleted photos in `#recycle`.
const LEFTOVERS: [&str; 18] = [
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "__pycache__",
    "@eadir",
    "@tmp",
    "@recycle",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "lost+found",
    "system volume information",
    "network trash folder",
    "temporary items",
];

/// Whether a name is hidden (it begins with a dot) or one that a system leaves behind.
pub fn is_hidden(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is = |known: &&str| name.eq_ignore_ascii_case(known);
    name.starts_with('.') || LEFTOVERS.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_told_from_classes() {
        for name in [".git", "@eaDir", "$RECYCLE.BIN", "Thumbs.db", "Lost+Found"] {
            assert!(is_hidden(OsStr::new(name)), "{name}");
        }
        for name in ["rose", "@home", "#1", "$5", "thumbs", "recycled glass"] {
            assert!(!is_hidden(OsStr::new(name)), "{name}");
        }
    }
}

//! To be written.
pub enum Source {
    Url {
        url: &'static str,
        sha256: &'static str,
    },
    Package {
        package: &'static str,
        file: &'static str,
        sha256: &'static str,
    },
}

//! How long work reports its progress, to listeners that can't change its result.

/// Something that shows progress. Implementations are called from several threads.
pub trait Progress: Sync {
    /// A piece of work of `total` units begins, e.g. `("checking photos", 720)`.
    fn begin(&self, what: &str, total: u64);
    fn advance(&self, units: u64);
    fn finish(&self);
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: u64) {}
    fn advance(&self, _units: u64) {}
    fn finish(&self) {}
}

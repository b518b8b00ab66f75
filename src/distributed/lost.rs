//! Errors of a process that ends because of another.

/// Context of an error that another process of the group is the cause of, and tells of if it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the run ended")]
pub(crate) struct Lost;

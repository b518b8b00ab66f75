//! Photos as batches, decoded and transformed ahead by worker threads.

/// A batch as the network takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// float32 planes (N, 3, size, size), normalised.
    pub pixels: Vec<f32>,
    /// The classes' ids (N).
    pub labels: Vec<i64>,
    /// Side of the square pictures in pixels.
    pub size: usize,
    /// The photos' places in the list that the loader was given (N).
    pub indices: Vec<usize>,
}

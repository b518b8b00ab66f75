//! Batches in slices, each computed by one thread.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::graph::InferenceGraph;
use crate::inference::Arithmetic;

/// Sizes of slices, the largest first.
const SIZES: [usize; 3] = [4, 2, 1];

/// How many images make a slice at most. The weights are read once for a slice, so that four images are faster
/// than one, and more are no faster; but where float32 feature maps are larger than the weights, as in
/// networks of depthwise convolutions, those of one image stay longer in a core's cache.
pub(super) fn largest(network: &InferenceGraph, arithmetic: Arithmetic) -> usize {
    let nodes = network.graph().nodes().iter();
    let values: usize = nodes.map(|node| node.shape.iter().product::<usize>()).sum();
    match arithmetic {
        Arithmetic::Float32 if 4 * values > network.byte_len() => 1,
        _ => SIZES[0],
    }
}

/// The sizes of the slices of a batch, the largest first, so that every thread has one if there are enough
/// images.
pub(super) fn cut(images: usize, threads: usize, largest: usize) -> Vec<usize> {
    let share = images.div_ceil(threads.max(1)).clamp(1, largest);
    let mut rest = images;
    let mut slices = Vec::new();
    for size in SIZES.into_iter().filter(|&size| size <= share) {
        slices.extend(std::iter::repeat_n(size, rest / size));
        rest %= size;
    }
    slices
}

/// Threads besides the calling ones, started when they are needed.
#[derive(Default)]
pub(super) struct Threads(Mutex<Option<(usize, Arc<ThreadPool>)>>);

impl Threads {
    /// Does work for each item on so many threads, the calling one among them; each other one runs
    /// `set_up` when it is started.
    ///
    /// # Errors
    /// The first error, and [`Error::Environment`] when the system refuses a thread.
    pub(super) fn each<T: Send>(
        &self,
        threads: usize,
        items: Vec<T>,
        set_up: impl Fn() + Send + Sync + Clone + 'static,
        work: impl Fn(T) -> Result<()> + Sync,
    ) -> Result<()> {
        let helpers = threads.min(items.len()).saturating_sub(1);
        let queue = Mutex::new(items.into_iter());
        let first_error = Mutex::new(None);
        let run = || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(item) = next else { return };
                if let Err(cause) = work(item) {
                    let mut first = first_error.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(cause);
                }
            }
        };
        match helpers {
            0 => run(),
            helpers => self.pool(threads - 1, set_up)?.in_place_scope(|scope| {
                for _ in 0..helpers {
                    scope.spawn(|_| run());
                }
                run();
            }),
        }
        let first = first_error.into_inner();
        match first.unwrap_or_else(PoisonError::into_inner) {
            Some(cause) => Err(cause),
            None => Ok(()),
        }
    }

    fn pool(
        &self,
        threads: usize,
        set_up: impl Fn() + Send + Sync + 'static,
    ) -> Result<Arc<ThreadPool>> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((size, pool)) = &*pool
            && *size == threads
        {
            return Ok(Arc::clone(pool));
        }
        let builder = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|at| format!("slices-{at}"))
            .start_handler(move |_| set_up());
        let made = builder
            .build()
            .map_err(|cause| Error::Environment(format!("can't start a thread: {cause}")))?;
        let made = Arc::new(made);
        *pool = Some((threads, Arc::clone(&made)));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_a_slice() {
        assert_eq!(cut(1, 2, 4), [1]);
        assert_eq!(cut(2, 2, 4), [1, 1]);
        assert_eq!(cut(3, 2, 4), [2, 1]);
        assert_eq!(cut(7, 2, 4), [4, 2, 1]);
        assert_eq!(cut(32, 2, 4), [4; 8]);
        assert_eq!(cut(5, 1, 4), [4, 1]);
        assert_eq!(cut(8, 64, 4), [1; 8]);
        assert_eq!(cut(3, 1, 1), [1; 3]);
    }
}

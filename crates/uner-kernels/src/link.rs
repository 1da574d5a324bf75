//! Collectives between the devices of one process, without the host. They start after the work that
//! computes their input, and run beside later work. Wait for a result before you use it.

use burn::tensor::Tensor;

/// The connection of a process's devices, one per rank. The rank `local_rank` calls from its own
/// thread. All ranks make the same calls in the same order, with equally many vectors cut at the
/// same edges.
pub trait Collective: Send + Sync + std::fmt::Debug {
    /// Starts a reduce-scatter: adds up each vector, `[n]`, over the ranks, in its type. A rank
    /// receives its own part of each sum.
    fn reduce_scatter(&self, local_rank: usize, values: Vec<Cut>) -> Pending;
    /// Starts an all-gather of each vector, `[n]`: a rank sends its own part and receives the
    /// whole.
    fn all_gather(&self, local_rank: usize, parts: Vec<Cut>) -> Pending;
    /// Aborts the collectives in flight, whose results are then undefined: a rank has failed, and
    /// others may be waiting for it. Later calls fail.
    fn abort(&self);
}

/// A vector that is divided into one part per rank.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The whole, `[n]`, or the part of one rank.
    pub values: Tensor<1>,
    /// Where the parts begin, and where the last one ends: `[0, …, n]`. A part may be empty.
    pub edges: Vec<usize>,
}

/// The future result of a collective. Dropping it discards the result and releases its memory.
#[must_use = "a result has to be waited for"]
pub struct Pending(Box<dyn FnOnce() -> Vec<Tensor<1>> + Send>);

impl Pending {
    /// Wraps `wait`, which returns the results.
    pub fn new(wait: impl FnOnce() -> Vec<Tensor<1>> + Send + 'static) -> Self {
        Self(Box::new(wait))
    }

    /// Wraps results that are already complete.
    pub fn done(results: Vec<Tensor<1>>) -> Self {
        Self::new(move || results)
    }

    /// Returns the results. On a GPU the host does not wait: later work is ordered after them.
    pub fn wait(self) -> Vec<Tensor<1>> {
        (self.0)()
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Pending").finish_non_exhaustive()
    }
}

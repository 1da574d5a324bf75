//! Collectives between the devices of one process: what their memory holds is added up or exchanged
//! without the host. They start behind what computes their input and run beside what comes after;
//! whoever uses a result waits for it first.

use burn::tensor::Tensor;

use crate::device::DeviceName;

/// What connects the devices of a process, one for each rank of it. The rank in `seat` calls from
/// its own thread, and all of them make the same calls in the same order, of as many vectors that
/// are cut alike.
pub trait Link: Send + Sync + std::fmt::Debug {
    /// Starts to add up each vector, `[n]`, over the ranks, in its type. A rank gets its own part
    /// of each sum.
    fn reduce_scatter(&self, seat: usize, values: Vec<Cut>) -> Pending;
    /// Starts to put each vector, `[n]`, together: a rank brings its own part and gets the whole.
    fn all_gather(&self, seat: usize, parts: Vec<Cut>) -> Pending;
    /// Ends what is under way, with whatever results: a rank has failed that the others may be
    /// waiting for. Later calls fail.
    fn abort(&self);
}

/// A vector that is cut into a part for each rank.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The whole, `[n]`, or the part of one rank.
    pub values: Tensor<1>,
    /// Where the parts begin, and where the last one ends: `[0, …, n]`. A part may be empty.
    pub edges: Vec<usize>,
}

/// What a collective will give. Whoever lets go of it without waiting gets nothing, and nothing is
/// left behind.
#[must_use = "a result has to be waited for"]
pub struct Pending(Box<dyn FnOnce() -> Vec<Tensor<1>> + Send>);

impl Pending {
    /// What `wait` returns.
    pub fn new(wait: impl FnOnce() -> Vec<Tensor<1>> + Send + 'static) -> Self {
        Self(Box::new(wait))
    }

    /// Results that are there already.
    pub fn done(results: Vec<Tensor<1>>) -> Self {
        Self::new(move || results)
    }

    /// The results. On a GPU the host goes on: what is submitted from now on comes behind them.
    pub fn wait(self) -> Vec<Tensor<1>> {
        (self.0)()
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Pending").finish_non_exhaustive()
    }
}

/// Connects different CUDA devices by NVIDIA's NCCL, in the order of their ranks.
///
/// # Errors
/// When the library is missing or refuses them.
#[cfg(feature = "cuda")]
pub fn nccl(devices: &[DeviceName]) -> Result<Box<dyn Link>, String> {
    Ok(Box::new(crate::cuda::nccl::Nccl::new(devices)?))
}

/// As with CUDA, which this program was built without.
///
/// # Errors
/// Always.
#[cfg(not(feature = "cuda"))]
pub fn nccl(_devices: &[DeviceName]) -> Result<Box<dyn Link>, String> {
    Err("this program was built without CUDA".to_owned())
}

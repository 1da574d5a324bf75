//! The sum of squares of a gradient, accumulated in f32 whatever type it is stored in: what clipping by the global norm adds up
//! over parameters (Pascanu et al. 2013).

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::profile::{Pass, timed};

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait SquaredNormOps: Backend {
    /// See [`squared_norm`].
    fn squared_norm(values: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// `Σ values²`: the same on every run and, on the CPU, on any number of threads.
///
/// # Shapes
/// - `values`: `[n]`
/// - result: `[1]`, f32
pub fn squared_norm(values: Tensor<1>) -> Tensor<1> {
    timed("squared_norm", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as SquaredNormOps>::squared_norm(values.into_dispatch()))
    })
}

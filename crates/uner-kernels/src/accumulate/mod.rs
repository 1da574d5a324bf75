//! Adds terms of any type to an f32 sum, in place and in one pass: the gradients of a step's
//! micro-batches.

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

use crate::profile::{Pass, timed};

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait AccumulateOps: Backend {
    /// See [`accumulate`].
    fn accumulate(sum: FloatTensor<Self>, terms: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Returns `sum + terms` in f32, in the memory of `sum` if it is not shared.
///
/// # Shapes
/// - `sum`: `[n]`, f32
/// - `terms`: `[n]`
///
/// # Panics
/// When the lengths differ or `sum` is not f32.
pub fn accumulate(sum: Tensor<1>, terms: Tensor<1>) -> Tensor<1> {
    assert_eq!(sum.dims(), terms.dims(), "lengths of a sum and of its terms");
    assert_eq!(sum.dtype(), DType::F32, "the type of a sum");
    timed("accumulate", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as AccumulateOps>::accumulate(
            sum.into_dispatch(),
            terms.into_dispatch(),
        ))
    })
}

//! Some entries of a linear layer's output: the logits of the tokens that may follow, of a
//! vocabulary of tens of thousands.

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use std::sync::Arc;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::profile::{Pass, timed};

/// Entries of a matrix: (row of `x`, row of the weight).
pub type Entries = Arc<[(usize, usize)]>;

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait SparseLinearOps: Backend {
    /// See [`sparse_linear`].
    fn sparse_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        entries: Entries,
    ) -> FloatTensor<Self>;
}

/// Computes entries of `x · weightᵀ`. The bits of an entry do not depend on the others.
///
/// # Shapes
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in]`, in the types of [`linear`](crate::linear())
/// - returns `[entries]`, f32
///
/// # Panics
/// When the two `in` differ, or an entry is outside the matrix.
pub fn sparse_linear(x: Tensor<2>, weight: Tensor<2>, entries: Entries) -> Tensor<1> {
    let ([tokens, input], [outputs, inputs]) = (x.dims(), weight.dims());
    assert_eq!(input, inputs, "`x` {:?} does not fit `weight` {:?}", x.dims(), weight.dims());
    let is_inside = |&(row, output): &(usize, usize)| row < tokens && output < outputs;
    assert!(entries.iter().all(is_inside), "an entry is outside {tokens} × {outputs}");
    timed("sparse_linear", Pass::Forward, || {
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        Tensor::from_dispatch(<Dispatch as SparseLinearOps>::sparse_linear(x, weight, entries))
    })
}

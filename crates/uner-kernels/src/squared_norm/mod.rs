//! Sums of squares of gradients, accumulated in f32 whatever their type. Clipping by the global
//! norm adds them up over the parameters (Pascanu et al. 2013).

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

use crate::profile::{Pass, timed};

/// Most parts of a tensor's sum: cubes of a GPU, four for each processor of an H100.
pub(crate) const PARTS: usize = 528;

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait SquaredNormOps: Backend {
    /// Writes the sum of squares of `values`, in parts, to row `index` of `parts`, `[n · PARTS]`,
    /// where it was zero.
    fn squared_parts(
        values: FloatTensor<Self>,
        parts: FloatTensor<Self>,
        index: usize,
    ) -> FloatTensor<Self>;
    /// Sums each row of `parts`, `[n · PARTS]`, to `[n]`.
    fn sums_of_parts(parts: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Computes `Σ values²` of each of `n` tensors: the same on every run and, on the CPU, for any
/// number of threads. One call for all tensors saves kernels: for most parameters of a model,
/// starting a kernel takes longer than running it.
///
/// # Shapes
/// - `values`: vectors of any length
/// - result: `[n]`, f32
///
/// # Panics
/// When `values` is empty.
pub fn squared_norms(values: Vec<Tensor<1>>) -> Tensor<1> {
    let device = values.first().expect("at least one tensor").device();
    timed("squared_norm", Pass::Forward, || {
        // In one dimension, because CUDA would pad the rows of a matrix.
        let mut parts =
            Tensor::<1>::zeros([values.len() * PARTS], (&device, DType::F32)).into_dispatch();
        for (index, values) in values.into_iter().enumerate() {
            parts =
                <Dispatch as SquaredNormOps>::squared_parts(values.into_dispatch(), parts, index);
        }
        Tensor::from_dispatch(<Dispatch as SquaredNormOps>::sums_of_parts(parts))
    })
}

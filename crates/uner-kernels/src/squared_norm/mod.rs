//! The sums of squares of gradients, accumulated in f32 whatever type they are stored in: what
//! clipping by the global norm adds up over parameters (Pascanu et al. 2013).

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

use crate::profile::{Pass, timed};

/// Parts that a tensor's sum is formed in, at most: cubes of a GPU, four for each processor of an
/// H100.
pub(crate) const PARTS: usize = 528;

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait SquaredNormOps: Backend {
    /// Writes the sum of squares of `values`, in parts, to row `index` of `parts`, `[n · PARTS]`
    /// zeros.
    fn squared_parts(
        values: FloatTensor<Self>,
        parts: FloatTensor<Self>,
        index: usize,
    ) -> FloatTensor<Self>;
    /// The sum of each row of `parts`, `[n · PARTS]`: `[n]`.
    fn sums_of_parts(parts: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// `Σ values²` of each of `n` tensors: the same on every run and, on the CPU, on any number of
/// threads. All of them together, since for most of the parameters of a model starting a kernel
/// takes longer than it runs.
///
/// # Shapes
/// - `values`: each a vector, of whatever length
/// - result: `[n]`, f32
///
/// # Panics
/// When there are none.
pub fn squared_norms(values: Vec<Tensor<1>>) -> Tensor<1> {
    let device =
        values.first().expect("a tensor says on which device the result is to be").device();
    timed("squared_norm", Pass::Forward, || {
        // In one dimension: CUDA would pad the rows of a matrix.
        let mut parts =
            Tensor::<1>::zeros([values.len() * PARTS], (&device, DType::F32)).into_dispatch();
        for (index, values) in values.into_iter().enumerate() {
            parts =
                <Dispatch as SquaredNormOps>::squared_parts(values.into_dispatch(), parts, index);
        }
        Tensor::from_dispatch(<Dispatch as SquaredNormOps>::sums_of_parts(parts))
    })
}

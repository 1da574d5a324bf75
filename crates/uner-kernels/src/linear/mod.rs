//! A linear layer whose weight has the layout of checkpoints.

pub(crate) mod backward;
#[cfg(feature = "flex")]
pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::input::{Input, InputGradient};
use crate::profile::{Pass, counted, timed};

/// The products of a backend.
pub trait LinearKernels: Backend {
    /// `x · weightᵀ`.
    fn linear_forward(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient of `x`: `dy · weight`, plus `addend` if given, in the memory of `addend` if the
    /// backend can write to it.
    fn linear_backward_x(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        addend: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self>;
    /// The gradient of the weight: `dyᵀ · x`.
    fn linear_backward_weight(dy: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait LinearOps: Backend {
    /// See [`linear`].
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: InputGradient,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl LinearOps for burn::backend::Cube {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::linear_forward(x, weight)
    }
}

#[cfg(feature = "flex")]
impl LinearOps for burn::backend::Flex {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::linear_forward(x, weight)
    }
}

/// Computes `x · weightᵀ`.
///
/// The weight's gradient is a contiguous `[out, in]`; burn's own matmul would return a transposed
/// view that every later use copies. A frozen weight has no gradient, and `x` is then not kept for
/// the backward pass.
///
/// On a GPU runtime both have one type, f32 or bf16, which is also that of the result and the
/// gradients; sums are f32. On CUDA cuBLASLt computes the products. Without it burn does, which
/// rounds f32 factors to TF32 (10 bits of mantissa).
///
/// On the CPU `x` is f32 and the weight f32 or bf16. A bf16 weight is widened one panel of rows at
/// a time, and its gradient is f32.
///
/// # Shapes
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in]`
/// - returns `[tokens, out]`
///
/// # Panics
/// When the two `in` differ; on a GPU runtime, when the types differ; on the CPU, for other types.
pub fn linear(x: impl Into<Input>, weight: Tensor<2>) -> Tensor<2> {
    let Input { tensor: x, gradient } = x.into();
    assert_eq!(
        x.dims()[1],
        weight.dims()[1],
        "`x` {:?} does not fit `weight` {:?}",
        x.dims(),
        weight.dims()
    );
    timed("linear", Pass::Forward, || {
        counted(x.dims()[0], weight.dims()[0], weight.dims()[1]);
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        Tensor::from_dispatch(<Dispatch as LinearOps>::linear(x, weight, gradient))
    })
}

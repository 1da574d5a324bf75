//! A linear layer that adds its weight's gradient to an f32 sum within the product. Otherwise each
//! micro-batch would write the gradient in a shorter type, then read and add it.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

use crate::input::{Input, InputGradient};
use crate::linear::LinearKernels;
use crate::profile::{Pass, counted, timed};

/// The products of a backend.
pub trait LinearSumKernels: LinearKernels {
    /// `sum + dyᵀ · x`, in the memory of `sum` if the backend can write to it.
    fn add_weight_gradient(
        sum: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait LinearSumOps: Backend {
    /// See [`linear_sum`].
    fn linear_sum(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        sum: FloatTensor<Self>,
        gradient: InputGradient,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl LinearSumOps for burn::backend::Cube {
    fn linear_sum(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        _sum: FloatTensor<Self>,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::linear_forward(x, weight)
    }
}

#[cfg(feature = "flex")]
impl LinearSumOps for burn::backend::Flex {
    fn linear_sum(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        _sum: FloatTensor<Self>,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::linear_forward(x, weight)
    }
}

/// Computes `x · weightᵀ`, as [`linear`](crate::linear()). The weight has no gradient. The gradient
/// of `sum` is `sum` plus the weight's gradient. A GPU overwrites `sum` with it even if `sum` is
/// shared, so pass the only copy.
///
/// # Shapes
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in]`
/// - `sum`: `[out, in]`, f32
/// - returns `[tokens, out]`
///
/// # Panics
/// As [`linear`](crate::linear()), and when `sum` does not have the weight's shape or is not f32.
pub fn linear_sum(x: impl Into<Input>, weight: Tensor<2>, sum: Tensor<2>) -> Tensor<2> {
    let Input { tensor: x, gradient } = x.into();
    assert_eq!(
        x.dims()[1],
        weight.dims()[1],
        "`x` {:?} does not fit `weight` {:?}",
        x.dims(),
        weight.dims()
    );
    assert_eq!(weight.dims(), sum.dims(), "shapes of a weight and of the sum of its gradients");
    assert_eq!(sum.dtype(), DType::F32, "the type of a sum");
    timed("linear_sum", Pass::Forward, || {
        counted(x.dims()[0], weight.dims()[0], weight.dims()[1]);
        Tensor::from_dispatch(<Dispatch as LinearSumOps>::linear_sum(
            x.into_dispatch(),
            weight.into_dispatch(),
            sum.into_dispatch(),
            gradient,
        ))
    })
}

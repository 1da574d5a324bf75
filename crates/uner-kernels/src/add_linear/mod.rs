//! A linear layer fused with the addition of its output to a tensor: an adapter's change to the
//! output of its layer.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::linear::LinearKernels;
use crate::profile::{Pass, counted, timed};

/// The product of a backend.
pub trait AddLinearKernels: LinearKernels {
    /// `base + x · weightᵀ`.
    fn add_linear_forward(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait AddLinearOps: Backend {
    /// See [`add_linear`].
    fn add_linear(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl AddLinearOps for burn::backend::Cube {
    fn add_linear(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::add_linear_forward(base, x, weight)
    }
}

#[cfg(feature = "flex")]
impl AddLinearOps for burn::backend::Flex {
    fn add_linear(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::add_linear_forward(base, x, weight)
    }
}

/// Computes `base + x · weightᵀ`, of types as in [`linear`](crate::linear()); `base` has the
/// output's type.
///
/// # Shapes
/// - `base`: `[tokens, out]`
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in]`
/// - returns `[tokens, out]`
///
/// # Panics
/// As [`linear`](crate::linear()), and when `base` does not have the output's shape.
pub fn add_linear(base: Tensor<2>, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let ([tokens, input], [output, columns]) = (x.dims(), weight.dims());
    assert_eq!(input, columns, "`x` {:?} does not fit `weight` {:?}", x.dims(), weight.dims());
    assert_eq!(base.dims(), [tokens, output], "shapes of `base` and of what is added to it");
    timed("add_linear", Pass::Forward, || {
        counted(tokens, output, input);
        Tensor::from_dispatch(<Dispatch as AddLinearOps>::add_linear(
            base.into_dispatch(),
            x.into_dispatch(),
            weight.into_dispatch(),
        ))
    })
}

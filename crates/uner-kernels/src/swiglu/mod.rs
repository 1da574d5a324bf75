//! The gated activation of LLaMA's feed-forward layer: `silu(gate) · up` (Shazeer 2020).

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::profile::{Pass, timed};

/// The forward and the backward kernel of a backend.
pub trait SwigluKernels: Backend {
    /// `silu(gate) · up`.
    fn swiglu_forward(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradients of `gate` and `up`.
    fn swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait SwigluOps: Backend {
    /// See [`swiglu`].
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl SwigluOps for burn::backend::Cube {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::swiglu_forward(gate, up)
    }
}

#[cfg(feature = "flex")]
impl SwigluOps for burn::backend::Flex {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::swiglu_forward(gate, up)
    }
}

/// `gate · sigmoid(gate) · up`, element by element.
///
/// # Shapes
/// - `gate`, `up`, and the result: `[tokens, intermediate]`
///
/// # Panics
/// When the shapes differ.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    assert_eq!(gate.dims(), up.dims(), "`gate` and `up` differ in shape");
    timed("swiglu", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as SwigluOps>::swiglu(
            gate.into_dispatch(),
            up.into_dispatch(),
        ))
    })
}

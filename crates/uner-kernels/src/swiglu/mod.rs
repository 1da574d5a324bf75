//! The gated activation of LLaMA's feed-forward layer: `silu(gate) · up` (Shazeer 2020).

mod reference;

pub use reference::reference;

use burn::tensor::Tensor;

/// `gate · sigmoid(gate) · up`, element by element.
///
/// # Shapes
/// - `gate`, `up`, and the result: `[tokens, intermediate]`
///
/// # Panics
/// When the shapes differ.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    assert_eq!(gate.dims(), up.dims(), "`gate` and `up` differ in shape");
    reference(gate, up)
}

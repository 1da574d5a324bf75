//! The gated activation in burn operations.

use burn::tensor::{Tensor, activation::silu};

/// See [`super::swiglu`].
pub fn reference(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    silu(gate).mul(up)
}

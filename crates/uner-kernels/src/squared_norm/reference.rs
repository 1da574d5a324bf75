//! The sum in burn operations.

use burn::tensor::{DType, Tensor};

/// See [`super::squared_norm`].
pub fn reference(values: Tensor<1>) -> Tensor<1> {
    values.cast(DType::F32).square().sum()
}

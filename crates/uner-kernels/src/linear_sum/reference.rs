//! The gradient of the sum in burn operations.

use burn::tensor::{DType, Tensor};

/// The gradient of `sum`, see [`super::linear_sum`]: `sum + dyᵀ · x`.
pub fn reference(sum: Tensor<2>, dy: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    sum.add(dy.cast(DType::F32).transpose().matmul(x.cast(DType::F32)))
}

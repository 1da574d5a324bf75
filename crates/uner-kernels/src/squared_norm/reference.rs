//! The sums in burn operations.

use burn::tensor::{DType, Tensor};

/// See [`super::squared_norms`].
pub fn reference(values: Vec<Tensor<1>>) -> Tensor<1> {
    Tensor::cat(
        values.into_iter().map(|values| values.cast(DType::F32).square().sum()).collect(),
        0,
    )
}

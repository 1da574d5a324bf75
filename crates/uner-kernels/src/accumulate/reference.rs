//! The sum in burn operations.

use burn::tensor::{DType, Tensor};

/// See [`super::accumulate`].
pub fn reference(sum: Tensor<1>, terms: Tensor<1>) -> Tensor<1> {
    sum.add(terms.cast(DType::F32))
}

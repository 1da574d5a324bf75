//! The product in burn operations.

use burn::tensor::{Tensor, TensorData};

use super::PackedWeight;

/// See [`super::packed_linear`].
pub fn reference(x: &Tensor<2>, weight: &PackedWeight) -> Tensor<2> {
    let weight = TensorData::new(weight.values(), weight.dims());
    x.clone().matmul(Tensor::<2>::from_data(weight, &x.device()).transpose())
}

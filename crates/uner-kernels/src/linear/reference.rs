//! The linear layer in burn operations.

use burn::tensor::Tensor;

/// See [`super::linear`]. A weight of another type is cast to that of `x`.
pub fn reference(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let weight = weight.cast(x.dtype());
    x.matmul(weight.transpose())
}

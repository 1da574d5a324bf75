//! The linear layer in burn operations.

use burn::tensor::Tensor;

/// See [`super::linear`].
pub fn reference(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    x.matmul(weight.transpose())
}

//! The norm in burn operations.

use burn::tensor::{DType, Tensor};

/// See [`super::rms_norm`]. A weight of another type is cast to that of `x`.
pub fn reference(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let mean_square = x.clone().square().mean_dim(1);
    x.div(mean_square.add_scalar(eps).sqrt()).cast(dtype).mul(weight.cast(dtype).unsqueeze())
}

/// See [`super::add_rms_norm`].
pub fn reference_add(
    x: Tensor<2>,
    residual: Tensor<2>,
    weight: Tensor<1>,
    eps: f64,
) -> (Tensor<2>, Tensor<2>) {
    let sum = x.add(residual);
    (sum.clone(), reference(sum, weight, eps))
}

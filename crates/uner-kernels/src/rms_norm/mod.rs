//! Root-mean-square normalisation (Zhang and Sennrich 2019), alone or together with the residual addition before
//! it: `y = x / sqrt(mean(x²) + eps) · weight`, statistics in f32.

mod reference;

pub use reference::{reference, reference_add};

use burn::tensor::Tensor;

/// The norm of each row.
///
/// # Shapes
/// - `x`: `[tokens, hidden]`
/// - `weight`: `[hidden]`
/// - returns `[tokens, hidden]`
///
/// # Panics
/// When the two `hidden` differ.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    check(&x, &weight);
    reference(x, weight, eps)
}

/// The sum `h = x + residual` and its norm: returns `(h, rms_norm(h))`.
///
/// # Shapes
/// - `x`, `residual`, and both results: `[tokens, hidden]`
/// - `weight`: `[hidden]`
///
/// # Panics
/// When the shapes differ.
pub fn add_rms_norm(
    x: Tensor<2>,
    residual: Tensor<2>,
    weight: Tensor<1>,
    eps: f64,
) -> (Tensor<2>, Tensor<2>) {
    check(&x, &weight);
    assert_eq!(x.dims(), residual.dims(), "`x` and `residual` differ in shape");
    reference_add(x, residual, weight, eps)
}

fn check(x: &Tensor<2>, weight: &Tensor<1>) {
    assert_eq!(x.dims()[1], weight.dims()[0], "`x` {:?} does not fit `weight` {:?}", x.dims(), weight.dims());
}

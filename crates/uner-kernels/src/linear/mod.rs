//! A linear layer with the weight as checkpoints store it.

mod reference;

pub use reference::reference;

use burn::tensor::Tensor;

/// `x · weightᵀ`.
///
/// # Shapes
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in]`
/// - returns `[tokens, out]`
///
/// # Panics
/// When the two `in` differ.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    assert_eq!(x.dims()[1], weight.dims()[1], "`x` {:?} does not fit `weight` {:?}", x.dims(), weight.dims());
    reference(x, weight)
}

//! The rotation in burn operations.

use burn::tensor::Tensor;

use super::RotaryTable;

/// See [`super::rope`].
pub fn reference(x: Tensor<4>, table: &RotaryTable) -> Tensor<4> {
    let [rows, tokens, _, head_dim] = x.dims();
    let half = head_dim / 2;
    let dtype = x.dtype();
    let per_head = |t: &Tensor<3>| t.clone().reshape([rows, tokens, 1, half]).cast(dtype);
    let (cos, sin) = (per_head(&table.cos), per_head(&table.sin));
    let first = x.clone().narrow(3, 0, half);
    let second = x.narrow(3, half, half);
    Tensor::cat(
        vec![
            first.clone().mul(cos.clone()).sub(second.clone().mul(sin.clone())),
            second.mul(cos).add(first.mul(sin)),
        ],
        3,
    )
}

//! The entries in burn operations.

use burn::tensor::{Int, Tensor, TensorData};

/// See [`super::sparse_linear`].
pub fn reference(x: &Tensor<2>, weight: &Tensor<2>, entries: &[(usize, usize)]) -> Tensor<1> {
    let index = |values: Vec<i32>| {
        let shape = [values.len()];
        Tensor::<1, Int>::from_data(TensorData::new(values, shape), &x.device())
    };
    let rows = x.clone().select(0, index(entries.iter().map(|entry| entry.0 as i32).collect()));
    let weights =
        weight.clone().select(0, index(entries.iter().map(|entry| entry.1 as i32).collect()));
    rows.mul(weights.cast(x.dtype())).sum_dim(1).squeeze_dim(1)
}

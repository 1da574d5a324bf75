//! Attention in burn operations: materialises the scores.

use burn::tensor::{Tensor, activation::softmax};

use super::Visibility;

/// See [`super::attention`].
pub fn reference(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, visibility: &Visibility) -> Tensor<4> {
    let [rows, queries, heads, head_dim] = q.dims();
    let [_, keys, kv_heads, _] = k.dims();
    let group = heads / kv_heads;
    let heads_first = |x: Tensor<4>, length: usize, count: usize| {
        x.swap_dims(1, 2).reshape([rows, kv_heads, count, length, head_dim])
    };
    let q = heads_first(q, queries, group).mul_scalar(1.0 / (head_dim as f64).sqrt());
    let k = heads_first(k, keys, 1).expand([rows, kv_heads, group, keys, head_dim]);
    let v = heads_first(v, keys, 1).expand([rows, kv_heads, group, keys, head_dim]);

    let visible = visibility.mask(queries);
    let sees_something = visible.clone().any_dim(2).float().reshape([rows, queries, 1, 1]);
    let hidden = visible
        .bool_not()
        .reshape([rows, 1, 1, queries, keys])
        .expand([rows, kv_heads, group, queries, keys]);
    // Finite, so that the gradient of a fully hidden row has no NaN; the row is zeroed below.
    let scores = q.matmul(k.transpose()).mask_fill(hidden, -1e30);
    let out = softmax(scores, 4).matmul(v);
    out.reshape([rows, heads, queries, head_dim]).swap_dims(1, 2).mul(sees_something)
}

//! Scaled dot-product attention under the [`Visibility`] rule, with grouped-query heads.
//!
//! `softmax(q·kᵀ / sqrt(head_dim) + mask)·v` (Vaswani et al. 2017), where query head `n` reads key/value head
//! `n / (heads / kv_heads)`. A query to which nothing is visible gets zeros.

mod reference;
mod visibility;

pub use reference::reference;
pub use visibility::{PADDING, Visibility};

use burn::tensor::Tensor;

/// Attention of every query to what it may see.
///
/// # Shapes
/// - `q`: `[rows, queries, heads, head_dim]`
/// - `k`, `v`: `[rows, keys, kv_heads, head_dim]`, `heads` a multiple of `kv_heads`
/// - `visibility`: `[rows, keys]`; the queries are the last `queries` of the keys
/// - returns `[rows, queries, heads, head_dim]`
///
/// Heads stay behind the sequence, as the projections write them and the output projection reads them, so that no
/// implementation has to transpose.
///
/// # Panics
/// When the shapes do not fit each other.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, visibility: &Visibility) -> Tensor<4> {
    let [rows, queries, heads, head_dim] = q.dims();
    let [_, keys, kv_heads, _] = k.dims();
    assert_eq!(k.dims(), v.dims(), "`k` and `v` differ in shape");
    assert_eq!(
        k.dims(),
        [rows, keys, kv_heads, head_dim],
        "`q` {:?} does not fit `k` {:?}",
        q.dims(),
        k.dims()
    );
    assert_eq!(heads % kv_heads, 0, "{heads} query heads are not a multiple of {kv_heads} key/value heads");
    assert_eq!(visibility.document().dims(), [rows, keys], "visibility does not fit `k` {:?}", k.dims());
    assert!(queries <= keys, "{queries} queries but only {keys} keys");
    reference(q, k, v, visibility)
}

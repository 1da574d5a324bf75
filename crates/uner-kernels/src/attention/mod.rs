//! Scaled dot-product attention under the [`Visibility`] rule, with grouped-query heads.
//!
//! `softmax(q·kᵀ / sqrt(head_dim) + mask)·v` (Vaswani et al. 2017), where query head `n` reads
//! key/value head `n / (heads / kv_heads)`. The output of a query that sees nothing is zero.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cube")]
pub(crate) mod mma;
mod reference;
mod visibility;

pub use reference::reference;
pub use visibility::{PADDING, Visibility};

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::Tensor;

use crate::profile::{Pass, timed};

/// Log-sum-exp of a query that sees nothing. It is so large that `exp(score - BLIND)` is 0, but
/// finite, because some shader languages have no infinities.
#[cfg(any(feature = "flex", feature = "cube"))]
pub(crate) const BLIND: f32 = 1e30;

/// The forward and the backward kernel of a backend.
pub trait AttentionKernels: Backend {
    /// Forward pass of [`attention`]; `document` and `branch` come from the [`Visibility`].
    ///
    /// Returns the output and the log-sum-exp of each query's scaled scores, f32
    /// `[rows, heads, queries]`. The backward pass recomputes the probabilities from it:
    /// `exp(score - lse)`. It is 1e30 for a query that sees nothing.
    fn attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        document: IntTensor<Self>,
        branch: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// Gradients of `q`, `k` and `v`.
    fn attention_backward(saved: Saved<Self>, dy: FloatTensor<Self>) -> [FloatTensor<Self>; 3];
}

/// Tensors that the backward pass needs: inputs and results of the forward pass.
#[derive(Debug, Clone)]
pub struct Saved<B: Backend> {
    /// Queries, `[rows, queries, heads, head_dim]`.
    pub q: FloatTensor<B>,
    /// Keys, `[rows, keys, kv_heads, head_dim]`.
    pub k: FloatTensor<B>,
    /// Values, shaped like the keys.
    pub v: FloatTensor<B>,
    /// The output, shaped like the queries.
    pub y: FloatTensor<B>,
    /// The log-sum-exp, `[rows, heads, queries]`.
    pub lse: FloatTensor<B>,
    /// The document of each key, `[rows, keys]`.
    pub document: IntTensor<B>,
    /// The branch of each key, `[rows, keys]`.
    pub branch: IntTensor<B>,
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait AttentionOps: Backend {
    /// See [`attention`].
    fn attention_visible(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        document: IntTensor<Self>,
        branch: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl AttentionOps for burn::backend::Cube {
    fn attention_visible(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        document: IntTensor<Self>,
        branch: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::attention_forward(q, k, v, document, branch).0
    }
}

#[cfg(feature = "flex")]
impl AttentionOps for burn::backend::Flex {
    fn attention_visible(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        document: IntTensor<Self>,
        branch: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::attention_forward(q, k, v, document, branch).0
    }
}

/// Attention of every query to the keys that it sees.
///
/// # Shapes
/// - `q`: `[rows, queries, heads, head_dim]`
/// - `k`, `v`: `[rows, keys, kv_heads, head_dim]`, `heads` a multiple of `kv_heads`
/// - `visibility`: `[rows, keys]`; the queries are the last `queries` of the keys
/// - returns `[rows, queries, heads, head_dim]`
///
/// The head axis stays behind the sequence axis, as the projections write it and the output
/// projection reads it, so no implementation transposes.
///
/// # Panics
/// When the shapes do not fit each other, or there are more queries than keys.
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
    assert_eq!(
        heads % kv_heads,
        0,
        "{heads} query heads are not a multiple of {kv_heads} key/value heads"
    );
    assert_eq!(
        visibility.document().dims(),
        [rows, keys],
        "visibility does not fit `k` {:?}",
        k.dims()
    );
    assert!(queries <= keys, "{queries} queries but only {keys} keys");
    timed("attention", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as AttentionOps>::attention_visible(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            visibility.document().clone().into_dispatch(),
            visibility.branch().clone().into_dispatch(),
        ))
    })
}

//! Scaled dot-product attention under the [`Visibility`] rule, with grouped-query heads.
//!
//! `softmax(q·kᵀ / sqrt(head_dim) + mask)·v` (Vaswani et al. 2017), where query head `n` reads
//! key/value head `n / (heads / kv_heads)`. A query to which nothing is visible gets zeros.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cube")]
mod mma;
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

/// Log-sum-exp of a query that sees nothing: so large that `exp(score - BLIND)` is 0, yet finite,
/// because not every shader language has infinities.
#[cfg(any(feature = "flex", feature = "cube"))]
pub(crate) const BLIND: f32 = 1e30;

/// The forward and the backward kernel of a backend.
pub trait AttentionKernels: Backend {
    /// See [`attention`]; `document` and `branch` are those of the [`Visibility`].
    ///
    /// Returns the output and the log-sum-exp of each query's scaled scores, f32
    /// `[rows, heads, queries]`, from which the backward pass gets the probabilities back:
    /// `exp(score - lse)`. Where nothing is visible it is 1e30.
    fn attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        document: IntTensor<Self>,
        branch: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The gradients of the inputs.
    fn attention_backward(saved: Saved<Self>, dy: FloatTensor<Self>) -> [FloatTensor<Self>; 3];
}

/// What the backward pass needs of the forward pass: its inputs and both its results.
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

/// Attention of every query to what it may see.
///
/// # Shapes
/// - `q`: `[rows, queries, heads, head_dim]`
/// - `k`, `v`: `[rows, keys, kv_heads, head_dim]`, `heads` a multiple of `kv_heads`
/// - `visibility`: `[rows, keys]`; the queries are the last `queries` of the keys
/// - returns `[rows, queries, heads, head_dim]`
///
/// Heads stay behind the sequence, as the projections write them and the output projection reads
/// them, so that no implementation has to transpose.
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

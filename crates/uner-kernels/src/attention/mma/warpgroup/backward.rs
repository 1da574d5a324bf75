//! What the two backward kernels share: their inputs.

use cubecl::prelude::*;

/// The inputs of a backward kernel, as those of [`mma`](super::super::backward::Upstream).
#[derive(CubeType, CubeLaunch)]
pub(in crate::attention::mma) struct Upstream<E: Float> {
    /// Map of `[rows, queries, heads, head_dim]`.
    pub(super) q: TensorMap<E, Tiled>,
    /// Map of `[rows, keys, kv_heads, head_dim]`.
    pub(super) k: TensorMap<E, Tiled>,
    /// Map of `[rows, keys, kv_heads, head_dim]`.
    pub(super) v: TensorMap<E, Tiled>,
    /// Map of the gradient of the output, shaped like `q`.
    pub(super) dy: TensorMap<E, Tiled>,
    /// Of the forward pass, `[rows, heads, queries]`.
    pub(super) lse: Box<[f32]>,
    /// `rowsum(dy ∘ y)`, `[rows, heads, queries]`.
    pub(super) delta: Box<[f32]>,
    /// Starts of queries or ends of keys, whichever are stationary (see [`block`](super::super::block)).
    pub(super) bounds: Box<[i32]>,
}

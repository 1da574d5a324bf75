//! Attention of new tokens to keys and values in a cache whose tokens several sequences share: a
//! passage is computed once, and every question about it reads the passage's keys.
//!
//! The cache of a layer has one slot for each token. A sequence lists the slots of its tokens in
//! order (as the block tables of `PagedAttention` do, Kwon et al. 2023, with pages of one token).

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod layout;
mod reference;
#[cfg(feature = "cube")]
pub(crate) mod tables;
#[cfg(all(test, feature = "cuda"))]
mod tests;

pub use layout::{CacheLayout, Sequence};
pub use reference::{reference, reference_store};

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::profile::{Pass, timed};

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait CachedAttentionOps: Backend {
    /// See [`cached_attention`].
    fn cached_attention(
        q: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        layout: CacheLayout,
    ) -> FloatTensor<Self>;
    /// See [`store_rows`].
    fn store_rows(
        cache: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        layout: CacheLayout,
    ) -> FloatTensor<Self>;
}

/// Attention of every new token to the tokens of its sequence up to itself, as
/// [`attention`](crate::attention()) of one sequence. A result does not depend on the other
/// sequences of the call.
///
/// # Shapes
/// - `q`: `[tokens, heads, head_dim]`, the new tokens of all sequences
/// - `keys`, `values`: `[slots, kv_heads, head_dim]`, those of the new tokens included; `heads` is
///   a multiple of `kv_heads`
/// - returns `[tokens, heads, head_dim]`
///
/// # Panics
/// When the shapes do not fit each other or the layout.
pub fn cached_attention(
    q: Tensor<3>,
    keys: Tensor<3>,
    values: Tensor<3>,
    layout: &CacheLayout,
) -> Tensor<3> {
    let ([tokens, heads, head_dim], [slots, kv_heads, width]) = (q.dims(), keys.dims());
    assert_eq!(keys.dims(), values.dims(), "`keys` and `values` differ in shape");
    assert!(
        width == head_dim && heads % kv_heads == 0,
        "`q` {:?} does not fit `keys` {:?}",
        q.dims(),
        keys.dims()
    );
    assert_eq!(layout.tokens(), tokens, "tokens of the layout and of `q` {:?}", q.dims());
    assert!(layout.end() <= slots, "the layout names slot {} of {slots}", layout.end());
    timed("cached_attention", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as CachedAttentionOps>::cached_attention(
            q.into_dispatch(),
            keys.into_dispatch(),
            values.into_dispatch(),
            layout.clone(),
        ))
    })
}

/// Writes the rows of new tokens to their slots; returns the cache, in its memory if it is not
/// shared. The slots differ.
///
/// # Shapes
/// - `cache`: `[slots, kv_heads, head_dim]`
/// - `rows`: `[tokens, kv_heads, head_dim]`, of the same type
///
/// # Panics
/// When shapes or types differ, or a slot is outside the cache.
pub fn store_rows(cache: Tensor<3>, rows: Tensor<3>, layout: &CacheLayout) -> Tensor<3> {
    let [slots, heads, width] = cache.dims();
    assert!(
        rows.dims() == [layout.tokens(), heads, width] && rows.dtype() == cache.dtype(),
        "{} slots, rows {:?} of {:?} for a cache {:?} of {:?}",
        layout.tokens(),
        rows.dims(),
        rows.dtype(),
        cache.dims(),
        cache.dtype()
    );
    assert!(layout.end() <= slots, "the layout names slot {} of {slots}", layout.end());
    timed("cached_attention", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as CachedAttentionOps>::store_rows(
            cache.into_dispatch(),
            rows.into_dispatch(),
            layout.clone(),
        ))
    })
}

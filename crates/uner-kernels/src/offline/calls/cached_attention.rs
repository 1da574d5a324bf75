use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::cached_attention::{CacheLayout, CachedAttentionOps, Sequence};
use crate::offline::recorder::Recorder;

/// Heads of the models, and heads of a width that no vector divides, which have no paged kernel.
pub(super) fn calls() -> Vec<Call> {
    over(&[64, 128, 33])
        .map(|(dtype, head_dim)| {
            call(format!("{} heads of {head_dim}", name(dtype)), move |device| {
                of_cache(device, dtype, head_dim);
            })
        })
        .collect()
}

fn of_cache(device: &Recorder, dtype: DType, head_dim: usize) {
    let sequence = Sequence { shared: Vec::new(), own: vec![0..TOKENS], new: TOKENS };
    let layout = CacheLayout::new(vec![sequence]);
    let rows = || device.tensor([TOKENS, 1, head_dim], dtype);
    let cache = device.tensor([2 * TOKENS, 1, head_dim], dtype);
    let cache = Cube::store_rows(cache, rows(), layout.clone());
    // Other types and heads gather, which is burn's work.
    if dtype == DType::BF16 && head_dim.is_multiple_of(16) {
        Cube::cached_attention(rows(), cache.clone(), cache, layout);
    }
}

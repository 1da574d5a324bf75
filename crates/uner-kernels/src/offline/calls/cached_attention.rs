use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::cached_attention::CachedAttentionOps;

/// Heads of a model, and heads of a width that no vector divides.
pub(super) fn calls() -> Vec<Call> {
    over(&[128, 33])
        .map(|(dtype, head_dim)| {
            call(format!("{} heads of {head_dim}", name(dtype)), move |device| {
                let (cache, rows) = (
                    device.tensor([2 * TOKENS, 1, head_dim], dtype),
                    device.tensor([TOKENS, 1, head_dim], dtype),
                );
                Cube::store_rows(cache, rows, device.tensor([TOKENS], DType::I32));
            })
        })
        .collect()
}

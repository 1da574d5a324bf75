use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::rope::RopeKernels;

/// Heads of the models, `[heads, kv_heads, head_dim]`, and of the tests. Both directions are one
/// kernel.
const HEADS: [[usize; 3]; 9] = [
    [32, 32, 128],
    [32, 8, 128],
    [40, 40, 128],
    [4, 2, 32],
    [8, 4, 16],
    [4, 4, 16],
    [4, 2, 64],
    [4, 4, 80],
    [3, 3, 10],
];

pub(super) fn calls() -> Vec<Call> {
    let forms = over(&HEADS);
    forms
        .map(|(dtype, [heads, kv_heads, head_dim])| {
            let form = format!("{} heads {heads}, {kv_heads} head_dim {head_dim}", name(dtype));
            call(form, move |device| {
                let table = || device.tensor([1, TOKENS, head_dim / 2], DType::F32);
                let [q, k] = [heads, kv_heads]
                    .map(|heads| device.tensor([1, TOKENS, heads, head_dim], dtype));
                Cube::rotate(q.clone(), table(), table(), true);
                Cube::rotate_both([q, k], table(), table(), false);
            })
        })
        .collect()
}

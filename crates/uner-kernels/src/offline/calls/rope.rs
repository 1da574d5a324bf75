use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::rope::RopeKernels;

/// Heads of the models, `[heads, head_dim]`, and of the tests. Both directions are one kernel.
const HEADS: [[usize; 2]; 8] = [[32, 128], [40, 128], [4, 32], [8, 16], [4, 16], [4, 64], [4, 80], [3, 10]];

pub(super) fn calls() -> Vec<Call> {
    let forms = over(&HEADS);
    forms
        .map(|(dtype, [heads, head_dim])| {
            let form = format!("{} heads {heads} head_dim {head_dim}", name(dtype));
            call(form, move |device| {
                let table = || device.tensor([1, TOKENS, head_dim / 2], DType::F32);
                for back in [false, true] {
                    let x = device.tensor([1, TOKENS, heads, head_dim], dtype);
                    Cube::rotate(x, table(), table(), back);
                }
            })
        })
        .collect()
}

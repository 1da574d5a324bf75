use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::attention::{AttentionKernels, Saved};
use crate::offline::recorder::{Card, Recorder};

/// Head sizes of the tests and of the models.
const HEAD_DIMS: [usize; 5] = [10, 16, 64, 80, 128];
/// Query heads per key/value head.
const GROUPS: [usize; 4] = [1, 2, 4, 8];
/// Heads of the smallest models, and the largest supported head, each with its own keys and values.
const OTHER_HEADS: [usize; 2] = [32, 256];
const KV_HEADS: usize = 2;

/// Forward and backward of each head size and group, with tiles full of queries and, as in
/// decoding, with one query. Older cards have their own kernels.
pub(super) fn calls() -> Vec<Call> {
    let grouped = HEAD_DIMS.into_iter().flat_map(|head_dim| GROUPS.map(|group| [head_dim, group]));
    let heads: Vec<[usize; 2]> = grouped.chain(OTHER_HEADS.map(|head_dim| [head_dim, 1])).collect();
    let forms = over(&heads);
    forms
        .map(|(dtype, [head_dim, group])| {
            call(format!("{} head_dim {head_dim} group {group}", name(dtype)), move |device| {
                passes(device, dtype, [1, TOKENS, KV_HEADS * group, head_dim]);
                passes(device, dtype, [1, 1, KV_HEADS * group, head_dim]);
                let older = Recorder::of(Card::Ampere);
                passes(&older, dtype, [1, TOKENS, KV_HEADS * group, head_dim]);
                older.flush();
            })
        })
        .collect()
}

fn passes(device: &Recorder, dtype: DType, [rows, queries, heads, head_dim]: [usize; 4]) {
    let queries_shape = [rows, queries, heads, head_dim];
    let (q, dy) = (device.tensor(queries_shape, dtype), device.tensor(queries_shape, dtype));
    let keys = || device.tensor([rows, TOKENS, KV_HEADS, head_dim], dtype);
    let ints = || device.tensor([rows, TOKENS], DType::I32);
    let (k, v, document, branch) = (keys(), keys(), ints(), ints());
    let (y, lse) =
        Cube::attention_forward(q.clone(), k.clone(), v.clone(), document.clone(), branch.clone());
    Cube::attention_backward(Saved { q, k, v, y, lse, document, branch }, dy);
}

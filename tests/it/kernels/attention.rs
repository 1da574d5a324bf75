//! Attention with odd shapes, packing and branches.
//!
//! Tensor cores round weights and score gradients to the element type before multiplying. Other
//! kernels with bf16 round only the result, and the output that the backward pass reads.
//!
//! Lengths exceed all tiles (32 and 64 tokens, 128 on tensor cores). On a CUDA device in
//! `UNER_TEST_DEVICES`, bf16 heads of a multiple of 16 elements, up to 128, run on tensor cores.

use std::iter::repeat_n;

use burn::tensor::{Device, Tensor};
use uner_kernels::attention::PADDING;
use uner_kernels::device::DeviceName;
use uner_kernels::{Visibility, attention};

use super::{random, refusal};
use crate::devices::devices;

/// Documents and branches of the tokens, row by row: they determine which token sees which.
struct Tokens {
    document: Vec<i32>,
    branch: Vec<i32>,
    rows: usize,
}

impl Tokens {
    /// One document per row.
    fn causal(rows: usize, keys: usize) -> Self {
        Self { document: vec![0; rows * keys], branch: vec![0; rows * keys], rows }
    }

    /// Documents of the given lengths in each row, followed by padding. The ids are arbitrary.
    fn packed(rows: &[&[usize]], keys: usize) -> Self {
        let mut document = Vec::new();
        for (lengths, row) in rows.iter().zip(1..) {
            let ids = (0..).map(|index| 1000 - 7 * index);
            lengths.iter().zip(ids).for_each(|(&length, id)| document.extend(repeat_n(id, length)));
            document.resize(row * keys, PADDING);
        }
        Self { branch: vec![0; document.len()], document, rows: rows.len() }
    }

    fn on(&self, device: &Device) -> Visibility {
        Visibility::branched(&self.document, &self.branch, self.rows, device)
    }
}

type Permute = fn(Tensor<4>) -> Tensor<4>;

/// Compares with the reference; `view` converts the stored tensors to the passed ones.
fn assert_viewed(
    what: &str,
    tokens: &Tokens,
    [q, kv]: [[usize; 4]; 2],
    [view_q, view_kv]: [Permute; 2],
) {
    let stored = [random(q), random(kv), random(kv)];
    let dy = random(view_q(stored[0].clone()).dims());
    let views = |inputs: &[Tensor<4>]| {
        [view_q(inputs[0].clone()), view_kv(inputs[1].clone()), view_kv(inputs[2].clone())]
    };
    super::assert_same(
        &format!("attention {what} {q:?} {kv:?}"),
        &stored,
        &dy,
        |inputs, device| {
            let [q, k, v] = views(inputs);
            attention(q, k, v, &tokens.on(device))
        },
        |inputs, device| {
            let [q, k, v] = views(inputs);
            uner_kernels::attention::reference(q, k, v, &tokens.on(device))
        },
    );
}

/// Compares with the reference. Sizes: queries, query heads, key/value heads, elements of a head.
fn assert_same(what: &str, tokens: &Tokens, [queries, heads, kv_heads, head_dim]: [usize; 4]) {
    let keys = tokens.document.len() / tokens.rows;
    let shapes = [[tokens.rows, queries, heads, head_dim], [tokens.rows, keys, kv_heads, head_dim]];
    assert_viewed(what, tokens, shapes, [|q| q, |kv| kv]);
}

#[test]
fn causal_attention_of_odd_sizes_equals_its_reference() {
    for (keys, [heads, kv_heads, head_dim]) in [
        (1, [1, 1, 10]),
        (7, [2, 1, 16]),
        (33, [4, 4, 10]),
        (63, [8, 2, 16]),
        (65, [8, 1, 64]),
        (127, [2, 2, 80]),
        (515, [4, 2, 128]),
        (129, [1, 1, 128]),
        (128, [2, 1, 64]),
        (66, [2, 2, 5]),
        (70, [1, 1, 256]),
    ] {
        assert_same("causal", &Tokens::causal(2, keys), [keys, heads, kv_heads, head_dim]);
    }
}

#[test]
fn decoding_equals_its_reference() {
    for (queries, keys, heads) in [
        (1, 1, [1, 1, 10]),
        (1, 65, [8, 1, 64]),
        (1, 515, [4, 2, 128]),
        (7, 127, [2, 2, 80]),
        (40, 130, [4, 2, 16]),
        (65, 193, [2, 1, 64]),
    ] {
        let [heads, kv_heads, head_dim] = heads;
        assert_same("decode", &Tokens::causal(2, keys), [queries, heads, kv_heads, head_dim]);
    }
}

#[test]
fn packed_attention_equals_its_reference() {
    let shape = |tokens: &Tokens| [tokens.document.len() / tokens.rows, 4, 2, 16];
    let mixed: Vec<usize> = (0..40).map(|index| 1 + index * 7 % 13).collect();
    for (rows, keys) in [
        (vec![&[9, 14, 6][..], &[17, 12]], 32),
        // Empty documents, one-token documents and a row of padding.
        (vec![&[1, 0, 1, 64, 1, 0, 33], &[]], 103),
        (vec![&[1; 130], &[130]], 133),
        (vec![&[1; 500], &mixed], 515),
        (vec![&[64, 64, 64], &[128, 64]], 192),
    ] {
        let tokens = Tokens::packed(&rows, keys);
        assert_same("packed", &tokens, shape(&tokens));
    }
}

#[test]
fn left_padded_attention_equals_its_reference() {
    let document = [vec![PADDING; 5], vec![0; 145], vec![PADDING; 80], vec![3; 70]].concat();
    let tokens = Tokens { branch: vec![0; document.len()], document, rows: 2 };
    for queries in [150, 75, 2, 1] {
        assert_same("left-padded", &tokens, [queries, 4, 1, 10]);
    }
}

#[test]
fn branches_see_the_trunk_and_themselves() {
    let branch =
        [vec![0; 40], vec![1; 20], vec![2; 25], vec![3; 1], vec![4; 200], vec![5; 150]].concat();
    let tokens = Tokens { document: vec![0; branch.len()], branch, rows: 1 };
    for queries in [tokens.document.len(), 150, 1] {
        assert_same("branched", &tokens, [queries, 4, 2, 16]);
    }
    // Two documents with branches; the trunk continues between the branches.
    let branch =
        [vec![0; 70], vec![1; 70], vec![0; 30], vec![2; 70], vec![0; 5], vec![1; 20]].concat();
    let document = [vec![7; 240], vec![2; 25]].concat();
    assert_same("branched", &Tokens { document, branch, rows: 1 }, [265, 2, 1, 16]);
}

#[test]
fn tensors_that_are_not_contiguous_are_read_in_their_order() {
    let tokens = Tokens::packed(&[&[20, 50], &[3, 40, 1]], 70);
    assert_viewed(
        "heads first, out of a longer cache",
        &tokens,
        [[2, 4, 70, 16], [2, 80, 2, 16]],
        [|q| q.swap_dims(1, 2), |kv| kv.narrow(1, 6, 70)],
    );
}

#[test]
#[should_panic(expected = "are not contiguous")]
fn a_document_in_two_parts_is_refused() {
    let _ = Visibility::packed(&[0, 1, 0], 1, &Device::flex());
}

/// Only GPUs have a limit.
#[test]
fn a_head_that_is_too_large_is_refused_with_its_shape() {
    for setup in devices().into_iter().filter(|setup| setup.name != DeviceName::Flex) {
        let device = setup.device.clone();
        let message = refusal(move || {
            let x = Tensor::<4>::zeros([1, 3, 1, 257], &device);
            let _ = attention(x.clone(), x.clone(), x, &Visibility::causal(1, 3, &device));
        });
        assert!(message.contains("[1, 3, 1, 257]"), "{setup}: {message}");
    }
}

//! On the emulator, the kernels for older cards equal `reference`, output and every gradient, over
//! odd lengths, packing, branches and groups of heads. They access only their own memory and have
//! no race. Other tests check which path a device uses.
//!
//! Tolerance: 2 units in the last digit of the element type for the output, 4 for gradients,
//! relative to the largest entry (at least 1). The weights and the output are rounded, and the
//! gradients depend on the rounded output: `dy·vᵀ - rowsum(dy ∘ y)` is a difference of terms of
//! order 1. Where it is small, as in documents of a few tokens, only their rounding remains.

use std::iter::repeat_n;

use burn::backend::Cube;
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use cubecl::client::Client;
use cubecl::ir::{ElemType, FloatKind};

use super::Forms;
use crate::Visibility;
use crate::attention::cube::{Path, path};
use crate::attention::{AttentionKernels, BLIND, PADDING, Saved, reference};
use crate::cube::Floats;
use crate::device::DeviceName;
use crate::offline::emulator::{Change, Emulator};
use crate::offline::recorder::{Card, Recorder};

/// Dimensions of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
}

/// Documents and branches of the tokens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packing {
    Causal,
    Documents,
    OneTokenEach,
    Padded,
    Branches,
    Nothing,
}

use Card::{Ampere, Hopper};
use Packing::{Branches, Causal, Documents, Nothing, OneTokenEach, Padded};

const PACKINGS: [Packing; 6] = [Causal, Documents, OneTokenEach, Padded, Branches, Nothing];

/// The ids in runs of 1 to `longest` tokens, `keys` tokens in all.
fn runs(ids: impl Iterator<Item = i32>, longest: usize, keys: usize) -> Vec<i32> {
    let lengths = (0..).map(|index: usize| 1 + (index * 37 + 11) % longest);
    ids.zip(lengths).flat_map(|(id, length)| repeat_n(id, length)).take(keys).collect()
}

impl Packing {
    /// Document and branch of each token.
    fn tokens(self, Shape { rows, keys, .. }: Shape) -> (Vec<i32>, Vec<i32>) {
        let documents = || runs((0..).map(|index| 1000 - 7 * index), keys.div_ceil(2), keys);
        let row = |index: usize| match self {
            Causal => vec![7; keys],
            OneTokenEach => (0..keys as i32)
                .map(|token| 5 - token)
                .filter(|id| *id != PADDING)
                .chain([99])
                .take(keys)
                .collect(),
            Nothing => vec![PADDING; keys],
            Documents | Branches => documents(),
            Padded => {
                let (before, behind) = (index * 3, keys / 3);
                let real = before.min(keys)..keys - behind;
                let of_token = |(token, id)| if real.contains(&token) { id } else { PADDING };
                documents().into_iter().enumerate().map(of_token).collect()
            }
        };
        let branch = match self {
            Branches => runs((0..).map(|index| index % 4), 40, rows * keys),
            _ => vec![0; rows * keys],
        };
        ((0..rows).flat_map(row).collect(), branch)
    }
}

/// Results of the kernels.
struct Answer {
    /// The output and the gradients of `q`, `k` and `v`.
    tensors: [TensorData; 4],
    lse: TensorData,
}

/// Random `q`, `k`, `v` and `dy` in bf16.
fn inputs(shape: Shape) -> [TensorData; 4] {
    let Shape { rows, queries, keys, heads, kv_heads, head_dim } = shape;
    let (of_queries, of_keys) =
        ([rows, queries, heads, head_dim], [rows, keys, kv_heads, head_dim]);
    Device::flex().seed((keys * heads + queries) as u64);
    [of_queries, of_keys, of_keys, of_queries].map(|shape| {
        let tensor = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        tensor.into_data().convert_dtype(DType::BF16)
    })
}

fn emulate(
    emulator: &mut Emulator,
    inputs: &[TensorData; 4],
    tokens: &[TensorData; 2],
) -> Result<Answer, String> {
    let [q, k, v, dy] = inputs.each_ref().map(|data| emulator.put(data));
    let [document, branch] = tokens.each_ref().map(|data| emulator.put(data));
    let (y, lse) = emulator.run(|| {
        Cube::attention_forward(q.clone(), k.clone(), v.clone(), document.clone(), branch.clone())
    })?;
    let saved = Saved { q, k, v, y: y.clone(), lse: lse.clone(), document, branch };
    let [dq, dk, dv] = emulator.run(|| Cube::attention_backward(saved, dy))?;
    let fetch = |tensor: &Floats| emulator.fetch(tensor);
    Ok(Answer { tensors: [&y, &dq, &dk, &dv].map(fetch), lse: fetch(&lse) })
}

/// Output and gradients of the reference, and whether each query sees a key, `[rows, queries]`.
fn expect(inputs: &[TensorData; 4], seen: &Visibility) -> ([Tensor<4>; 4], Vec<bool>) {
    let device = Device::flex();
    let values =
        |data: &TensorData| Tensor::<4>::from_data(data.clone().convert_dtype(DType::F32), &device);
    let [q, k, v] = [0, 1, 2].map(|input| values(&inputs[input]).autodiff().require_grad());
    let dy = values(&inputs[3]);
    let [_, queries, _, _] = dy.dims();
    let y = reference(q.clone(), k.clone(), v.clone(), seen);
    let mut graph = y.clone().mul(dy).sum().backward();
    let gradients =
        [q, k, v].map(|input| input.grad_remove(&mut graph).expect("every input has a gradient"));
    let [dq, dk, dv] = gradients;
    let sees = seen.mask(queries).any_dim(2).into_data().iter::<bool>().collect();
    ([y.inner(), dq, dk, dv], sees)
}

/// The largest difference of `got` and `expected` in units of the last digit, relative to the
/// largest entry (at least 1).
fn distance(got: &TensorData, expected: Tensor<4>, digits: f32) -> f32 {
    let expected = expected.into_data();
    let largest = expected.iter::<f32>().fold(1.0f32, |largest, value| largest.max(value.abs()));
    let apart =
        got.iter::<f32>().zip(expected.iter::<f32>()).map(|(got, expected)| (got - expected).abs());
    // A NaN is infinitely far off.
    let far = |apart: f32| if apart.is_nan() { f32::INFINITY } else { apart };
    apart.map(far).fold(0.0, f32::max) / largest / digits
}

pub(super) fn check(emulator: &mut Emulator, shape: Shape, packing: Packing) -> Result<(), String> {
    let (document, branch) = packing.tokens(shape);
    let seen = Visibility::branched(&document, &branch, shape.rows, &Device::flex());
    let tokens = [document, branch].map(|values| TensorData::new(values, [shape.rows, shape.keys]));
    let inputs = inputs(shape);
    let answer = emulate(emulator, &inputs, &tokens)?;
    let (expected, sees) = expect(&inputs, &seen);
    let digits = 2f32.powi(-8);
    let limits =
        [("output", 2.0), ("gradient of q", 4.0), ("gradient of k", 4.0), ("gradient of v", 4.0)];
    for (((what, limit), got), expected) in limits.into_iter().zip(&answer.tensors).zip(expected) {
        let off = distance(got, expected, digits);
        if off > limit {
            return Err(format!("{what} is off by {off}"));
        }
        if matches!(packing, Nothing) && got.iter::<f32>().any(|value| value != 0.0) {
            return Err(format!("{what} is not zero"));
        }
    }
    for (index, lse) in answer.lse.iter::<f32>().enumerate() {
        let (query, row) = (index % shape.queries, index / shape.queries / shape.heads);
        if sees[row * shape.queries + query] == (lse == BLIND) || lse.is_nan() {
            return Err(format!("the log-sum-exp of query {query} is {lse}"));
        }
    }
    Ok(())
}

/// Checks every packing over `lengths` keys, with varying groups and rows, some with fewer queries
/// than keys.
pub(super) fn check_all(card: Card, head_dim: usize, lengths: &[usize]) {
    let Some(mut emulator) = Emulator::open(card) else { return };
    for (l, &keys) in lengths.iter().enumerate() {
        for (p, packing) in PACKINGS.into_iter().enumerate() {
            let turn = l + p;
            let group = [1, 2, 4, 8][turn % 4];
            let kv_heads = if group < 4 && keys < 300 { 1 + p % 2 } else { 1 };
            let group = if keys < 300 { group } else { 1 + p % 2 };
            let queries = if turn % 3 == 0 { 1 + keys / 3 } else { keys };
            let shape = Shape {
                rows: 1 + turn % 2,
                queries,
                keys,
                heads: group * kv_heads,
                kv_heads,
                head_dim,
            };
            emulator.order = turn as u32;
            check(&mut emulator, shape, packing)
                .unwrap_or_else(|error| panic!("{shape:?} {packing:?}: {error}"));
        }
    }
}

#[test]
fn heads_of_16_equal_the_reference() {
    check_all(Ampere, 16, &[1, 33, 65, 127, 200]);
}

#[test]
fn heads_of_64_equal_the_reference() {
    check_all(Ampere, 64, &[65]);
}

/// Lengths of the tests that take minutes:
/// `cargo nextest run --release --workspace --features webgpu,cuda --run-ignored only`.
const LENGTHS: [usize; 8] = [1, 7, 33, 63, 65, 127, 200, 515];

#[test]
#[ignore = "takes minutes"]
fn every_length_of_heads_of_16_equals_the_reference() {
    check_all(Ampere, 16, &LENGTHS);
}

#[test]
#[ignore = "takes minutes"]
fn every_length_of_heads_of_64_equals_the_reference() {
    check_all(Ampere, 64, &LENGTHS);
}

/// 80 elements are ten 16-byte chunks, which do not divide the units of a cube.
#[test]
#[ignore = "takes minutes"]
fn every_length_of_heads_of_80_equals_the_reference() {
    check_all(Ampere, 80, &LENGTHS);
}

#[test]
#[ignore = "takes minutes"]
fn every_length_of_heads_of_128_equals_the_reference() {
    check_all(Ampere, 128, &LENGTHS);
}

#[test]
fn the_order_of_cubes_and_planes_changes_nothing() {
    let Some(mut emulator) = Emulator::open(Ampere) else { return };
    let shape = Shape { rows: 1, queries: 150, keys: 200, heads: 4, kv_heads: 2, head_dim: 16 };
    let (document, branch) = Branches.tokens(shape);
    let tokens = [document, branch].map(|values| TensorData::new(values, [shape.rows, shape.keys]));
    let inputs = inputs(shape);
    let mut answers = [0, 3, 5].map(|order| {
        emulator.order = order;
        let answer =
            emulate(&mut emulator, &inputs, &tokens).unwrap_or_else(|error| panic!("{error}"));
        (answer.tensors, answer.lse)
    });
    let last = answers[2].clone();
    assert!(answers.iter_mut().all(|answer| *answer == last));
}

#[test]
fn the_emulator_finds_faults() {
    let no_barrier: Change = |text| text.replace("__syncthreads();", "");
    let faults: [(&str, &str, Change); 7] = [
        ("no barrier", "forward", no_barrier),
        ("no barrier", "backward_queries", no_barrier),
        ("no barrier", "backward_keys", no_barrier),
        ("no wait for copies", "forward", |text| {
            text.replace("cp.async.wait_group 0;", "cp.async.commit_group;")
        }),
        ("another operand", "backward_queries", |text| text.replacen("[%4 + 768]", "[%4 + 0]", 1)),
        ("a copy behind the end", "backward_keys", |text| {
            text.replace(
                "cp.async.cg.shared.global [%0 + 0]",
                "cp.async.cg.shared.global [%0 + 900000]",
            )
        }),
        ("no transposition", "backward_keys", |text| text.replacen("x4.trans.", "x4.", 1)),
    ];
    let shape = Shape { rows: 1, queries: 130, keys: 130, heads: 1, kv_heads: 1, head_dim: 16 };
    let Some(mut emulator) = Emulator::open(Ampere) else { return };
    check(&mut emulator, shape, Branches).unwrap_or_else(|error| panic!("{error}"));
    for (what, kernel, change) in faults {
        emulator.set_fault(kernel, change);
        let found = check(&mut emulator, shape, Branches);
        assert!(found.is_err(), "{what} in `{kernel}` is not found");
    }
}

fn float(kind: FloatKind) -> ElemType {
    ElemType::Float(kind)
}

#[test]
fn a_card_with_tensor_cores_uses_them() {
    for card in [Ampere, Hopper] {
        uses_tensor_cores(&Recorder::of(card).client);
    }
}

fn uses_tensor_cores(client: &Client) {
    for head_dim in [16, 64, 80, 128] {
        assert_eq!(
            path(client, float(FloatKind::BF16), head_dim),
            Some(Path::TensorCores),
            "{head_dim}"
        );
    }
    for head_dim in [8, 40, 144, 256] {
        let chosen = path(client, float(FloatKind::BF16), head_dim);
        assert_eq!(chosen, Some(Path::Portable { side: 64 }), "{head_dim}");
    }
    assert_eq!(path(client, float(FloatKind::F32), 64), Some(Path::Portable { side: 64 }));
}

/// Checks each CUDA device in `UNER_TEST_DEVICES`, as in `flex,cuda:0`, whose shared memory holds
/// the tiles.
#[test]
fn named_cuda_devices_use_tensor_cores() {
    let named = std::env::var("UNER_TEST_DEVICES").unwrap_or_default();
    for name in named.split(',').map(str::trim).filter(|name| name.starts_with("cuda")) {
        let opened = name.parse::<DeviceName>().map_err(|error| error.to_string());
        let opened = opened.and_then(|name| name.open().map_err(|error| error.to_string()));
        let device = opened.unwrap_or_else(|error| panic!("{error}"));
        let tensor = Tensor::<1>::zeros([1], &device).try_into_primitive::<Cube>();
        let client = tensor.expect("the device is one of CubeCL's").client;
        let shared_memory = client.properties().hardware.max_shared_memory_size;
        for head_dim in [64, 128] {
            if Forms::of(head_dim).shared_memory() <= shared_memory {
                let chosen = path(&client, float(FloatKind::BF16), head_dim);
                assert_eq!(chosen, Some(Path::TensorCores), "{name} {head_dim}");
            }
        }
    }
}

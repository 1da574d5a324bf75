//! The rotation on the GPU: each unit rotates one vector of channels together with the vector of
//! their partners, half a head further on.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::RopeKernels;
use crate::cube::{Floats, contiguous, dims, element, elementwise, empty, vector_size};

impl RopeKernels for Cube {
    fn rotate(x: Floats, cos: Floats, sin: Floats, back: bool) -> Floats {
        let ([cos, sin], x) = (table(cos, sin), contiguous(x));
        let y = empty(&x, x.shape(), x.dtype());
        let heads = Heads::new(&x);
        if heads.pairs == 0 {
            return y;
        }
        let (cubes, units) = elementwise(heads.pairs, &x.client);
        rotate::launch(
            &x.client.clone(),
            cubes,
            units,
            heads.vector,
            x.into_buffer_arg(),
            cos.into_buffer_arg(),
            sin.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            sign(back),
            heads.count,
            heads.half,
            element(&y),
        );
        y
    }

    fn rotate_both([q, k]: [Floats; 2], cos: Floats, sin: Floats, back: bool) -> [Floats; 2] {
        assert_eq!(q.dtype(), k.dtype(), "queries and keys differ in type");
        let ([cos, sin], q, k) = (table(cos, sin), contiguous(q), contiguous(k));
        let out = [&q, &k].map(|x| empty(x, x.shape(), x.dtype()));
        let (queries, keys) = (Heads::new(&q), Heads::new(&k));
        if queries.pairs == 0 || keys.pairs == 0 {
            return out;
        }
        let (cubes, units) = elementwise(queries.pairs + keys.pairs, &q.client);
        let [rotated_q, rotated_k] = out.each_ref().map(|out| out.clone().into_buffer_arg());
        rotate_both::launch(
            &q.client.clone(),
            cubes,
            units,
            queries.vector,
            q.into_buffer_arg(),
            k.into_buffer_arg(),
            cos.into_buffer_arg(),
            sin.into_buffer_arg(),
            rotated_q,
            rotated_k,
            sign(back),
            [queries.count, keys.count],
            queries.half,
            element(&out[0]),
        );
        out
    }
}

fn table(cos: Floats, sin: Floats) -> [Floats; 2] {
    assert_eq!([cos.dtype(), sin.dtype()], [DType::F32; 2], "the rotary table is not f32");
    [cos, sin].map(contiguous)
}

fn sign(back: bool) -> f32 {
    if back { -1.0 } else { 1.0 }
}

/// The heads of a token, and the work for units.
struct Heads {
    count: usize,
    vector: usize,
    /// Vectors of half a head.
    half: usize,
    /// Pairs of vectors in all tokens, one per unit.
    pairs: usize,
}

impl Heads {
    fn new(x: &Floats) -> Self {
        let [rows, tokens, count, head_dim] = dims(x);
        let vector = vector_size(x, head_dim / 2);
        let half = head_dim / 2 / vector;
        Self { count, vector, half, pairs: rows * tokens * count * half }
    }
}

/// `sign` is 1, or -1 for the rotation back; `half` is half a head in vectors.
#[cube(launch, create_dummy_kernel)]
fn rotate<F: Float, N: Size>(
    x: &[Vector<F, N>],
    cos: &[Vector<f32, N>],
    sin: &[Vector<f32, N>],
    y: &mut [Vector<F, N>],
    sign: f32,
    #[comptime] heads: usize,
    #[comptime] half: usize,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS < y.len() / 2 {
        turn::<F, N>(x, cos, sin, y, ABSOLUTE_POS, sign, heads, half);
    }
}

/// Rotates queries; the units after these rotate keys. `heads` are the counts of both.
#[cube(launch, create_dummy_kernel)]
fn rotate_both<F: Float, N: Size>(
    q: &[Vector<F, N>],
    k: &[Vector<F, N>],
    cos: &[Vector<f32, N>],
    sin: &[Vector<f32, N>],
    rotated_q: &mut [Vector<F, N>],
    rotated_k: &mut [Vector<F, N>],
    sign: f32,
    #[comptime] heads: [usize; 2],
    #[comptime] half: usize,
    #[define(F)] _dtype: ElemType,
) {
    let queries = rotated_q.len() / 2;
    if ABSOLUTE_POS < queries {
        turn::<F, N>(q, cos, sin, rotated_q, ABSOLUTE_POS, sign, comptime!(heads[0]), half);
    } else if ABSOLUTE_POS - queries < rotated_k.len() / 2 {
        turn::<F, N>(
            k,
            cos,
            sin,
            rotated_k,
            ABSOLUTE_POS - queries,
            sign,
            comptime!(heads[1]),
            half,
        );
    }
}

/// Rotates a pair of vectors.
#[cube]
#[expect(clippy::too_many_arguments, reason = "the arguments of the kernel")]
fn turn<F: Float, N: Size>(
    x: &[Vector<F, N>],
    cos: &[Vector<f32, N>],
    sin: &[Vector<f32, N>],
    y: &mut [Vector<F, N>],
    pair: usize,
    sign: f32,
    #[comptime] heads: usize,
    #[comptime] half: usize,
) {
    // Heads are counted over all tokens.
    let (head, channel) = (pair / half, pair % half);
    let first = head * comptime!(2 * half) + channel;
    let second = first + half;
    let angle = head / heads * half + channel;
    let (cos, sin) = (cos[angle], sin[angle] * Vector::<f32, N>::new(sign));
    let x1 = Vector::<f32, N>::cast_from(x[first]);
    let x2 = Vector::<f32, N>::cast_from(x[second]);
    y[first] = Vector::<F, N>::cast_from(x1 * cos - x2 * sin);
    y[second] = Vector::<F, N>::cast_from(x2 * cos + x1 * sin);
}

//! The rotation on the GPU: a unit turns one vector of channels together with the vector of their partners, half a head
//! further on.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::RopeKernels;
use crate::cube::{Floats, contiguous, dims, element, elementwise, empty, vector_size};

impl RopeKernels for Cube {
    fn rotate(x: Floats, cos: Floats, sin: Floats, back: bool) -> Floats {
        assert_eq!([cos.dtype(), sin.dtype()], [DType::F32; 2], "the rotary table is not f32");
        let (x, cos, sin) = (contiguous(x), contiguous(cos), contiguous(sin));
        let [rows, tokens, heads, head_dim] = dims(&x);
        let y = empty(&x, x.shape(), x.dtype());
        let vector = vector_size(&x, head_dim / 2);
        let half = head_dim / 2 / vector;
        let pairs = rows * tokens * heads * half;
        if pairs == 0 {
            return y;
        }
        let (cubes, units) = elementwise(pairs, &x.client);
        rotate::launch(
            &x.client.clone(),
            cubes,
            units,
            vector,
            x.into_buffer_arg(),
            cos.into_buffer_arg(),
            sin.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            if back { -1.0 } else { 1.0 },
            heads,
            half,
            element(&y),
        );
        y
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
    let pair = ABSOLUTE_POS;
    if pair < y.len() / 2 {
        // Heads are counted on over all tokens.
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
}

//! The gated activation on the GPU: one vector per unit, one pass in each direction.

use burn::backend::{Cube, TensorMetadata};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::SwigluKernels;
use crate::cube::{Floats, contiguous, element, elementwise, empty, vector_size};

impl SwigluKernels for Cube {
    fn swiglu_forward(gate: Floats, up: Floats) -> Floats {
        assert_eq!(gate.dtype(), up.dtype(), "`gate` and `up` differ in type");
        let (gate, up) = (contiguous(gate), contiguous(up));
        let y = empty(&gate, gate.shape(), gate.dtype());
        let (vector, vectors) = vectors(&gate);
        if vectors == 0 {
            return y;
        }
        let (cubes, units) = elementwise(vectors, &gate.client);
        forward::launch(
            &gate.client.clone(),
            cubes,
            units,
            vector,
            gate.into_buffer_arg(),
            up.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            element(&y),
        );
        y
    }

    fn swiglu_backward(gate: Floats, up: Floats, dy: Floats) -> (Floats, Floats) {
        assert_eq!(
            [gate.dtype(); 2],
            [up.dtype(), dy.dtype()],
            "`gate`, `up` and the gradient differ in type"
        );
        let (gate, up, dy) = (contiguous(gate), contiguous(up), contiguous(dy));
        let (dgate, dup) =
            (empty(&gate, gate.shape(), gate.dtype()), empty(&gate, gate.shape(), gate.dtype()));
        let (vector, vectors) = vectors(&gate);
        if vectors == 0 {
            return (dgate, dup);
        }
        let (cubes, units) = elementwise(vectors, &gate.client);
        backward::launch(
            &gate.client.clone(),
            cubes,
            units,
            vector,
            gate.into_buffer_arg(),
            up.into_buffer_arg(),
            dy.into_buffer_arg(),
            dgate.clone().into_buffer_arg(),
            dup.clone().into_buffer_arg(),
            element(&dgate),
        );
        (dgate, dup)
    }
}

/// The vector width of a tensor seen as one long row, and the number of its vectors.
fn vectors(tensor: &Floats) -> (usize, usize) {
    let count = tensor.shape().num_elements();
    let vector = vector_size(tensor, count);
    (vector, count / vector)
}

#[cube]
fn sigmoid<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let one = Vector::<f32, N>::new(1.0f32);
    one / (one + (-x).exp())
}

#[cube(launch, create_dummy_kernel)]
fn forward<F: Float, N: Size>(
    gate: &[Vector<F, N>],
    up: &[Vector<F, N>],
    y: &mut [Vector<F, N>],
    #[define(F)] _dtype: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < y.len() {
        let gate = Vector::<f32, N>::cast_from(gate[at]);
        let up = Vector::<f32, N>::cast_from(up[at]);
        y[at] = Vector::<F, N>::cast_from(gate * sigmoid::<N>(gate) * up);
    }
}

#[cube(launch, create_dummy_kernel)]
fn backward<F: Float, N: Size>(
    gate: &[Vector<F, N>],
    up: &[Vector<F, N>],
    dy: &[Vector<F, N>],
    dgate: &mut [Vector<F, N>],
    dup: &mut [Vector<F, N>],
    #[define(F)] _dtype: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < dgate.len() {
        let gate = Vector::<f32, N>::cast_from(gate[at]);
        let up = Vector::<f32, N>::cast_from(up[at]);
        let dy = Vector::<f32, N>::cast_from(dy[at]);
        let one = Vector::<f32, N>::new(1.0f32);
        let sigmoid = sigmoid::<N>(gate);
        let slope = sigmoid * (one + gate * (one - sigmoid));
        dgate[at] = Vector::<F, N>::cast_from(dy * up * slope);
        dup[at] = Vector::<F, N>::cast_from(dy * gate * sigmoid);
    }
}

//! Dropout on the GPU: one vector of a row per unit.

mod product;

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::kernel::{cast, into_contiguous};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{DropoutKernels, DropoutSite};
use crate::cube::{
    Floats, Ints, contiguous, dims, element, elementwise, empty, mixed, vector_size,
};
use crate::hash::{STRIDE, mix};

impl DropoutKernels for Cube {
    fn drop_out(x: Floats, keys: Ints, site: DropoutSite) -> Floats {
        let (x, keys) = (contiguous(x), into_contiguous(cast(keys, DType::I32)));
        let [_, columns] = dims(&x);
        let y = empty(&x, x.shape(), x.dtype());
        let vector = vector_size(&x, columns);
        let vectors = x.shape().num_elements() / vector;
        if vectors == 0 {
            return y;
        }
        let (cubes, units) = elementwise(vectors, &x.client);
        drop_out::launch(
            &x.client.clone(),
            cubes,
            units,
            vector,
            x.into_buffer_arg(),
            keys.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            mix(site.layer_key),
            site.threshold(),
            site.scale(),
            columns / vector,
            element(&y),
        );
        y
    }
}

/// `layer_key` is already mixed; `width` is the length of a row in vectors.
#[cube(launch, create_dummy_kernel)]
fn drop_out<F: Float, N: Size>(
    x: &[Vector<F, N>],
    keys: &[i32],
    y: &mut [Vector<F, N>],
    layer_key: u32,
    threshold: u32,
    scale: f32,
    width: usize,
    #[define(F)] _dtype: ElemType,
) {
    let index = ABSOLUTE_POS;
    if index < y.len() {
        let start = mixed(u32::cast_from(keys[index / width]) ^ layer_key);
        let values = Vector::<f32, N>::cast_from(x[index]);
        y[index] = Vector::<F, N>::cast_from(apply_dropout::<N>(
            values,
            start,
            index % width,
            threshold,
            scale,
        ));
    }
}

/// Applies dropout to a vector of a row: `start` is the row's hash, `column` the vector's index in
/// the row.
#[cube]
fn apply_dropout<N: Size>(
    values: Vector<f32, N>,
    start: u32,
    column: usize,
    threshold: u32,
    scale: f32,
) -> Vector<f32, N> {
    let first = column * N::value();
    let mut out = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        let hash = mixed(start + u32::cast_from(first + lane) * STRIDE);
        let factor = select(hash < threshold, 0.0f32, scale);
        out.insert(lane, values.extract(lane) * factor);
    }
    out
}

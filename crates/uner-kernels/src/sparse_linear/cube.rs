//! The entries on the GPU: one cube sums the products of an entry.

use burn::backend::Cube;
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{Entries, SparseLinearOps};
use crate::cube::{
    Floats, contiguous, cube_sum, dims, element, empty, integers, plane_size, units_for,
    vector_size, vector_total,
};

/// Most cubes along one dimension: WebGPU starts no more than 65,535.
const CUBES: usize = 32 << 10;

impl SparseLinearOps for Cube {
    fn sparse_linear(x: Floats, weight: Floats, entries: Entries) -> Floats {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let y = empty(&x, [entries.len()], DType::F32);
        if entries.is_empty() {
            return y;
        }
        let [_, width] = dims(&x);
        let vector = vector_size(&x, width).min(vector_size(&weight, width));
        let rows = integers(entries.iter().map(|entry| entry.0), &x);
        let outputs = integers(entries.iter().map(|entry| entry.1), &x);
        let (units, plane) = (units_for(width / vector, &x.client), plane_size(&x.client));
        let (across, down) = (entries.len().min(CUBES), entries.len().div_ceil(CUBES));
        dot::launch(
            &x.client,
            CubeCount::Static(across as u32, down as u32, 1),
            CubeDim::new_1d(units as u32),
            vector,
            x.clone().into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            rows.into_buffer_arg(),
            outputs.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            width / vector,
            units,
            plane,
            element(&x),
            element(&weight),
        );
        y
    }
}

/// `y[i]` is the dot product, in f32, of row `rows[i]` of `x` and row `outputs[i]` of `weight`.
/// Rows have `width` vectors.
#[cube(launch, create_dummy_kernel)]
fn dot<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    rows: &[i32],
    outputs: &[i32],
    y: &mut [f32],
    width: usize,
    #[comptime] units: usize,
    #[comptime] plane: usize,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _weight_dtype: ElemType,
) {
    // Cubes behind the last entry compute it, too, because all units of all cubes have to meet.
    let own = usize::cast_from(CUBE_POS);
    let entry = min(own, y.len() - 1);
    let (row, output) = (rows[entry] as usize * width, outputs[entry] as usize * width);
    let mut total = Vector::<f32, N>::new(0.0f32);
    for at in range_stepped(UNIT_POS as usize, width, units) {
        let value = Vector::<f32, N>::cast_from(x[row + at]);
        total += value * Vector::<f32, N>::cast_from(weight[output + at]);
    }
    let total = cube_sum(vector_total::<N>(total), units, plane);
    if UNIT_POS == 0 && own == entry {
        y[entry] = total;
    }
}

//! The sums on the GPU: for each tensor, as many cubes as the device runs at once sum one part
//! each; at the end, one cube per tensor adds up its parts.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{PARTS, SquaredNormOps};
use crate::cube::{
    Floats, contiguous, cube_sum, cubes_for, element, empty, owned, plane_size, units_for,
    vector_size, vector_total,
};

/// Units per cube.
const UNITS: usize = 256;
/// Cubes per processor at once.
const CUBES: usize = 4;
/// Loads per unit in flight: with that many units, enough for full memory speed.
const LOADS: usize = 4;

impl SquaredNormOps for Cube {
    fn squared_parts(values: Floats, parts: Floats, index: usize) -> Floats {
        let (values, parts) = (contiguous(values), owned(parts));
        let count = values.shape().num_elements();
        if count == 0 {
            return parts;
        }
        let vector = vector_size(&values, count);
        let cubes = cubes_for((count / vector).div_ceil(UNITS), CUBES, &values.client).min(PARTS);
        partial_sums::launch(
            &values.client,
            CubeCount::Static(cubes as u32, 1, 1),
            CubeDim::new_1d(UNITS as u32),
            vector,
            values.clone().into_buffer_arg(),
            parts.clone().into_buffer_arg(),
            index * PARTS,
            plane_size(&values.client),
            element(&values),
        );
        parts
    }

    fn sums_of_parts(parts: Floats) -> Floats {
        let rows = parts.shape().num_elements() / PARTS;
        let sums = empty(&parts, [rows], DType::F32);
        let (units, plane) = (units_for(PARTS, &parts.client), plane_size(&parts.client));
        totals::launch(
            &parts.client.clone(),
            CubeCount::Static(rows as u32, 1, 1),
            CubeDim::new_1d(units as u32),
            parts.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            units,
            plane,
        );
        sums
    }
}

/// Cube `i` writes the sum of squares of its units' vectors to `sums[first + i]`. The units of all
/// cubes go through the tensor in a grid-stride loop.
#[cube(launch, create_dummy_kernel)]
fn partial_sums<F: Float, N: Size>(
    values: &[Vector<F, N>],
    sums: &mut [f32],
    first: usize,
    #[comptime] plane: usize,
    #[define(F)] _dtype: ElemType,
) {
    let stride = CUBE_COUNT_X as usize * UNITS;
    let turns = values.len() / (LOADS * stride);
    let mut total = Vector::<f32, N>::new(0.0f32);
    for turn in 0..turns {
        let start = turn * (LOADS * stride) + ABSOLUTE_POS;
        let mut loaded = Array::<Vector<F, N>>::new(LOADS);
        #[unroll]
        for load in 0..LOADS {
            loaded[load] = values[start + load * stride];
        }
        #[unroll]
        for load in 0..LOADS {
            let value = Vector::<f32, N>::cast_from(loaded[load]);
            total += value * value;
        }
    }
    for at in range_stepped(turns * (LOADS * stride) + ABSOLUTE_POS, values.len(), stride) {
        let value = Vector::<f32, N>::cast_from(values[at]);
        total += value * value;
    }
    let total = cube_sum(vector_total::<N>(total), UNITS, plane);
    if UNIT_POS == 0 {
        sums[first + CUBE_POS_X as usize] = total;
    }
}

/// Sums each row of [`PARTS`] terms, one cube per row.
#[cube(launch, create_dummy_kernel)]
fn totals(terms: &[f32], sums: &mut [f32], #[comptime] units: usize, #[comptime] plane: usize) {
    let start = CUBE_POS_X as usize * PARTS;
    let mut total = 0.0f32;
    for at in range_stepped(UNIT_POS as usize, PARTS, units) {
        total += terms[start + at];
    }
    let total = cube_sum(total, units, plane);
    if UNIT_POS == 0 {
        sums[CUBE_POS_X as usize] = total;
    }
}

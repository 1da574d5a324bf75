//! The sum on the GPU: as many cubes as the device holds at once each add up a part, one cube adds up the parts.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::SquaredNormOps;
use crate::cube::{
    Floats, contiguous, cube_sum, cubes_for, element, empty, plane_size, units_for, vector_size,
    vector_total, zeros,
};

impl SquaredNormOps for Cube {
    fn squared_norm(values: Floats) -> Floats {
        let values = contiguous(values);
        let count = values.shape().num_elements();
        if count == 0 {
            return zeros(&values, [1], DType::F32);
        }
        let vectors = count / vector_size(&values, count);
        let cubes = cubes_for(vectors.div_ceil(units_for(vectors, &values.client)), &values.client);
        sum(&sum(&values, cubes, true), 1, false)
    }
}

/// The sums, or sums of squares, of `cubes` parts of the elements: `[cubes]`, f32.
fn sum(values: &Floats, cubes: usize, squared: bool) -> Floats {
    let count = values.shape().num_elements();
    let vector = vector_size(values, count);
    let sums = empty(values, [cubes], DType::F32);
    let (units, plane) = (units_for(count / vector, &values.client), plane_size(&values.client));
    partial_sums::launch(
        &values.client,
        CubeCount::Static(cubes as u32, 1, 1),
        CubeDim::new_1d(units as u32),
        vector,
        values.clone().into_buffer_arg(),
        sums.clone().into_buffer_arg(),
        units,
        plane,
        squared,
        element(values),
    );
    sums
}

/// Cube `i` writes the sum of every vector that its units meet on their way through all, to `sums[i]`.
#[cube(launch, create_dummy_kernel)]
fn partial_sums<F: Float, N: Size>(
    values: &[Vector<F, N>],
    sums: &mut [f32],
    #[comptime] units: usize,
    #[comptime] plane: usize,
    #[comptime] squared: bool,
    #[define(F)] _dtype: ElemType,
) {
    let mut total = Vector::<f32, N>::new(0.0f32);
    for at in range_stepped(ABSOLUTE_POS, values.len(), CUBE_COUNT_X as usize * units) {
        let value = Vector::<f32, N>::cast_from(values[at]);
        total += if comptime!(squared) { value * value } else { value };
    }
    let total = cube_sum(vector_total::<N>(total), units, plane);
    if UNIT_POS == 0 {
        sums[CUBE_POS_X as usize] = total;
    }
}

//! The norm on the GPU: one cube a row forward; backward, cubes that take many rows each and keep their part of the
//! weight's gradient, summed by a second kernel in a fixed order.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::RmsNormKernels;
use crate::cube::{
    Floats, contiguous, cube_sum, cubes_for, dims, element, empty, plane_size, units_for, vector_size,
    vector_total,
};

impl RmsNormKernels for Cube {
    fn rms_norm_forward(x: Floats, weight: Floats, eps: f64) -> Floats {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let [rows, hidden] = dims(&x);
        let y = empty(&x, x.shape(), x.dtype());
        if rows == 0 {
            return y;
        }
        let (client, dtype, vector) = (x.client.clone(), element(&x), vector_size(&x, hidden));
        let units = units_for(hidden / vector, &client);
        forward::launch(
            &client,
            CubeCount::Static(rows as u32, 1, 1),
            CubeDim::new_1d(units as u32),
            vector,
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            hidden / vector,
            eps as f32,
            units,
            plane_size(&client),
            dtype,
        );
        y
    }

    fn rms_norm_backward(x: Floats, weight: Floats, eps: f64, dy: Floats) -> (Floats, Floats) {
        let (x, weight, dy) = (contiguous(x), contiguous(weight), contiguous(dy));
        let [rows, hidden] = dims(&x);
        let (client, dtype, vector) = (x.client.clone(), element(&x), vector_size(&x, hidden));
        let (units, cubes) = (units_for(hidden / vector, &client), cubes_for(rows, &client));
        let dx = empty(&x, x.shape(), x.dtype());
        let partials = empty(&x, [cubes, hidden], DType::F32);
        let dweight = empty(&x, [hidden], weight.dtype());
        backward::launch(
            &client,
            CubeCount::Static(cubes as u32, 1, 1),
            CubeDim::new_1d(units as u32),
            vector,
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            dy.into_buffer_arg(),
            dx.clone().into_buffer_arg(),
            partials.clone().into_buffer_arg(),
            rows,
            eps as f32,
            hidden / vector,
            units,
            plane_size(&client),
            dtype,
        );
        column_sums::launch(
            &client,
            CubeCount::Static(hidden.div_ceil(64) as u32, 1, 1),
            CubeDim::new_1d(64),
            partials.into_buffer_arg(),
            dweight.clone().into_buffer_arg(),
            cubes,
            hidden,
            dtype,
        );
        (dx, dweight)
    }
}

/// The reciprocal root mean square of the row that starts at vector `start`.
#[cube]
fn reciprocal_root<F: Float, N: Size>(
    x: &[Vector<F, N>],
    start: usize,
    width: usize,
    eps: f32,
    #[comptime] units: usize,
    #[comptime] plane: usize,
) -> f32 {
    let mut squares = Vector::<f32, N>::new(0.0f32);
    for column in range_stepped(UNIT_POS as usize, width, units) {
        let value = Vector::<f32, N>::cast_from(x[start + column]);
        squares += value * value;
    }
    let total = cube_sum(vector_total::<N>(squares), units, plane);
    1.0f32 / (total / f32::cast_from(width * N::value()) + eps).sqrt()
}

#[cube(launch)]
fn forward<F: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<F, N>],
    y: &mut [Vector<F, N>],
    width: usize,
    eps: f32,
    #[comptime] units: usize,
    #[comptime] plane: usize,
    #[define(F)] _dtype: ElemType,
) {
    let start = CUBE_POS_X as usize * width;
    let scale = Vector::<f32, N>::new(reciprocal_root::<F, N>(x, start, width, eps, units, plane));
    for column in range_stepped(UNIT_POS as usize, width, units) {
        let normed = Vector::<f32, N>::cast_from(x[start + column]) * scale;
        y[start + column] = Vector::<F, N>::cast_from(normed * Vector::<f32, N>::cast_from(weight[column]));
    }
}

/// `width` is known at compile time, so that a unit's columns of the weight's gradient stay in registers over all rows.
#[cube(launch)]
fn backward<F: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<F, N>],
    dy: &[Vector<F, N>],
    dx: &mut [Vector<F, N>],
    partials: &mut [Vector<f32, N>],
    rows: usize,
    eps: f32,
    #[comptime] width: usize,
    #[comptime] units: usize,
    #[comptime] plane: usize,
    #[define(F)] _dtype: ElemType,
) {
    let columns = comptime!(width.div_ceil(units));
    let unit = UNIT_POS as usize;
    let mut sums = Array::<Vector<f32, N>>::new(columns);
    #[unroll]
    for index in 0..columns {
        sums[index] = Vector::<f32, N>::new(0.0f32);
    }
    for row in range_stepped(CUBE_POS_X as usize, rows, CUBE_COUNT_X as usize) {
        let start = row * width;
        let scale = reciprocal_root::<F, N>(x, start, width, eps, units, plane);
        let mut products = Vector::<f32, N>::new(0.0f32);
        for column in range_stepped(unit, width, units) {
            let pulled =
                Vector::<f32, N>::cast_from(dy[start + column]) * Vector::<f32, N>::cast_from(weight[column]);
            products += pulled * Vector::<f32, N>::cast_from(x[start + column]);
        }
        let total = cube_sum(vector_total::<N>(products), units, plane);
        let mean = total / f32::cast_from(width * N::value());
        let pull = Vector::<f32, N>::new(scale * scale * mean);
        let scale = Vector::<f32, N>::new(scale);
        #[unroll]
        for index in 0..columns {
            let column = index * units + unit;
            if column < width {
                let value = Vector::<f32, N>::cast_from(x[start + column]);
                let slope = Vector::<f32, N>::cast_from(dy[start + column]);
                let pulled = slope * Vector::<f32, N>::cast_from(weight[column]);
                dx[start + column] = Vector::<F, N>::cast_from(scale * (pulled - value * pull));
                sums[index] += slope * value * scale;
            }
        }
    }
    #[unroll]
    for index in 0..columns {
        let column = index * units + unit;
        if column < width {
            partials[CUBE_POS_X as usize * width + column] = sums[index];
        }
    }
}

/// The sum of each column of `[rows, columns]`, one unit a column.
#[cube(launch)]
fn column_sums<F: Float>(
    terms: &[f32],
    sums: &mut [F],
    rows: usize,
    columns: usize,
    #[define(F)] _dtype: ElemType,
) {
    let column = ABSOLUTE_POS;
    if column < columns {
        let mut total = 0.0f32;
        for row in 0..rows {
            total += terms[row * columns + column];
        }
        sums[column] = F::cast_from(total);
    }
}

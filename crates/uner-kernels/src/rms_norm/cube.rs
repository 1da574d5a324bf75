//! The norm on the GPU: one cube a row, which it reads once and keeps in registers. Backward, cubes take many rows each
//! and keep their part of the weight's gradient, summed by a second kernel in a fixed order.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::RmsNormKernels;
use crate::cube::{
    Floats, contiguous, cube_sum, cubes_for, dims, element, empty, plane_size, units_for, vector_size,
    vector_total,
};

/// Columns of which one cube of [`column_sums`] takes care, and the units that share each.
const COLUMNS: usize = 32;
const SHARES: usize = 8;

impl RmsNormKernels for Cube {
    fn rms_norm_forward(x: Floats, weight: Floats, eps: f64) -> Floats {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let y = empty(&x, x.shape(), x.dtype());
        let Some(launch) = RowLaunch::new(&x) else { return y };
        forward::launch(
            &x.client.clone(),
            launch.cubes(),
            launch.units(),
            launch.vector,
            x.into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            y.clone().into_buffer_arg(),
            launch.rows,
            eps as f32,
            launch.row,
            element(&y),
            element(&weight),
        );
        y
    }

    fn add_rms_norm_forward(x: Floats, residual: Floats, weight: Floats, eps: f64) -> (Floats, Floats) {
        assert_eq!(x.dtype(), residual.dtype(), "`x` and `residual` differ in type");
        let (x, residual, weight) = (contiguous(x), contiguous(residual), contiguous(weight));
        let (sum, y) = (empty(&x, x.shape(), x.dtype()), empty(&x, x.shape(), x.dtype()));
        let Some(launch) = RowLaunch::new(&x) else { return (sum, y) };
        add_forward::launch(
            &x.client.clone(),
            launch.cubes(),
            launch.units(),
            launch.vector,
            x.into_buffer_arg(),
            residual.into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            sum.clone().into_buffer_arg(),
            y.clone().into_buffer_arg(),
            launch.rows,
            eps as f32,
            launch.row,
            element(&y),
            element(&weight),
        );
        (sum, y)
    }

    fn rms_norm_backward(
        x: Floats,
        weight: Floats,
        eps: f64,
        dy: Floats,
        wants_weight: bool,
    ) -> (Floats, Option<Floats>) {
        assert_eq!(x.dtype(), dy.dtype(), "`x` and its gradient differ in type");
        let (x, weight, dy) = (contiguous(x), contiguous(weight), contiguous(dy));
        let dx = empty(&x, x.shape(), x.dtype());
        let [rows, hidden] = dims(&x);
        let cubes = cubes_for(rows, &x.client);
        // A buffer that is not written still has to be bound.
        let partials = empty(&x, if wants_weight { [cubes, hidden] } else { [1, 8] }, DType::F32);
        if let Some(launch) = RowLaunch::new(&x) {
            backward::launch(
                &x.client.clone(),
                CubeCount::Static(cubes as u32, 1, 1),
                launch.units(),
                launch.vector,
                x.into_buffer_arg(),
                weight.clone().into_buffer_arg(),
                dy.into_buffer_arg(),
                dx.clone().into_buffer_arg(),
                partials.clone().into_buffer_arg(),
                rows,
                eps as f32,
                launch.row,
                wants_weight,
                element(&dx),
                element(&weight),
            );
        }
        (dx, wants_weight.then(|| sum_columns(partials, rows.min(cubes), weight.dtype())))
    }
}

/// The sums of the columns of the first `rows` rows, in the given type.
fn sum_columns(terms: Floats, rows: usize, dtype: DType) -> Floats {
    let [_, columns] = dims(&terms);
    let sums = empty(&terms, [columns], dtype);
    column_sums::launch(
        &terms.client.clone(),
        CubeCount::Static(columns.div_ceil(COLUMNS) as u32, 1, 1),
        CubeDim::new_2d(COLUMNS as u32, SHARES as u32),
        terms.into_buffer_arg(),
        sums.clone().into_buffer_arg(),
        rows,
        columns,
        element(&sums),
    );
    sums
}

/// What a kernel is compiled for: the vectors of a row, the units of a cube and of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    width: usize,
    units: usize,
    plane: usize,
}

impl Row {
    /// The vectors of a row that one unit keeps.
    fn slots(self) -> usize {
        self.width.div_ceil(self.units)
    }
}

/// How the rows of a tensor are spread over cubes.
struct RowLaunch {
    row: Row,
    rows: usize,
    vector: usize,
    cubes: u32,
}

impl RowLaunch {
    /// `None` for a tensor without elements.
    fn new(x: &Floats) -> Option<Self> {
        let [rows, hidden] = dims(x);
        let vector = vector_size(x, hidden);
        let width = hidden / vector;
        let row = Row { width, units: units_for(width, &x.client), plane: plane_size(&x.client) };
        let cubes = (rows as u32).min(x.client.properties().hardware.max_cube_count.0);
        (rows * hidden > 0).then_some(Self { row, rows, vector, cubes })
    }

    fn cubes(&self) -> CubeCount {
        CubeCount::Static(self.cubes, 1, 1)
    }

    fn units(&self) -> CubeDim {
        CubeDim::new_1d(self.row.units as u32)
    }
}

/// The vectors of this unit of the row that starts at vector `start`, zero where the row has ended.
#[cube]
fn load_row<F: Float, N: Size>(
    from: &[Vector<F, N>],
    start: usize,
    #[comptime] row: Row,
) -> Array<Vector<F, N>> {
    let slots = comptime!(row.slots());
    let mut values = Array::<Vector<F, N>>::new(slots);
    #[unroll]
    for slot in 0..slots {
        let column = comptime!(slot * row.units) + UNIT_POS as usize;
        values[slot] = Vector::<F, N>::new(F::from_int(0));
        if column < comptime!(row.width) {
            values[slot] = from[start + column];
        }
    }
    values
}

/// `1 / sqrt(mean(x²) + eps)` of the row that the units of this cube hold together.
#[cube]
fn reciprocal_root<F: Float, N: Size>(x: &Array<Vector<F, N>>, eps: f32, #[comptime] row: Row) -> f32 {
    let mut squares = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        let value = Vector::<f32, N>::cast_from(x[slot]);
        squares += value * value;
    }
    let total = cube_sum(vector_total::<N>(squares), row.units, row.plane);
    1.0f32 / (total / f32::cast_from(comptime!(row.width) * N::value()) + eps).sqrt()
}

/// Writes the norm of the row that the units of this cube hold together.
#[cube]
fn store_normed<F: Float, W: Float, N: Size>(
    x: &Array<Vector<F, N>>,
    weight: &Array<Vector<W, N>>,
    y: &mut [Vector<F, N>],
    start: usize,
    eps: f32,
    #[comptime] row: Row,
) {
    let scale = Vector::<f32, N>::new(reciprocal_root::<F, N>(x, eps, row));
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        let column = comptime!(slot * row.units) + UNIT_POS as usize;
        let normed = Vector::<f32, N>::cast_from(x[slot]) * scale * Vector::<f32, N>::cast_from(weight[slot]);
        if column < comptime!(row.width) {
            y[start + column] = Vector::<F, N>::cast_from(normed);
        }
    }
}

#[cube(launch, create_dummy_kernel)]
fn forward<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    y: &mut [Vector<F, N>],
    rows: usize,
    eps: f32,
    #[comptime] row: Row,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _weight_dtype: ElemType,
) {
    let weight = load_row::<W, N>(weight, 0, row);
    for index in range_stepped(CUBE_POS_X as usize, rows, CUBE_COUNT_X as usize) {
        let start = index * comptime!(row.width);
        let values = load_row::<F, N>(x, start, row);
        store_normed::<F, W, N>(&values, &weight, y, start, eps, row);
    }
}

/// The sum is rounded to the type of its buffer before the norm, as if it had been read from there.
#[cube(launch, create_dummy_kernel)]
fn add_forward<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    residual: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    sum: &mut [Vector<F, N>],
    y: &mut [Vector<F, N>],
    rows: usize,
    eps: f32,
    #[comptime] row: Row,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _weight_dtype: ElemType,
) {
    let weight = load_row::<W, N>(weight, 0, row);
    for index in range_stepped(CUBE_POS_X as usize, rows, CUBE_COUNT_X as usize) {
        let start = index * comptime!(row.width);
        let mut values = load_row::<F, N>(x, start, row);
        let residual = load_row::<F, N>(residual, start, row);
        #[unroll]
        for slot in 0..comptime!(row.slots()) {
            let column = comptime!(slot * row.units) + UNIT_POS as usize;
            values[slot] = Vector::<F, N>::cast_from(
                Vector::<f32, N>::cast_from(values[slot]) + Vector::<f32, N>::cast_from(residual[slot]),
            );
            if column < comptime!(row.width) {
                sum[start + column] = values[slot];
            }
        }
        store_normed::<F, W, N>(&values, &weight, y, start, eps, row);
    }
}

/// With `r` the reciprocal root mean square: `dx = r · (dy · weight - x · r² · mean(dy · weight · x))`, and of the
/// weight's gradient `Σ dy · x · r` the part of this cube's rows.
#[cube(launch, create_dummy_kernel)]
fn backward<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    dy: &[Vector<F, N>],
    dx: &mut [Vector<F, N>],
    partials: &mut [Vector<f32, N>],
    rows: usize,
    eps: f32,
    #[comptime] row: Row,
    #[comptime] wants_weight: bool,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _weight_dtype: ElemType,
) {
    let weight = load_row::<W, N>(weight, 0, row);
    let mut sums = Array::<Vector<f32, N>>::new(comptime!(row.slots()));
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        sums[slot] = Vector::<f32, N>::new(0.0f32);
    }
    for index in range_stepped(CUBE_POS_X as usize, rows, CUBE_COUNT_X as usize) {
        let start = index * comptime!(row.width);
        let values = load_row::<F, N>(x, start, row);
        let slopes = load_row::<F, N>(dy, start, row);
        let mut products = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for slot in 0..comptime!(row.slots()) {
            products += Vector::<f32, N>::cast_from(slopes[slot])
                * Vector::<f32, N>::cast_from(weight[slot])
                * Vector::<f32, N>::cast_from(values[slot]);
        }
        let scale = reciprocal_root::<F, N>(&values, eps, row);
        let total = cube_sum(vector_total::<N>(products), row.units, row.plane);
        let pull = scale * scale * total / f32::cast_from(comptime!(row.width) * N::value());
        #[unroll]
        for slot in 0..comptime!(row.slots()) {
            let column = comptime!(slot * row.units) + UNIT_POS as usize;
            let value = Vector::<f32, N>::cast_from(values[slot]);
            let slope = Vector::<f32, N>::cast_from(slopes[slot]);
            let pulled = slope * Vector::<f32, N>::cast_from(weight[slot]);
            if column < comptime!(row.width) {
                dx[start + column] = Vector::<F, N>::cast_from(
                    Vector::<f32, N>::new(scale) * (pulled - value * Vector::<f32, N>::new(pull)),
                );
            }
            sums[slot] += slope * value * Vector::<f32, N>::new(scale);
        }
    }
    if comptime!(wants_weight) {
        #[unroll]
        for slot in 0..comptime!(row.slots()) {
            let column = comptime!(slot * row.units) + UNIT_POS as usize;
            if column < comptime!(row.width) {
                partials[CUBE_POS_X as usize * comptime!(row.width) + column] = sums[slot];
            }
        }
    }
}

/// The sum of each column of `[rows, columns]`: neighbouring units read neighbouring columns, and the units of a column
/// take every eighth row.
#[cube(launch, create_dummy_kernel)]
fn column_sums<F: Float>(
    terms: &[f32],
    sums: &mut [F],
    rows: usize,
    columns: usize,
    #[define(F)] _dtype: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(COLUMNS * SHARES));
    let column = CUBE_POS_X as usize * COLUMNS + UNIT_POS_X as usize;
    let mut total = 0.0f32;
    if column < columns {
        for row in range_stepped(UNIT_POS_Y as usize, rows, SHARES) {
            total += terms[row * columns + column];
        }
    }
    shared[UNIT_POS as usize] = total;
    sync_cube();
    if UNIT_POS_Y == 0 && column < columns {
        total = 0.0f32;
        #[unroll]
        for share in 0..SHARES {
            total += shared[comptime!(share * COLUMNS) + UNIT_POS_X as usize];
        }
        sums[column] = F::cast_from(total);
    }
}

//! The device kernels. A cube takes row after row and keeps one in registers. It loads the next one
//! while it reduces the sums of this one, so that memory never waits.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::Row;
use crate::cube::{cube_sums, shared_sums, vector_total};

/// Columns per cube of [`column_sums`], and units per column.
pub(super) const COLUMNS: usize = 16;
pub(super) const COLUMN_UNITS: usize = 16;

/// Loads this unit's vectors of the row that starts at vector `start`, zero behind the row's end.
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
        if comptime!(row.is_full()) {
            values[slot] = from[start + column];
        } else {
            values[slot] = Vector::<F, N>::new(F::from_int(0));
            if column < comptime!(row.width) {
                values[slot] = from[start + column];
            }
        }
    }
    values
}

/// Writes this unit's vectors of a row.
#[cube]
fn store_row<F: Float, N: Size>(
    values: &Array<Vector<F, N>>,
    to: &mut [Vector<F, N>],
    start: usize,
    #[comptime] row: Row,
) {
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        let column = comptime!(slot * row.units) + UNIT_POS as usize;
        if comptime!(row.is_full()) || column < comptime!(row.width) {
            to[start + column] = values[slot];
        }
    }
}

#[cube]
fn copy_row<F: Float, N: Size>(
    from: &Array<Vector<F, N>>,
    to: &mut Array<Vector<F, N>>,
    #[comptime] row: Row,
) {
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        to[slot] = from[slot];
    }
}

/// The first vector of the row that a cube takes after row `index`; behind the last row, that of
/// row `index` again.
#[cube]
fn start_of_next(index: usize, rows: usize, #[comptime] row: Row) -> usize {
    let next = index + CUBE_COUNT_X as usize;
    select(next < rows, next, index) * comptime!(row.width)
}

/// This unit's part of the sum of squares of the cube's row.
#[cube]
fn squares<F: Float, N: Size>(x: &Array<Vector<F, N>>, #[comptime] row: Row) -> f32 {
    let mut squares = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        let value = Vector::<f32, N>::cast_from(x[slot]);
        squares += value * value;
    }
    vector_total::<N>(squares)
}

/// `1 / sqrt(mean(x²) + eps)` from the sum of squares.
#[cube]
fn reciprocal_root<N: Size>(squares: f32, eps: f32, #[comptime] row: Row) -> f32 {
    1.0f32 / (squares / f32::cast_from(comptime!(row.width) * N::value()) + eps).sqrt()
}

/// Writes the norm of the cube's row.
#[cube]
#[expect(
    clippy::too_many_arguments,
    reason = "inputs, output, shared memory and the row's position"
)]
fn store_normed<F: Float, W: Float, N: Size>(
    x: &Array<Vector<F, N>>,
    weight: &Array<Vector<W, N>>,
    y: &mut [Vector<F, N>],
    shared: &mut Shared<[f32]>,
    turn: usize,
    start: usize,
    eps: f32,
    #[comptime] row: Row,
) {
    let mut sums = Array::<f32>::new(1usize);
    sums[0] = squares::<F, N>(x, row);
    cube_sums(&mut sums, shared, turn, 1usize, row.units, row.plane);
    let scale = Vector::<f32, N>::new(reciprocal_root::<N>(sums[0], eps, row));
    let mut normed = Array::<Vector<F, N>>::new(comptime!(row.slots()));
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        let value = Vector::<f32, N>::cast_from(x[slot])
            * scale
            * Vector::<f32, N>::cast_from(weight[slot]);
        normed[slot] = Vector::<F, N>::cast_from(value);
    }
    store_row::<F, N>(&normed, y, start, row);
}

#[cube(launch, create_dummy_kernel)]
pub(super) fn forward<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    y: &mut [Vector<F, N>],
    rows: usize,
    eps: f32,
    #[comptime] row: Row,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _weight_dtype: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(shared_sums(1, row.units, row.plane)));
    let mut turn = 0usize;
    let mut values = load_row::<F, N>(x, CUBE_POS_X as usize * comptime!(row.width), row);
    let weight = load_row::<W, N>(weight, 0, row);
    for index in range_stepped(CUBE_POS_X as usize, rows, CUBE_COUNT_X as usize) {
        let ahead = load_row::<F, N>(x, start_of_next(index, rows, row), row);
        let start = index * comptime!(row.width);
        store_normed::<F, W, N>(&values, &weight, y, &mut shared, turn, start, eps, row);
        copy_row::<F, N>(&ahead, &mut values, row);
        turn = 1 - turn;
    }
}

/// Rounds the sum to the type of its buffer before the norm, as if it were read from there.
#[cube(launch, create_dummy_kernel)]
pub(super) fn add_forward<F: Float, W: Float, N: Size>(
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
    let mut shared = Shared::<[f32]>::new_slice(comptime!(shared_sums(1, row.units, row.plane)));
    let mut turn = 0usize;
    let first = CUBE_POS_X as usize * comptime!(row.width);
    let mut values = load_row::<F, N>(x, first, row);
    let mut others = load_row::<F, N>(residual, first, row);
    let weight = load_row::<W, N>(weight, 0, row);
    for index in range_stepped(CUBE_POS_X as usize, rows, CUBE_COUNT_X as usize) {
        let next = start_of_next(index, rows, row);
        let ahead = load_row::<F, N>(x, next, row);
        let others_ahead = load_row::<F, N>(residual, next, row);
        #[unroll]
        for slot in 0..comptime!(row.slots()) {
            values[slot] = Vector::<F, N>::cast_from(
                Vector::<f32, N>::cast_from(values[slot])
                    + Vector::<f32, N>::cast_from(others[slot]),
            );
        }
        let start = index * comptime!(row.width);
        store_row::<F, N>(&values, sum, start, row);
        store_normed::<F, W, N>(&values, &weight, y, &mut shared, turn, start, eps, row);
        copy_row::<F, N>(&ahead, &mut values, row);
        copy_row::<F, N>(&others_ahead, &mut others, row);
        turn = 1 - turn;
    }
}

/// The backward pass's inputs of a row.
#[derive(CubeType)]
struct Slopes<F: Float, N: Size> {
    x: Array<Vector<F, N>>,
    dy: Array<Vector<F, N>>,
    /// The gradient to add; unused if there is none.
    residual_grad: Array<Vector<F, N>>,
}

#[cube]
impl<F: Float, N: Size> Slopes<F, N> {
    fn load(
        x: &[Vector<F, N>],
        dy: &[Vector<F, N>],
        residual_grad: &[Vector<F, N>],
        start: usize,
        #[comptime] row: Row,
        #[comptime] has_residual_grad: bool,
    ) -> Self {
        let x = load_row::<F, N>(x, start, row);
        let dy = load_row::<F, N>(dy, start, row);
        let mut others = Array::<Vector<F, N>>::new(comptime!(row.slots()));
        if comptime!(has_residual_grad) {
            others = load_row::<F, N>(residual_grad, start, row);
        }
        Slopes::<F, N> { x, dy, residual_grad: others }
    }

    fn take(&mut self, other: &Self, #[comptime] row: Row, #[comptime] has_residual_grad: bool) {
        copy_row::<F, N>(&other.x, &mut self.x, row);
        copy_row::<F, N>(&other.dy, &mut self.dy, row);
        if comptime!(has_residual_grad) {
            copy_row::<F, N>(&other.residual_grad, &mut self.residual_grad, row);
        }
    }
}

/// With `r` the reciprocal root mean square, computes
/// `dx = r · (dy · weight - x · r² · mean(dy · weight · x))`, plus `residual_grad` if given, and
/// this cube's part of the weight's gradient `Σ dy · x · r`.
#[cube(launch, create_dummy_kernel)]
pub(super) fn backward<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    dy: &[Vector<F, N>],
    residual_grad: &[Vector<F, N>],
    dx: &mut [Vector<F, N>],
    partials: &mut [Vector<f32, N>],
    rows: usize,
    eps: f32,
    #[comptime] row: Row,
    #[comptime] has_residual_grad: bool,
    #[comptime] wants_weight: bool,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _weight_dtype: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(shared_sums(2, row.units, row.plane)));
    let mut turn = 0usize;
    let first = CUBE_POS_X as usize * comptime!(row.width);
    let mut own = Slopes::<F, N>::load(x, dy, residual_grad, first, row, has_residual_grad);
    let weight = load_row::<W, N>(weight, 0, row);
    let mut dweight = Array::<Vector<f32, N>>::new(comptime!(row.slots()));
    #[unroll]
    for slot in 0..comptime!(row.slots()) {
        dweight[slot] = Vector::<f32, N>::new(0.0f32);
    }
    let mut sums = Array::<f32>::new(2usize);
    for index in range_stepped(CUBE_POS_X as usize, rows, CUBE_COUNT_X as usize) {
        let ahead = Slopes::<F, N>::load(
            x,
            dy,
            residual_grad,
            start_of_next(index, rows, row),
            row,
            has_residual_grad,
        );
        let mut products = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for slot in 0..comptime!(row.slots()) {
            products += Vector::<f32, N>::cast_from(own.dy[slot])
                * Vector::<f32, N>::cast_from(weight[slot])
                * Vector::<f32, N>::cast_from(own.x[slot]);
        }
        sums[0] = squares::<F, N>(&own.x, row);
        sums[1] = vector_total::<N>(products);
        cube_sums(&mut sums, &mut shared, turn, 2usize, row.units, row.plane);
        let scale = reciprocal_root::<N>(sums[0], eps, row);
        let pull = Vector::<f32, N>::new(
            scale * scale * sums[1] / f32::cast_from(comptime!(row.width) * N::value()),
        );
        let scale = Vector::<f32, N>::new(scale);
        let mut out = Array::<Vector<F, N>>::new(comptime!(row.slots()));
        #[unroll]
        for slot in 0..comptime!(row.slots()) {
            let value = Vector::<f32, N>::cast_from(own.x[slot]);
            let slope = Vector::<f32, N>::cast_from(own.dy[slot]);
            let pulled = slope * Vector::<f32, N>::cast_from(weight[slot]);
            let mut total = scale * (pulled - value * pull);
            if comptime!(has_residual_grad) {
                total += Vector::<f32, N>::cast_from(own.residual_grad[slot]);
            }
            out[slot] = Vector::<F, N>::cast_from(total);
            dweight[slot] += slope * value * scale;
        }
        store_row::<F, N>(&out, dx, index * comptime!(row.width), row);
        own.take(&ahead, row, has_residual_grad);
        turn = 1 - turn;
    }
    if comptime!(wants_weight) {
        store_row::<f32, N>(&dweight, partials, CUBE_POS_X as usize * comptime!(row.width), row);
    }
}

/// Sums each column of `[rows, columns]`. Neighbouring units read neighbouring columns, and the
/// units of a column share its rows.
#[cube(launch, create_dummy_kernel)]
pub(super) fn column_sums<F: Float>(
    terms: &[f32],
    sums: &mut [F],
    rows: usize,
    columns: usize,
    #[define(F)] _dtype: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(COLUMNS * COLUMN_UNITS));
    let column = CUBE_POS_X as usize * COLUMNS + UNIT_POS_X as usize;
    let mut total = 0.0f32;
    if column < columns {
        for row in range_stepped(UNIT_POS_Y as usize, rows, COLUMN_UNITS) {
            total += terms[row * columns + column];
        }
    }
    shared[UNIT_POS as usize] = total;
    sync_cube();
    if UNIT_POS_Y == 0 && column < columns {
        total = 0.0f32;
        #[unroll]
        for unit in 0..COLUMN_UNITS {
            total += shared[comptime!(unit * COLUMNS) + UNIT_POS_X as usize];
        }
        sums[column] = F::cast_from(total);
    }
}

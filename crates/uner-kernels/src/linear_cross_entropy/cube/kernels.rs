//! The device kernels: one cube per row of logits, two passes over it. `Labels` has checked the
//! indices of rows and targets on the host.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use crate::cube::{cube_sum, vector_total};

/// Copies `hidden[rows[first + n]]` to row `n` of `gathered`, one cube per row of `width` vectors.
#[cube(launch, create_dummy_kernel)]
pub(super) fn gather<F: Float, N: Size>(
    hidden: &[Vector<F, N>],
    rows: &[i32],
    gathered: &mut [Vector<F, N>],
    first: usize,
    width: usize,
    #[define(F)] _dtype: ElemType,
) {
    let to = CUBE_POS_X as usize;
    let from = usize::cast_from(rows[first + to]);
    for column in range_stepped(UNIT_POS as usize, width, CUBE_DIM as usize) {
        gathered[to * width + column] = hidden[from * width + column];
    }
}

/// Copies row `n` of `gathered` to `hidden[rows[first + n]]`, one cube per row of `width` vectors.
#[cube(launch, create_dummy_kernel)]
pub(super) fn scatter<F: Float, N: Size>(
    gathered: &[Vector<F, N>],
    rows: &[i32],
    hidden: &mut [Vector<F, N>],
    first: usize,
    width: usize,
    #[define(F)] _dtype: ElemType,
) {
    let from = CUBE_POS_X as usize;
    let to = usize::cast_from(rows[first + from]);
    for column in range_stepped(UNIT_POS as usize, width, CUBE_DIM as usize) {
        hidden[to * width + column] = gathered[from * width + column];
    }
}

/// The loss of each row:
/// `losses[first + row] = log Σ exp(logits[row]) - logits[row][targets[first + row]]`.
#[cube(launch, create_dummy_kernel)]
pub(super) fn losses<N: Size>(
    logits: &[Vector<f32, N>],
    targets: &[i32],
    losses: &mut [f32],
    first: usize,
    width: usize,
    #[comptime] units: usize,
    #[comptime] plane: usize,
) {
    let row = CUBE_POS_X as usize;
    let target = usize::cast_from(targets[first + row]);
    let own = logit::<N>(logits, row * width, target);
    let (peak, sum) = softmax_terms::<N>(logits, row * width, width, units, plane);
    if UNIT_POS == 0 {
        losses[first + row] = sum.ln() - (own - peak);
    }
}

/// The loss of each row, and `dlogits = softmax(logits) - onehot(target)`; `dlogits` may be
/// `logits`.
#[cube(launch, create_dummy_kernel)]
pub(super) fn losses_and_dlogits<F: Float, N: Size>(
    logits: &[Vector<f32, N>],
    targets: &[i32],
    losses: &mut [f32],
    dlogits: &mut [Vector<F, N>],
    first: usize,
    width: usize,
    #[comptime] units: usize,
    #[comptime] plane: usize,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS_X as usize;
    let start = row * width;
    let target = usize::cast_from(targets[first + row]);
    let own = logit::<N>(logits, start, target);
    let (peak, sum) = softmax_terms::<N>(logits, start, width, units, plane);
    if UNIT_POS == 0 {
        losses[first + row] = sum.ln() - (own - peak);
    }
    // The row changes from here on, so every unit must have read `own`; all other reads are of the
    // unit's own columns.
    sync_cube();
    let scale = Vector::<f32, N>::new(1.0f32 / sum);
    for column in range_stepped(UNIT_POS as usize, width, units) {
        let mut slope = (logits[start + column] - Vector::<f32, N>::new(peak)).exp() * scale;
        if column == target / N::value() {
            #[unroll]
            for lane in 0..N::value() {
                let hit = select(target % N::value() == lane, 1.0f32, 0.0f32);
                slope.insert(lane, slope.extract(lane) - hit);
            }
        }
        dlogits[start + column] = Vector::<F, N>::cast_from(slope);
    }
}

/// The logit `target` of the row that starts at vector `start`.
#[cube]
fn logit<N: Size>(logits: &[Vector<f32, N>], start: usize, target: usize) -> f32 {
    let vector = logits[start + target / N::value()];
    let mut value = 0.0f32;
    #[unroll]
    for lane in 0..N::value() {
        value = select(target % N::value() == lane, vector.extract(lane), value);
    }
    value
}

/// The largest logit of a row, and the sum of `exp(logit - largest)`, in one pass: each unit
/// rescales its sum when it meets a larger logit.
#[cube]
fn softmax_terms<N: Size>(
    logits: &[Vector<f32, N>],
    start: usize,
    width: usize,
    #[comptime] units: usize,
    #[comptime] plane: usize,
) -> (f32, f32) {
    // Finite, so that a unit without columns computes no `infinity - infinity`.
    let mut largest = f32::min_value();
    let mut sum = 0.0f32;
    for column in range_stepped(UNIT_POS as usize, width, units) {
        let vector = logits[start + column];
        let mut peak = largest;
        #[unroll]
        for lane in 0..N::value() {
            peak = max(peak, vector.extract(lane));
        }
        sum *= (largest - peak).exp();
        sum += vector_total::<N>((vector - Vector::<f32, N>::new(peak)).exp());
        largest = peak;
    }
    let peak = cube_max(largest, units, plane);
    (peak, cube_sum(sum * (largest - peak).exp(), units, plane))
}

/// The largest of one value per unit, returned to every unit of the cube. `units` is a power of
/// two. Every unit must call it.
#[cube]
fn cube_max(value: f32, #[comptime] units: usize, #[comptime] plane: usize) -> f32 {
    let mut partial = value;
    if comptime!(plane > 1) {
        let steps = comptime!(plane.ilog2());
        #[unroll]
        for step in 0..steps {
            partial = max(partial, plane_shuffle_xor(partial, comptime!(1u32 << step)));
        }
    }
    let terms = comptime!(units / plane);
    if comptime!(terms > 1) {
        let unit = UNIT_POS as usize;
        let mut shared = Shared::<[f32]>::new_slice(terms);
        // Until every unit has read the values of an earlier call.
        sync_cube();
        if unit % plane == 0 {
            shared[unit / plane] = partial;
        }
        sync_cube();
        let mut active = comptime!(terms / 2).runtime();
        while active > 0 {
            if unit < active {
                let other = shared[unit + active];
                shared[unit] = max(shared[unit], other);
            }
            active /= 2;
            sync_cube();
        }
        partial = shared[0];
    }
    partial
}

/// Sums `count` terms with one cube, in sums of sums: the error grows with the length of a sum,
/// which is at most 32 terms for the first 256 × 32 × 32 of them.
#[cube(launch, create_dummy_kernel)]
pub(super) fn total(
    terms: &[f32],
    total: &mut [f32],
    count: usize,
    #[comptime] units: usize,
    #[comptime] plane: usize,
) {
    let chunk = comptime!(units * 32);
    let mut sum = 0.0f32;
    for first in range_stepped(UNIT_POS as usize, count, chunk) {
        let mut part = 0.0f32;
        for index in range_stepped(first, min(first + chunk, count), units) {
            part += terms[index];
        }
        sum += part;
    }
    let sum = cube_sum(sum, units, plane);
    if UNIT_POS == 0 {
        total[0] = sum;
    }
}

/// `gradient *= dloss`, for `count` vectors. The loss is nearly always differentiated by itself
/// (`dloss` is 1); then nothing is read or written.
#[cube(launch, create_dummy_kernel)]
pub(super) fn scale<F: Float, N: Size>(
    gradient: &mut [Vector<F, N>],
    dloss: &[f32],
    count: usize,
    #[define(F)] _dtype: ElemType,
) {
    let factor = dloss[0];
    if factor != 1.0f32 {
        let factor = Vector::<f32, N>::new(factor);
        for index in range_stepped(ABSOLUTE_POS, count, CUBE_COUNT * (CUBE_DIM as usize)) {
            let value = Vector::<f32, N>::cast_from(gradient[index]);
            gradient[index] = Vector::<F, N>::cast_from(value * factor);
        }
    }
}

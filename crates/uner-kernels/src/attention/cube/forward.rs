//! The forward pass (FlashAttention-2, Dao 2023): a cube computes one tile of queries. It visits
//! the keys that any of them sees, with a running maximum and sum per row.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::mask::RowMask;
use super::plan::{EVERYTHING, NOTHING, Plan};
use super::tile::{
    HIDDEN, HIDDEN_BELOW, Heads, SIDE, Tiles, UNITS, accumulate, row_products, zeros,
};
use crate::attention::BLIND;

/// First and last token of a tile of queries and the keys that any of them sees, `from..to`:
/// `(first, last, from, to)`.
#[cube]
pub(super) fn reach(
    plan: (&[i32], Plan),
    row: usize,
    count: usize,
    offset: usize,
    #[comptime] tiles: Tiles,
) -> (usize, usize, usize, usize) {
    let first = offset + row / tiles.group;
    let last = offset + ((row + tiles.rows).min(count) - 1) / tiles.group;
    // If the last query is padding, the visible keys end before it.
    (first, last, plan.1.start(plan.0, first), plan.1.end(plan.0, last).min(last + 1))
}

/// The running softmax of one row, which `UNITS / rows` neighbouring units share, each with a part
/// of the keys.
#[derive(CubeType)]
struct RowSums {
    max: f32,
    /// The unit's own part of the sum.
    sum: f32,
}

/// Launched with one cube per tile of queries, key/value head and row.
#[cube(launch)]
pub(super) fn forward<F: Float, N: Size>(
    q: &[Vector<F, N>],
    k: &[Vector<F, N>],
    v: &[Vector<F, N>],
    plan: &[i32],
    y: &mut [Vector<F, N>],
    lse: &mut [f32],
    queries: usize,
    keys: usize,
    scale: f32,
    #[comptime] tiles: Tiles,
    #[define(F)] _dtype: ElemType,
) {
    let (row, kv_head, kv_heads) =
        (CUBE_POS_Z as usize, CUBE_POS_Y as usize, CUBE_COUNT_Y as usize);
    let of_queries = Heads::of_queries(row, kv_head, queries, kv_heads, tiles);
    let of_keys = Heads::of_keys(row, kv_head, keys, kv_heads, tiles);
    // Late queries see the most keys, so their tiles come first.
    let tile = from_behind(CUBE_COUNT_X as usize, CUBE_POS_X as usize) * tiles.rows;
    let seen = Plan::of_row(row, keys);
    let offset = keys - queries;
    let (first, last, from, to) = reach((plan, seen), tile, of_queries.count, offset, tiles);
    let row_mask = RowMask::of_tile((plan, seen), tile, of_queries.count, offset, tiles);

    let mut stage = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tiles.stage()));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(tiles.rows * tiles.score_stride()));
    let mut partial = Shared::<[f32]>::new_slice(UNITS);
    let mut rescale = Shared::<[f32]>::new_slice(comptime!(tiles.rows));
    let mut sums = RowSums { max: HIDDEN, sum: 0.0f32 };
    let mut accumulators = zeros::<N>(tiles.rows, tiles);

    for key in range_stepped(from, to, comptime!(tiles.keys)) {
        let visible = seen.visible(plan, key, tiles.keys, first, last);
        if visible != NOTHING {
            let mut products =
                row_products::<F, N>(&mut stage, (q, of_queries, tile), (k, of_keys, key), tiles);
            if visible != EVERYTHING {
                row_mask.hide(&mut products, (plan, seen), key, keys, tiles);
            }
            store_shared(&mut scores, &products, scale, tiles);
            sync_cube();
            sums.take(&mut scores, &mut partial, &mut rescale, tiles);
            sync_cube();
            rescale_accumulators::<N>(&mut accumulators, &rescale, tiles);
            let terms = (to - key).min(tiles.keys);
            let strides = comptime!((tiles.score_stride(), 1));
            accumulate::<F, N>(
                &mut accumulators,
                &scores,
                &mut stage,
                (v, of_keys, key),
                terms,
                tiles.rows,
                strides,
                tiles,
            );
        }
    }
    sync_cube();
    let own = tile + UNIT_POS as usize / comptime!(UNITS / tiles.rows);
    let value = sums.finish(&mut partial, &mut rescale, tiles);
    if UNIT_POS as usize % comptime!(UNITS / tiles.rows) == 0 && own < of_queries.count {
        let head = (row * kv_heads + kv_head) * tiles.group + own % tiles.group;
        lse[head * queries + own / tiles.group] = value;
    }
    sync_cube();
    let mut factors = Array::<f32>::new(comptime!(tiles.rows / SIDE));
    #[unroll]
    for i in 0..comptime!(tiles.rows / SIDE) {
        factors[i] = rescale[UNIT_POS as usize / SIDE + SIDE * i];
    }
    of_queries.store::<F, N>(y, &accumulators, &factors, tile, tiles.rows);
}

/// The position counted from the end.
#[cube]
pub(super) fn from_behind(count: usize, position: usize) -> usize {
    count - 1 - position
}

/// Writes a unit's entries of a tile of scores, times `scale`, to shared memory.
#[cube]
pub(super) fn store_shared(
    scores: &mut Shared<[f32]>,
    entries: &Array<f32>,
    scale: f32,
    #[comptime] tiles: Tiles,
) {
    let columns = comptime!(tiles.keys / SIDE);
    let (x, y) = (UNIT_POS as usize % SIDE, UNIT_POS as usize / SIDE);
    #[unroll]
    for i in 0..comptime!(tiles.rows / SIDE) {
        #[unroll]
        for j in 0..columns {
            scores[(y + SIDE * i) * comptime!(tiles.score_stride()) + x + SIDE * j] =
                entries[i * columns + j] * scale;
        }
    }
}

#[cube]
fn rescale_accumulators<N: Size>(
    accumulators: &mut Array<Vector<f32, N>>,
    rescale: &Shared<[f32]>,
    #[comptime] tiles: Tiles,
) {
    let columns = comptime!(tiles.columns());
    #[unroll]
    for i in 0..comptime!(tiles.rows / SIDE) {
        let factor = Vector::<f32, N>::new(rescale[UNIT_POS as usize / SIDE + SIDE * i]);
        #[unroll]
        for c in 0..columns {
            accumulators[i * columns + c] *= factor;
        }
    }
}

#[cube]
impl RowSums {
    /// Turns a tile of scores into weights relative to the maximum so far, and writes the factors
    /// for the sums of earlier tiles to `rescale`.
    fn take(
        &mut self,
        scores: &mut Shared<[f32]>,
        partial: &mut Shared<[f32]>,
        rescale: &mut Shared<[f32]>,
        #[comptime] tiles: Tiles,
    ) {
        let lanes = comptime!(UNITS / tiles.rows);
        let terms = comptime!(tiles.keys / lanes);
        let unit = UNIT_POS as usize;
        let (row, lane) = (unit / lanes, unit % lanes);
        let from = row * comptime!(tiles.score_stride()) + lane;
        let mut max = self.max;
        for term in 0..terms {
            max = max.max(scores[from + term * lanes]);
        }
        partial[unit] = max;
        sync_cube();
        for lane in 0..lanes {
            max = max.max(partial[row * lanes + lane]);
        }
        let factor = (self.max - max).exp();
        let mut sum = self.sum * factor;
        for term in 0..terms {
            let at = from + term * lanes;
            let score = scores[at];
            // In this order a score that is NaN stays NaN.
            let weight = select(score < HIDDEN_BELOW, 0.0f32, (score - max).exp());
            scores[at] = weight;
            sum += weight;
        }
        self.max = max;
        self.sum = sum;
        if lane == 0 {
            rescale[row] = factor;
        }
    }

    /// Writes the reciprocal of each row's sum to `rescale`, and returns the row's log-sum-exp.
    fn finish(
        &self,
        partial: &mut Shared<[f32]>,
        rescale: &mut Shared<[f32]>,
        #[comptime] tiles: Tiles,
    ) -> f32 {
        let lanes = comptime!(UNITS / tiles.rows);
        let unit = UNIT_POS as usize;
        let row = unit / lanes;
        partial[unit] = self.sum;
        sync_cube();
        let mut total = 0.0f32;
        for lane in 0..lanes {
            total += partial[row * lanes + lane];
        }
        let mut lse = BLIND.runtime();
        let mut factor = 0.0f32;
        if self.max > HIDDEN_BELOW {
            lse = self.max + total.ln();
            factor = 1.0f32 / total;
        }
        if unit % lanes == 0 {
            rescale[row] = factor;
        }
        lse
    }
}

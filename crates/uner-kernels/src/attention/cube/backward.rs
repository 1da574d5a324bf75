//! The backward pass (FlashAttention-2, Dao 2023) in three kernels: [`delta`], then
//! [`keys_and_values`], in which a cube computes one tile of keys and visits the queries that see
//! any of them, and [`queries`], the other way round. One cube sums each gradient in a fixed order,
//! without atomics, so the result is the same on every run.
//!
//! With `P = exp(scale · q·kᵀ - lse)`: `dv = Pᵀ·dy`, `dP = dy·vᵀ`, `dS = scale · P ∘ (dP - delta)`,
//! `dk = dSᵀ·q`, `dq = dS·k`.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::forward::{from_behind, reach, store_shared};
use super::mask::RowMask;
use super::plan::{EVERYTHING, NOTHING, Plan};
use super::tile::{HIDDEN_BELOW, Heads, SIDE, Tiles, UNITS, accumulate, row_products, zeros};
use crate::cube::vector_total;

/// Writes the log-sum-exp and `rowsum(dy ∘ y)` of each query: `statistics[row, head, query]` is the
/// pair of them. One cube per [`SIDE`] queries, head and row; [`SIDE`] units per query.
#[cube(launch)]
pub(super) fn delta<F: Float, N: Size>(
    y: &[Vector<F, N>],
    dy: &[Vector<F, N>],
    lse: &[f32],
    statistics: &mut [f32],
    queries: usize,
    #[comptime] width: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (row, head, heads) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize, CUBE_COUNT_Y as usize);
    let unit = UNIT_POS as usize;
    let query = CUBE_POS_X as usize * SIDE + unit / SIDE;
    let mut partial = Shared::<[f32]>::new_slice(UNITS);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if query < queries {
        let from = ((row * queries + query) * heads + head) * width;
        for column in range_stepped(unit % SIDE, width, SIDE) {
            sum += Vector::<f32, N>::cast_from(y[from + column])
                * Vector::<f32, N>::cast_from(dy[from + column]);
        }
    }
    partial[unit] = vector_total::<N>(sum);
    sync_cube();
    if unit % SIDE == 0 && query < queries {
        let mut total = 0.0f32;
        for lane in 0..SIDE {
            total += partial[unit + lane];
        }
        let at = (row * heads + head) * queries + query;
        statistics[2 * at] = lse[at];
        statistics[2 * at + 1] = total;
    }
}

/// The log-sum-exp and the delta of the rows of a unit.
#[derive(CubeType)]
struct RowStatistics {
    lse: Array<f32>,
    delta: Array<f32>,
}

#[cube]
impl RowStatistics {
    /// `from` is the index of the group's first pair in `statistics`.
    fn of_tile(
        statistics: &[f32],
        from: usize,
        first: usize,
        queries: usize,
        #[comptime] tiles: Tiles,
    ) -> RowStatistics {
        let rows = comptime!(tiles.rows / SIDE);
        let mut lse = Array::<f32>::new(rows);
        let mut delta = Array::<f32>::new(rows);
        #[unroll]
        for i in 0..rows {
            let row = first + UNIT_POS as usize / SIDE + SIDE * i;
            lse[i] = 0.0f32;
            delta[i] = 0.0f32;
            if row < queries * tiles.group {
                let at = from + row % tiles.group * queries + row / tiles.group;
                lse[i] = statistics[2 * at];
                delta[i] = statistics[2 * at + 1];
            }
        }
        RowStatistics { lse, delta }
    }

    /// Turns scores into probabilities and the gradient of the probabilities into that of the
    /// scores, both in place.
    fn differentiate(
        &self,
        scores: &mut Array<f32>,
        gradients: &mut Array<f32>,
        scale: f32,
        #[comptime] tiles: Tiles,
    ) {
        let columns = comptime!(tiles.keys / SIDE);
        #[unroll]
        for i in 0..comptime!(tiles.rows / SIDE) {
            #[unroll]
            for j in 0..columns {
                let at = i * columns + j;
                let score = scores[at];
                let probability =
                    select(score < HIDDEN_BELOW, 0.0f32, (score * scale - self.lse[i]).exp());
                scores[at] = probability;
                gradients[at] = probability * (gradients[at] - self.delta[i]) * scale;
            }
        }
    }
}

/// Launched with one cube per tile of keys, key/value head and row.
#[cube(launch)]
pub(super) fn keys_and_values<F: Float, N: Size>(
    q: &[Vector<F, N>],
    k: &[Vector<F, N>],
    v: &[Vector<F, N>],
    dy: &[Vector<F, N>],
    statistics: &[f32],
    plan: &[i32],
    dk: &mut [Vector<F, N>],
    dv: &mut [Vector<F, N>],
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
    let key = CUBE_POS_X as usize * tiles.keys;
    let seen = Plan::of_row(row, keys);
    let offset = keys - queries;
    let (from, to) = readers((plan, seen), key, keys, offset, tiles);

    let mut stage = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tiles.stage()));
    let mut shared = Shared::<[f32]>::new_slice(comptime!(tiles.rows * tiles.score_stride()));
    let mut dk_accumulators = zeros::<N>(tiles.keys, tiles);
    let mut dv_accumulators = zeros::<N>(tiles.keys, tiles);
    // Reads the tile of scores transposed: the weight of row `t` for key `r`.
    let strides = comptime!((1, tiles.score_stride()));

    for tile in range_stepped(from, to, comptime!(tiles.rows)) {
        // Counts all rows of the tile, also those behind `to`: they are read with the others.
        let last = offset + ((tile + tiles.rows).min(of_queries.count) - 1) / tiles.group;
        let visible = seen.visible(plan, key, tiles.keys, offset + tile / tiles.group, last);
        if visible != NOTHING {
            let mut scores =
                row_products::<F, N>(&mut stage, (q, of_queries, tile), (k, of_keys, key), tiles);
            if visible != EVERYTHING {
                let row_mask =
                    RowMask::of_tile((plan, seen), tile, of_queries.count, offset, tiles);
                row_mask.hide(&mut scores, (plan, seen), key, keys, tiles);
            }
            let mut gradients =
                row_products::<F, N>(&mut stage, (dy, of_queries, tile), (v, of_keys, key), tiles);
            let heads = (row * kv_heads + kv_head) * tiles.group;
            let rows = RowStatistics::of_tile(statistics, heads * queries, tile, queries, tiles);
            rows.differentiate(&mut scores, &mut gradients, scale, tiles);

            let terms = (to - tile).min(tiles.rows);
            store_shared(&mut shared, &scores, 1.0f32, tiles);
            accumulate::<F, N>(
                &mut dv_accumulators,
                &shared,
                &mut stage,
                (dy, of_queries, tile),
                terms,
                tiles.keys,
                strides,
                tiles,
            );
            sync_cube();
            store_shared(&mut shared, &gradients, 1.0f32, tiles);
            accumulate::<F, N>(
                &mut dk_accumulators,
                &shared,
                &mut stage,
                (q, of_queries, tile),
                terms,
                tiles.keys,
                strides,
                tiles,
            );
        }
    }
    of_keys.store::<F, N>(dk, &dk_accumulators, &ones(tiles.keys), key, tiles.keys);
    of_keys.store::<F, N>(dv, &dv_accumulators, &ones(tiles.keys), key, tiles.keys);
}

/// The rows `from..to` of queries that see any key of a tile.
#[cube]
pub(super) fn readers(
    plan: (&[i32], Plan),
    key: usize,
    keys: usize,
    offset: usize,
    #[comptime] tiles: Tiles,
) -> (usize, usize) {
    // If the first key is padding, the queries that see a key begin behind it.
    let from = plan.1.start(plan.0, key).max(key).max(offset);
    let to = plan.1.end(plan.0, (key + tiles.keys).min(keys) - 1).max(from);
    ((from - offset) * tiles.group, (to - offset) * tiles.group)
}

/// Launched like the forward pass.
#[cube(launch)]
pub(super) fn queries<F: Float, N: Size>(
    q: &[Vector<F, N>],
    k: &[Vector<F, N>],
    v: &[Vector<F, N>],
    dy: &[Vector<F, N>],
    statistics: &[f32],
    plan: &[i32],
    dq: &mut [Vector<F, N>],
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
    let tile = from_behind(CUBE_COUNT_X as usize, CUBE_POS_X as usize) * tiles.rows;
    let seen = Plan::of_row(row, keys);
    let offset = keys - queries;
    let (first, last, from, to) = reach((plan, seen), tile, of_queries.count, offset, tiles);
    let row_mask = RowMask::of_tile((plan, seen), tile, of_queries.count, offset, tiles);
    let heads = (row * kv_heads + kv_head) * tiles.group;
    let rows = RowStatistics::of_tile(statistics, heads * queries, tile, queries, tiles);

    let mut stage = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tiles.stage()));
    let mut shared = Shared::<[f32]>::new_slice(comptime!(tiles.rows * tiles.score_stride()));
    let mut accumulators = zeros::<N>(tiles.rows, tiles);
    for key in range_stepped(from, to, comptime!(tiles.keys)) {
        let visible = seen.visible(plan, key, tiles.keys, first, last);
        if visible != NOTHING {
            let mut scores =
                row_products::<F, N>(&mut stage, (q, of_queries, tile), (k, of_keys, key), tiles);
            if visible != EVERYTHING {
                row_mask.hide(&mut scores, (plan, seen), key, keys, tiles);
            }
            let mut gradients =
                row_products::<F, N>(&mut stage, (dy, of_queries, tile), (v, of_keys, key), tiles);
            rows.differentiate(&mut scores, &mut gradients, scale, tiles);
            store_shared(&mut shared, &gradients, 1.0f32, tiles);
            let terms = (to - key).min(tiles.keys);
            let strides = comptime!((tiles.score_stride(), 1));
            accumulate::<F, N>(
                &mut accumulators,
                &shared,
                &mut stage,
                (k, of_keys, key),
                terms,
                tiles.rows,
                strides,
                tiles,
            );
        }
    }
    of_queries.store::<F, N>(dq, &accumulators, &ones(tiles.rows), tile, tiles.rows);
}

/// Factors of 1 for the rows of a unit; the cube has `count` rows.
#[cube]
fn ones(#[comptime] count: usize) -> Array<f32> {
    let mut factors = Array::<f32>::new(comptime!(count / SIDE));
    #[unroll]
    for i in 0..comptime!(count / SIDE) {
        factors[i] = 1.0f32;
    }
    factors
}

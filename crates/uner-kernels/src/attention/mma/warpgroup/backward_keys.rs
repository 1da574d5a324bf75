//! The gradients of keys and values: one cube per key tile of one key/value head, one pass over the live query tiles of each
//! query head that reads it. Scores are computed transposed, keys down the rows, so that weights and their gradients go from
//! accumulator to operand within registers.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::backward_keys::{Sums, write_sums};
use super::super::block::{BLOCK, ENTRY};
use super::super::mask::query_extent;
use super::super::product::zeros;
use super::super::ptx::{Accumulator, exp2, load_floats, shared_address};
use super::super::tile::{Packing, Place, Tiles};
use super::backward::Upstream;
use super::product::{PANEL_BYTES, finish, multiply, multiply_weights, operand};
use super::ptx::{Corner, arrive_behind_copies, arrive_expecting, grow_to, shrink_to, wait};
use super::ring::{
    CONSUMERS, COPYING, FIRST, GROUP_ROWS, MULTIPLYING, Ring, SECOND, Stage, copy_panels, copy_words,
    make_barriers, stationary_barrier,
};
use super::sight::{Sight, hide_branches};
use crate::attention::PADDING;

/// Queries of a tile: as many as the registers of a warp group leave room for.
pub(super) const fn columns(head_dim: usize) -> usize {
    if head_dim > 64 { 64 } else { 128 }
}
/// Words for each query: its branch, log-sum-exp and delta.
pub(super) const WORDS: usize = 3;

/// The query tiles that a cube visits, for each query head in turn.
#[derive(CubeType, Clone, Copy)]
struct Stream {
    /// Shared address of the ring.
    base: u32,
    /// The first block of queries.
    begin: usize,
    /// Tiles.
    count: usize,
    /// Query heads.
    group: usize,
    /// The document of all keys, [`PADDING`] if there is no single one or they have branches.
    document: i32,
    /// Whether keys have branches.
    branched: bool,
}

/// The gradients of `k` and `v`, as [`mma::backward_keys`](super::super::backward_keys::backward_keys); the inputs are maps of
/// boxes of one head, 128 tokens of `k` and `v`, [`columns`] of `q` and `dy`.
///
/// Cubes: x the key/value head, y the row, z the key tile (`ceil(keys / 128)`); [`UNITS`](super::ring::UNITS) units.
#[cube(launch)]
pub(in crate::attention::mma) fn backward_keys<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    dk: &mut [Vector<E, Const<2>>],
    dv: &mut [Vector<E, Const<2>>],
    #[comptime] ring: Ring,
    #[define(E)] _element: ElemType,
) {
    let shared = Shared::<[u32]>::new_aligned_slice(comptime!(ring.bytes() / 4), 1024usize);
    let base = shared_address(&shared);
    let tiles = comptime!(ring.tiles);
    let place = Place::of_cube(packing, tiles);
    let extent = query_extent(packing, &place, tiles);
    let blocks = max(extent.end, extent.begin) - extent.begin;
    let count = blocks.div_ceil(comptime!(tiles.columns / BLOCK));
    let group = place.sizes.heads / place.sizes.kv_heads;
    let branched = has_branches(packing, &place);
    let stream = Stream { base, begin: extent.begin, count, group, document: extent.document, branched };
    make_barriers(base, ring);
    if UNIT_POS < comptime!(CONSUMERS as u32) {
        grow_to(MULTIPLYING);
        let sums = sweep::<E>(upstream, packing, &place, &stream, ring);
        write_sums::<E>(&sums, dk, dv, &place, tiles);
    } else {
        shrink_to(COPYING);
        if UNIT_POS < comptime!(CONSUMERS as u32 + 32) && stream.count > 0 {
            if UNIT_POS % 32 == 0 {
                copy_keys::<E>(upstream, &place, base, ring);
            }
            fill::<E>(upstream, packing, &place, &stream, ring);
        }
    }
}

/// Starts the copies of the stationary tiles: keys, and behind them values.
#[cube]
fn copy_keys<E: Float>(upstream: &Upstream<E>, place: &Place, base: u32, #[comptime] ring: Ring) {
    let (bytes, rows) = comptime!((ring.row_bytes(), ring.tiles.rows()));
    let at = Corner {
        row: place.row as i32,
        token: place.first as i32,
        head: place.kv_head as i32,
        element: 0i32.runtime(),
    };
    let barrier = stationary_barrier(base, ring);
    arrive_expecting(barrier, comptime!(2 * bytes));
    copy_panels::<E>(base, &upstream.k, &at, barrier, rows, ring);
    copy_panels::<E>(base + comptime!(bytes as u32), &upstream.v, &at, barrier, rows, ring);
}

/// Fills the ring, tile by tile, as it becomes free.
#[cube]
fn fill<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    place: &Place,
    stream: &Stream,
    #[comptime] ring: Ring,
) {
    let base = stream.base;
    let columns = comptime!(ring.tiles.columns);
    let step = comptime!(4 * columns as u32);
    let mut number = 0u32;
    for member in 0..stream.group {
        let own = place.with_head(place.head + member);
        for tile in 0..stream.count {
            let stage = Stage::of(number);
            let first = stream.begin * BLOCK + tile * columns;
            let at = Corner {
                row: place.row as i32,
                token: first as i32,
                head: own.head as i32,
                element: 0i32.runtime(),
            };
            stage.fill::<E>(base, &upstream.q, &at, FIRST, ring);
            let (words, left) = (stage.words(base, ring), place.sizes.queries - first);
            let token = place.row * place.sizes.keys + place.offset + first;
            copy_words::<i32>(words, &packing.branch, token, left, columns);
            let statistic = own.statistics() + first;
            copy_words::<f32>(words + step, &upstream.lse, statistic, left, columns);
            copy_words::<f32>(words + 2 * step, &upstream.delta, statistic, left, columns);
            arrive_behind_copies(stage.full(base, FIRST, ring));
            stage.fill::<E>(base, &upstream.dy, &at, SECOND, ring);
            number += 1;
        }
    }
}

/// The pass of a warp group over the tiles in the ring: the sums of `dsᵀ·q` and `pᵀ·dy`.
#[cube]
fn sweep<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    place: &Place,
    stream: &Stream,
    #[comptime] ring: Ring,
) -> Sums {
    let tiles = comptime!(ring.tiles);
    let base = stream.base;
    let keys = base + UNIT_POS / 128 * comptime!((GROUP_ROWS * PANEL_BYTES) as u32);
    let mut sums =
        Sums { keys: zeros(comptime!(tiles.head_tiles())), values: zeros(comptime!(tiles.head_tiles())) };
    let sight = Sight::of_lane(&upstream.bounds, place, tiles);
    if stream.count > 0 {
        wait(stationary_barrier(base, ring), 0u32);
    }
    let mut number = 0u32;
    for _member in 0..stream.group {
        for tile in 0..stream.count {
            let block = stream.begin + tile * comptime!(tiles.columns / BLOCK);
            let cut = is_cut(packing, place, stream, block, tiles);
            let step = Step { base, keys, number, block, cut, branched: stream.branched };
            absorb::<E>(&mut sums, packing, place, &sight, &step, ring);
            number += 1;
        }
    }
    sums
}

/// Whether some key of the group may not be seen by a query of the tile that begins at block `block`, branches aside.
#[cube]
fn is_cut(packing: &Packing, place: &Place, stream: &Stream, block: usize, #[comptime] tiles: Tiles) -> bool {
    let blocks = place.sizes.queries.div_ceil(BLOCK);
    let last = min(block + comptime!(tiles.columns / BLOCK - 1), blocks - 1);
    let document = packing.query_table[(place.row * blocks + block) * ENTRY + 1];
    let other = packing.query_table[(place.row * blocks + last) * ENTRY + 1];
    let keys = place.first + (UNIT_POS / 128) as usize * comptime!(GROUP_ROWS);
    let below = keys + comptime!(GROUP_ROWS) <= place.offset + block * BLOCK + 1;
    let uniform = select(document == other, document == stream.document, false);
    let open = select(uniform, document != PADDING, false);
    !(below && open)
}

/// Whether some key of the tile has a branch.
#[cube]
fn has_branches(packing: &Packing, place: &Place) -> bool {
    let blocks = place.sizes.keys.div_ceil(BLOCK);
    let left = place.row * blocks + place.first / BLOCK;
    let right = place.row * blocks + min(place.first / BLOCK + 1, blocks - 1);
    packing.key_table[left * ENTRY + 2] + packing.key_table[right * ENTRY + 2] != 0
}

/// One query tile to absorb.
#[derive(CubeType)]
struct Step {
    /// Shared address of the ring.
    base: u32,
    /// Shared address of the group's keys; its values lie behind all keys.
    keys: u32,
    /// Its number in the ring.
    number: u32,
    /// Its first query block.
    block: usize,
    /// Whether some pair may be out of sight.
    cut: bool,
    /// Whether keys have branches.
    branched: bool,
}

/// Adds one query tile to the sums.
#[cube]
fn absorb<E: Float>(
    sums: &mut Sums,
    packing: &Packing,
    place: &Place,
    sight: &Sight,
    at: &Step,
    #[comptime] ring: Ring,
) {
    let tiles = comptime!(ring.tiles);
    let (columns, count, width) = comptime!((tiles.columns, tiles.columns / 2, tiles.head_dim / 2));
    let step = comptime!(4 * columns as u32);
    let stage = Stage::of(at.number);
    let words = stage.words(at.base, ring);
    let (queries, gradients) = (stage.tile(at.base, FIRST, ring), stage.tile(at.base, SECOND, ring));
    let mut scores = zeros(comptime!(tiles.column_tiles()));
    let mut products = zeros(comptime!(tiles.column_tiles()));
    let values = at.keys + comptime!(ring.row_bytes() as u32);
    // Wide tiles leave no registers for weights, which are an operand, and products at a time.
    let late = comptime!(columns > BLOCK);
    stage.wait(at.base, FIRST, ring);
    multiply::<E>(&mut scores, at.keys, queries, comptime!(ring.along()), false);
    stage.wait(at.base, SECOND, ring);
    if comptime!(!late) {
        multiply::<E>(&mut products, values, gradients, comptime!(ring.along()), false);
    }
    finish(&mut scores, count, comptime!(usize::from(!late)));
    if at.cut {
        sight.hide(&mut scores, place.offset + at.block * BLOCK, tiles);
    }
    if at.branched {
        hide_branches(&mut scores, packing, place, words, tiles);
    }
    weigh(&mut scores, words + step, tiles);
    let weights = operand::<E>(&scores, columns);
    multiply_weights::<E>(&mut sums.values, &weights, gradients, comptime!(ring.down()));
    if late {
        finish(&mut sums.values, width, 0usize);
        multiply::<E>(&mut products, values, gradients, comptime!(ring.along()), false);
        finish(&mut products, count, 0usize);
        score_gradients(&mut products, &scores, words + 2 * step, tiles);
    } else {
        finish(&mut products, count, 1usize);
        score_gradients(&mut products, &scores, words + 2 * step, tiles);
        // Only now are there registers for another operand.
        finish(&mut sums.values, width, 0usize);
    }
    stage.release(at.base, SECOND, ring);
    let gradient_weights = operand::<E>(&products, columns);
    multiply_weights::<E>(&mut sums.keys, &gradient_weights, queries, comptime!(ring.down()));
    finish(&mut sums.keys, width, 0usize);
    stage.release(at.base, FIRST, ring);
}

/// Turns scores into weights, `exp(score · scale - lse)`; `address` is the shared address of the tile's log-sum-exps. They are
/// read column by column, since there are registers for few.
#[cube]
fn weigh(scores: &mut Array<Accumulator>, address: u32, #[comptime] tiles: Tiles) {
    let lane = address + UNIT_POS % 4 * 8;
    let scale = comptime!(tiles.scale_log2());
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let lse = load_floats(lane, comptime!(n * 32)) * Vector::new(-std::f32::consts::LOG2_E);
        let mut tile = scores[n];
        #[unroll]
        for e in 0..4usize {
            let score = tile.extract(e);
            tile.insert(e, exp2(fma(score, scale.runtime(), lse.extract(comptime!(e % 2)))));
        }
        scores[n] = tile;
    }
}

/// Turns `products` (`v·dyᵀ`) into the gradients of the unscaled scores, `weights ∘ (products - delta)`; `address` is the shared
/// address of the tile's deltas.
#[cube]
fn score_gradients(
    products: &mut Array<Accumulator>,
    weights: &Array<Accumulator>,
    address: u32,
    #[comptime] tiles: Tiles,
) {
    let lane = address + UNIT_POS % 4 * 8;
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let delta = load_floats(lane, comptime!(n * 32));
        let mut tile = products[n];
        let weight = weights[n];
        #[unroll]
        for e in 0..4usize {
            let product = tile.extract(e);
            tile.insert(e, weight.extract(e) * (product - delta.extract(comptime!(e % 2))));
        }
        products[n] = tile;
    }
}

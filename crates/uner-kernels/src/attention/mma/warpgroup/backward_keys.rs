//! The gradients of keys and values: one cube per key tile of one key/value head, one pass over the live query tiles of each
//! query head that reads it. Scores are computed transposed, keys down the rows, so that weights and their gradients go from
//! accumulator to operand within registers.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::backward::{score_gradients, weigh};
use super::super::backward_keys::{Sums, column_statistics, needs_mask, write_sums};
use super::super::block::BLOCK;
use super::super::mask::{hide, query_extent};
use super::super::product::zeros;
use super::super::ptx::shared_address;
use super::super::tile::{Packing, Place};
use super::backward::Upstream;
use super::product::{PANEL_BYTES, finish, multiply, multiply_weights, operand};
use super::ptx::{Corner, arrive_behind_copies, arrive_expecting, grow_to, shrink_to, wait};
use super::ring::{
    CONSUMERS, COPYING, FIRST, GROUP_ROWS, MULTIPLYING, Ring, SECOND, Stage, copy_panels, copy_words,
    make_barriers, stationary_barrier,
};

/// Queries of a tile.
pub(super) const COLUMNS: usize = BLOCK;
/// Words for each query: its document, branch, log-sum-exp and delta.
pub(super) const WORDS: usize = 4;

/// The query tiles that a cube visits, for each query head in turn.
#[derive(CubeType, Clone, Copy)]
struct Stream {
    /// Shared address of the ring.
    base: u32,
    /// The first block of queries.
    begin: usize,
    /// Blocks.
    count: usize,
    /// Query heads.
    group: usize,
    /// The document of all keys, [`PADDING`](crate::attention::PADDING) if there is no single one.
    document: i32,
}

/// The gradients of `k` and `v`, as [`mma::backward_keys`](super::super::backward_keys::backward_keys); the inputs are maps of
/// boxes of one head, 128 tokens of `k` and `v`, [`COLUMNS`] of `q` and `dy`.
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
    let count = max(extent.end, extent.begin) - extent.begin;
    let group = place.sizes.heads / place.sizes.kv_heads;
    let stream = Stream { base, begin: extent.begin, count, group, document: extent.document };
    make_barriers(base, ring);
    if UNIT_POS < comptime!(CONSUMERS as u32) {
        grow_to(MULTIPLYING);
        let sums = sweep::<E>(packing, &place, &stream, ring);
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
    let step = comptime!(4 * COLUMNS as u32);
    let mut number = 0u32;
    for member in 0..stream.group {
        let own = place.with_head(place.head + member);
        for block in stream.begin..stream.begin + stream.count {
            let stage = Stage::of(number);
            let first = block * COLUMNS;
            let at = Corner {
                row: place.row as i32,
                token: first as i32,
                head: own.head as i32,
                element: 0i32.runtime(),
            };
            stage.fill::<E>(base, &upstream.q, &at, FIRST, ring);
            let (words, left) = (stage.words(base, ring), place.sizes.queries - first);
            let token = place.row * place.sizes.keys + place.offset + first;
            copy_words::<i32>(words, &packing.document, token, left, COLUMNS);
            copy_words::<i32>(words + step, &packing.branch, token, left, COLUMNS);
            let statistic = own.statistics() + first;
            copy_words::<f32>(words + 2 * step, &upstream.lse, statistic, left, COLUMNS);
            copy_words::<f32>(words + 3 * step, &upstream.delta, statistic, left, COLUMNS);
            arrive_behind_copies(stage.full(base, FIRST, ring));
            stage.fill::<E>(base, &upstream.dy, &at, SECOND, ring);
            number += 1;
        }
    }
}

/// The pass of a warp group over the tiles in the ring: the sums of `dsᵀ·q` and `pᵀ·dy`.
#[cube]
fn sweep<E: Float>(packing: &Packing, place: &Place, stream: &Stream, #[comptime] ring: Ring) -> Sums {
    let tiles = comptime!(ring.tiles);
    let base = stream.base;
    let keys = base + UNIT_POS / 128 * comptime!((GROUP_ROWS * PANEL_BYTES) as u32);
    let mut sums =
        Sums { keys: zeros(comptime!(tiles.head_tiles())), values: zeros(comptime!(tiles.head_tiles())) };
    if stream.count > 0 {
        wait(stationary_barrier(base, ring), 0u32);
    }
    let mut number = 0u32;
    for _member in 0..stream.group {
        for block in stream.begin..stream.begin + stream.count {
            let masked = needs_mask(packing, place, block, stream.document, tiles);
            absorb::<E>(&mut sums, packing, place, &Step { base, keys, number, block, masked }, ring);
            number += 1;
        }
    }
    sums
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
    /// Its query block.
    block: usize,
    /// Whether some pair may be invisible.
    masked: bool,
}

/// Adds one query tile to the sums.
#[cube]
fn absorb<E: Float>(sums: &mut Sums, packing: &Packing, place: &Place, at: &Step, #[comptime] ring: Ring) {
    let tiles = comptime!(ring.tiles);
    let (count, width) = comptime!((COLUMNS / 2, tiles.head_dim / 2));
    let step = comptime!(4 * COLUMNS as u32);
    let stage = Stage::of(at.number);
    let words = stage.words(at.base, ring);
    let (queries, gradients) = (stage.tile(at.base, FIRST, ring), stage.tile(at.base, SECOND, ring));
    let mut scores = zeros(comptime!(tiles.column_tiles()));
    let mut products = zeros(comptime!(tiles.column_tiles()));
    stage.wait(at.base, FIRST, ring);
    multiply::<E>(&mut scores, at.keys, queries, comptime!(ring.along()), false);
    stage.wait(at.base, SECOND, ring);
    let values = at.keys + comptime!(ring.row_bytes() as u32);
    multiply::<E>(&mut products, values, gradients, comptime!(ring.along()), false);
    finish(&mut scores, count, 1usize);
    if at.masked {
        hide(&mut scores, packing, place, words, place.offset + at.block * COLUMNS, tiles);
    }
    let lse = column_statistics(words + 2 * step, tiles);
    weigh(&mut scores, &lse, tiles);
    let weights = operand::<E>(&scores, COLUMNS);
    multiply_weights::<E>(&mut sums.values, &weights, gradients, comptime!(ring.down()));
    finish(&mut products, count, 1usize);
    let delta = column_statistics(words + 3 * step, tiles);
    score_gradients(&mut products, &scores, &delta, tiles);
    // Only now are there registers for another operand.
    finish(&mut sums.values, width, 0usize);
    stage.release(at.base, SECOND, ring);
    let gradient_weights = operand::<E>(&products, COLUMNS);
    multiply_weights::<E>(&mut sums.keys, &gradient_weights, queries, comptime!(ring.down()));
    finish(&mut sums.keys, width, 0usize);
    stage.release(at.base, FIRST, ring);
}

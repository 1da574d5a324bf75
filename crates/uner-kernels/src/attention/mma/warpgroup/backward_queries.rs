//! The gradient of the queries: one cube per query tile of one head, one pass over the live key tiles.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::backward::{score_gradients, weigh};
use super::super::backward_queries::row_statistics;
use super::super::mask::key_extent;
use super::super::product::{write_row, zeros};
use super::super::ptx::{Accumulator, shared_address};
use super::super::tile::{Packing, Place};
use super::backward::Upstream;
use super::keys::{COLUMNS, Stream, fill, masked};
use super::product::{PANEL_BYTES, finish, multiply, multiply_weights, operand};
use super::ptx::{Corner, arrive_expecting, grow_to, shrink_to, wait};
use super::ring::{
    CONSUMERS, COPYING, FIRST, GROUP_ROWS, MULTIPLYING, Ring, SECOND, Stage, copy_panels, make_barriers,
    stationary_barrier,
};
use super::sight::{Sight, hide_branches};

/// The gradient of `q`, as [`mma::backward_queries`](super::super::backward_queries::backward_queries); the inputs are maps of
/// boxes of 128 tokens of one head.
///
/// Cubes: x the head, y the row, z the query tile (`ceil(queries / 128)`), the longest first; [`UNITS`](super::ring::UNITS)
/// units.
#[cube(launch)]
pub(in crate::attention::mma) fn backward_queries<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    dq: &mut [Vector<E, Const<2>>],
    #[comptime] ring: Ring,
    #[define(E)] _element: ElemType,
) {
    let shared = Shared::<[u32]>::new_aligned_slice(comptime!(ring.bytes() / 4), 1024usize);
    let base = shared_address(&shared);
    let tiles = comptime!(ring.tiles);
    let place = Place::of_cube(packing, tiles);
    let stream = Stream::of(base, &key_extent(packing, &place, tiles));
    make_barriers(base, ring);
    if UNIT_POS < comptime!(CONSUMERS as u32) {
        grow_to(MULTIPLYING);
        let sums = sweep::<E>(upstream, packing, &place, &stream, ring);
        #[unroll]
        for r in 0..2usize {
            let query = place.lane_row(tiles) + r * 8;
            if query < place.sizes.queries {
                let pair = place.queries(query, tiles).lane_pair(query);
                write_row::<E>(dq, &sums, r, comptime!(tiles.scale()).runtime(), pair, tiles);
            }
        }
    } else {
        shrink_to(COPYING);
        if UNIT_POS < comptime!(CONSUMERS as u32 + 32) && stream.count > 0 {
            if UNIT_POS % 32 == 0 {
                copy_queries::<E>(upstream, &place, base, ring);
            }
            fill::<E>(&upstream.k, &upstream.v, packing, &place, &stream, ring);
        }
    }
}

/// Starts the copies of the stationary tiles: queries, and behind them their gradients of the output.
#[cube]
fn copy_queries<E: Float>(upstream: &Upstream<E>, place: &Place, base: u32, #[comptime] ring: Ring) {
    let (bytes, rows) = comptime!((ring.row_bytes(), ring.tiles.rows()));
    let at = Corner {
        row: place.row as i32,
        token: place.first as i32,
        head: place.head as i32,
        element: 0i32.runtime(),
    };
    let barrier = stationary_barrier(base, ring);
    arrive_expecting(barrier, comptime!(2 * bytes));
    copy_panels::<E>(base, &upstream.q, &at, barrier, rows, ring);
    copy_panels::<E>(base + comptime!(bytes as u32), &upstream.dy, &at, barrier, rows, ring);
}

/// The pass of a warp group over the tiles in the ring: the sum of `ds·k`.
#[cube]
fn sweep<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    place: &Place,
    stream: &Stream,
    #[comptime] ring: Ring,
) -> Array<Accumulator> {
    let tiles = comptime!(ring.tiles);
    let base = stream.base;
    let queries = base + UNIT_POS / 128 * comptime!((GROUP_ROWS * PANEL_BYTES) as u32);
    let gradients = queries + comptime!(ring.row_bytes() as u32);
    let lse = row_statistics(&upstream.lse, place, tiles);
    let delta = row_statistics(&upstream.delta, place, tiles);
    let sight = Sight::of_lane(&upstream.bounds, place, tiles);
    let mut sums = zeros(comptime!(tiles.head_tiles()));
    let mut scores = zeros(comptime!(tiles.column_tiles()));
    let mut products = zeros(comptime!(tiles.column_tiles()));
    if stream.count > 0 {
        wait(stationary_barrier(base, ring), 0u32);
    }
    for number in 0..stream.count {
        let stage = Stage::of(number);
        let tile = masked(packing, place, stream, number);
        let (keys, values) = (stage.tile(base, FIRST, ring), stage.tile(base, SECOND, ring));
        stage.wait(base, FIRST, ring);
        multiply::<E>(&mut scores, queries, keys, comptime!(ring.along()), false);
        stage.wait(base, SECOND, ring);
        multiply::<E>(&mut products, gradients, values, comptime!(ring.along()), false);
        finish(&mut scores, comptime!(COLUMNS / 2), 1usize);
        if tile.cut {
            sight.hide(&mut scores, stream.token(number), tiles);
        }
        if tile.branched {
            hide_branches(&mut scores, packing, place, stage.words(base, ring), tiles);
        }
        weigh(&mut scores, &lse, tiles);
        finish(&mut products, comptime!(COLUMNS / 2), 0usize);
        stage.release(base, SECOND, ring);
        score_gradients(&mut products, &scores, &delta, tiles);
        let weights = operand::<E>(&products, COLUMNS);
        multiply_weights::<E>(&mut sums, &weights, keys, comptime!(ring.down()));
        finish(&mut sums, comptime!(tiles.head_dim / 2), 0usize);
        stage.release(base, FIRST, ring);
    }
    sums
}

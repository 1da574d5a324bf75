//! The forward kernel (FlashAttention-3, Shah et al. 2024). It has at most one cube per
//! multiprocessor; each takes query tiles of one head until none are left. One plane copies
//! queries, keys and values; two warp groups of 64 queries each multiply. The scores of a key tile
//! are computed while the values of the one before are summed, even if that one belongs to the
//! query tile before. The two groups take turns: one multiplies while the other computes its
//! softmax.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::mask::{Extent, key_extent};
use super::super::mask_tables::MASK_TILE;
use super::super::product::{clear, zeros};
use super::super::ptx::{Accumulator, shared_address};
use super::super::softmax::Softmax;
use super::super::tile::{Packing, TileCoord, Tiles};
use super::keys::{COLUMNS, Stream, fill_stage, masked};
use super::order::{Order, take};
use super::output::{Totals, write_out};
use super::product::{finish, multiply, multiply_weights, operand};
use super::ptx::{
    first_lane, named_barrier_arrive, named_barrier_sync, register_alloc, register_dealloc,
};
use super::queue::{Buffer, bytes, coord_at, make_buffers};
use super::ring::{
    CONSUMER_REGISTERS, CONSUMERS, FIRST, PRODUCER_REGISTERS, Ring, SECOND, Stage, make_barriers,
};
use super::row_mask::RowMask;

/// As [`mma::forward`](super::super::forward::forward), but the inputs are tensor maps of boxes of
/// 128 tokens of one head, `starts` is from
/// [`tabulate_queries`](super::super::mask_tables::tabulate_queries), and `y` is in vectors of
/// eight elements. `next` begins at 0 and counts the query tiles that cubes have taken, without the
/// first of each cube.
///
/// Cubes: at most one per query tile (128 queries of one head); [`UNITS`](super::ring::UNITS)
/// units.
#[cube(launch)]
pub(in crate::attention::mma) fn forward<E: Float>(
    q: &TensorMap<E, Tiled>,
    k: &TensorMap<E, Tiled>,
    v: &TensorMap<E, Tiled>,
    packing: &Packing,
    starts: &[i32],
    order: &Order,
    next: &mut [i32],
    y: &mut [Vector<E, Const<8>>],
    lse: &mut [f32],
    #[comptime] ring: Ring,
    #[define(E)] _element: ElemType,
) {
    let shared = Shared::<[u32]>::new_aligned_slice(comptime!(bytes(ring) / 4), 1024usize);
    let base = shared_address(&shared);
    make_buffers(base, ring);
    make_barriers(base, ring);
    if UNIT_POS < comptime!(CONSUMERS as u32) {
        register_alloc(CONSUMER_REGISTERS);
        sweep::<E>(packing, starts, y, lse, base, ring);
    } else {
        register_dealloc(PRODUCER_REGISTERS);
        if UNIT_POS < comptime!(CONSUMERS as u32 + 32) {
            produce::<E>(q, k, v, packing, order, next, base, ring);
        }
    }
}

/// The work of the plane that copies.
#[cube]
fn produce<E: Float>(
    q: &TensorMap<E, Tiled>,
    k: &TensorMap<E, Tiled>,
    v: &TensorMap<E, Tiled>,
    packing: &Packing,
    order: &Order,
    next: &mut [i32],
    base: u32,
    #[comptime] ring: Ring,
) {
    let tiles = comptime!(ring.tiles);
    let count = order.tiles(packing, tiles);
    let mut number = CUBE_POS_X;
    // Query tiles and key tiles so far.
    let mut turn = 0u32;
    let mut filled = 0u32;
    while number < count {
        // Taken early, because the atomic needs long.
        let following = take(next);
        let coord = order.coord(number as usize, packing, tiles);
        let stream = visited(base, packing, &coord, tiles);
        Buffer::of(turn).fill::<E>(q, &coord, &stream, ring);
        for tile in 0..stream.count {
            fill_stage::<E>(k, v, packing, &coord, &stream, tile, filled + tile, ring);
        }
        turn += 1;
        filled += stream.count;
        number = CUBE_COUNT_X + first_lane(following);
    }
    Buffer::of(turn).end(base, ring);
}

/// The key tiles that a query tile visits. If its queries see nothing, it visits one, which the
/// mask hides.
#[cube]
fn visited(base: u32, packing: &Packing, coord: &TileCoord, #[comptime] tiles: Tiles) -> Stream {
    let extent = key_extent(packing, coord, tiles);
    let begin = min(extent.begin, coord.sizes.keys.div_ceil(MASK_TILE) - 1);
    let end = max(extent.end, begin + 1);
    Stream::of(base, &Extent { begin, end, document: extent.document })
}

/// The query tile of the sums.
#[derive(CubeType, Clone, Copy)]
struct Owner {
    row: usize,
    head: usize,
    first: usize,
}

#[cube]
impl Owner {
    fn set(&mut self, coord: &TileCoord) {
        self.row = coord.row;
        self.head = coord.head;
        self.first = coord.first;
    }
}

/// The work of a warp group.
#[cube]
fn sweep<E: Float>(
    packing: &Packing,
    starts: &[i32],
    y: &mut [Vector<E, Const<8>>],
    lse: &mut [f32],
    base: u32,
    #[comptime] ring: Ring,
) {
    let tiles = comptime!(ring.tiles);
    let group = UNIT_POS / 128;
    let mut softmax = Softmax::start(tiles);
    let mut scores = zeros(comptime!(tiles.column_tiles()));
    // Query tiles and key tiles so far, and the key tiles of this query tile.
    let mut turn = 0u32;
    let mut number = 1u32;
    let mut left = Buffer::of(turn).wait(base, ring);
    // The query tile of the sums.
    let mut owner = first_scores(&mut softmax, &mut scores, packing, starts, base, ring);
    let mut weights = operand(&scores, COLUMNS);
    let mut begin = 1u32;
    // Group 0 multiplies first.
    if group == 1 {
        named_barrier_arrive(1u32, comptime!(CONSUMERS));
    }
    while left > 0 {
        let buffer = Buffer::of(turn);
        let note = buffer.read(base, packing, ring);
        let queries = buffer.queries(base, ring);
        let row_mask = RowMask::of_lane(starts, &note.coord, tiles);
        // The very first query tile may have no key tiles left.
        if begin == left {
            buffer.release(base, ring);
        }
        for part in begin..left {
            let stage = Stage::of(number);
            let before = Stage::of(number - 1);
            let tile = masked(packing, &note.coord, &note.stream, part, stage.words(base, ring));
            multiply_both(&mut softmax, &mut scores, &weights, queries, number, base, ring);
            tile.hide(&mut scores, packing, &note.coord, &row_mask, tiles);
            stage.release(base, FIRST, ring);
            if part + 1 == left {
                buffer.release(base, ring);
            }
            // Totals of the query tile before, if this is the first key tile of a new one.
            let totals = Totals::of(&softmax);
            if part == 0 {
                softmax.restart(tiles);
            }
            let upper = softmax.rescale(&mut scores, 0usize, 0usize, tiles);
            let lower = softmax.rescale(&mut scores, 0usize, 1usize, tiles);
            before.wait_after(base, SECOND, softmax.weights[0usize], softmax.weights[1usize], ring);
            finish(&mut softmax.sums, comptime!(tiles.head_dim / 2), 0usize);
            before.release(base, SECOND, ring);
            if part == 0 {
                let coord = coord_at(packing, owner.row, owner.head, owner.first);
                write_out::<E>(&softmax.sums, &totals, y, lse, &coord, tiles);
                clear(&mut softmax.sums, comptime!(tiles.head_tiles()));
                owner.set(&note.coord);
            } else {
                softmax.shrink(0usize, upper, lower, tiles);
            }
            weights = operand(&scores, COLUMNS);
            number += 1;
        }
        begin = 0u32;
        turn += 1;
        left = Buffer::of(turn).wait(base, ring);
    }
    let last = Stage::of(number - 1);
    last.wait(base, SECOND, ring);
    let values = last.tile(base, SECOND, ring);
    multiply_weights(&mut softmax.sums, &weights, values, comptime!(ring.down()));
    finish(&mut softmax.sums, comptime!(tiles.head_dim / 2), 0usize);
    let coord = coord_at(packing, owner.row, owner.head, owner.first);
    write_out::<E>(&softmax.sums, &Totals::of(&softmax), y, lse, &coord, tiles);
    // Group 1 has arrived at the barrier once more.
    if group == 0 {
        named_barrier_sync(1u32, comptime!(CONSUMERS));
    }
}

/// Computes the weights of the very first key tile, which has none before it, into `scores`.
/// Returns their query tile.
#[cube]
fn first_scores(
    softmax: &mut Softmax,
    scores: &mut Array<Accumulator>,
    packing: &Packing,
    starts: &[i32],
    base: u32,
    #[comptime] ring: Ring,
) -> Owner {
    let tiles = comptime!(ring.tiles);
    let (buffer, stage) = (Buffer::of(0u32), Stage::of(0u32));
    let note = buffer.read(base, packing, ring);
    let row_mask = RowMask::of_lane(starts, &note.coord, tiles);
    let tile = masked(packing, &note.coord, &note.stream, 0u32, stage.words(base, ring));
    stage.wait(base, FIRST, ring);
    let (queries, keys) = (buffer.queries(base, ring), stage.tile(base, FIRST, ring));
    multiply(scores, queries, keys, comptime!(ring.along()), false);
    finish(scores, comptime!(COLUMNS / 2), 0usize);
    tile.hide(scores, packing, &note.coord, &row_mask, tiles);
    stage.release(base, FIRST, ring);
    softmax.rescale(scores, 0usize, 0usize, tiles);
    softmax.rescale(scores, 0usize, 1usize, tiles);
    Owner { row: note.coord.row, head: note.coord.head, first: note.coord.first }
}

/// In the group's turn, starts the scores of key tile `number` and the sum of the values of the
/// tile before; waits for the scores.
#[cube]
fn multiply_both(
    softmax: &mut Softmax,
    scores: &mut Array<Accumulator>,
    weights: &Array<u32>,
    queries: u32,
    number: u32,
    base: u32,
    #[comptime] ring: Ring,
) {
    let group = UNIT_POS / 128;
    let (stage, before) = (Stage::of(number), Stage::of(number - 1));
    stage.wait(base, FIRST, ring);
    named_barrier_sync(1 + group, comptime!(CONSUMERS));
    multiply(scores, queries, stage.tile(base, FIRST, ring), comptime!(ring.along()), false);
    before.wait(base, SECOND, ring);
    let values = before.tile(base, SECOND, ring);
    multiply_weights(&mut softmax.sums, weights, values, comptime!(ring.down()));
    named_barrier_arrive(2 - group, comptime!(CONSUMERS));
    finish(scores, comptime!(COLUMNS / 2), 1usize);
}

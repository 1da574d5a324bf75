//! The gradients of keys and values: one cube per key tile of one key/value head makes one pass
//! over the live query tiles of each query head that reads it.
//!
//! Scores are computed transposed, with keys down the rows: a plane then owns its rows of both
//! gradients, and the weights go from accumulator to operand within its registers.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::backward::{Upstream, score_gradients, weigh};
use super::copy::{copy_tile, copy_words};
use super::mask::{hide, query_extent};
use super::mask_tables::{ENTRY, MASK_TILE};
use super::product::{
    lane_offset_along, lane_offset_down, multiply_transposed, multiply_weights, write_row, zeros,
};
use super::ptx::{Accumulator, commit_copies, load_floats, shared_address, wait_copies};
use super::tile::{Packing, TileCoord, Tiles};
use crate::attention::PADDING;

impl Tiles {
    /// Bytes of one stage of queries and their gradients: two streamed tiles and four words per
    /// token.
    pub(super) const fn query_stage_bytes(self) -> usize {
        2 * self.column_bytes() + 16 * self.columns
    }
}

/// The gradients of a plane's keys and values.
#[derive(CubeType)]
pub(super) struct Sums {
    pub(super) keys: Array<Accumulator>,
    pub(super) values: Array<Accumulator>,
}

/// The gradients of `k` and `v`.
///
/// # Shapes
/// - `dk`, `dv`: `[rows, keys, kv_heads, head_dim]`, in pairs of elements
///
/// Cubes: x the key/value head, y the row, z the key tile (`ceil(keys / tiles.rows())`);
/// `planes · 32` units. Keys are stationary, `tiles.rows()` is a multiple of [`MASK_TILE`],
/// `tiles.columns` is [`MASK_TILE`].
#[cube(launch)]
pub(super) fn backward_keys<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    dk: &mut [Vector<E, Const<2>>],
    dv: &mut [Vector<E, Const<2>>],
    #[comptime] tiles: Tiles,
    #[define(E)] _element: ElemType,
) {
    let words = comptime!(tiles.backward_bytes(tiles.query_stage_bytes()) / 4);
    let shared = Shared::<[u32]>::new_aligned_slice(words, 16usize);
    let base = shared_address(&shared);
    let coord = TileCoord::of_cube(packing, tiles);
    let sums = sweep::<E>(upstream, packing, &coord, base, tiles);
    write_sums::<E>(&sums, dk, dv, &coord, tiles);
}

/// Writes the gradients of a plane's keys and values.
#[cube]
pub(super) fn write_sums<E: Float>(
    sums: &Sums,
    dk: &mut [Vector<E, Const<2>>],
    dv: &mut [Vector<E, Const<2>>],
    coord: &TileCoord,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for r in 0..comptime!(2 * tiles.per_plane) {
        let key = coord.lane_row(tiles) + r * 8;
        if key < coord.sizes.keys {
            let pair = coord.keys(key, tiles).lane_pair(key);
            write_row::<E>(dk, &sums.keys, r, comptime!(tiles.scale()).runtime(), pair, tiles);
            write_row::<E>(dv, &sums.values, r, 1.0f32.runtime(), pair, tiles);
        }
    }
}

/// Starts the copies of query tile `tile` of the head at `coord` into the stage at `address`.
#[cube]
fn start<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    coord: &TileCoord,
    address: u32,
    tile: usize,
    #[comptime] tiles: Tiles,
) {
    let (columns, bytes) = comptime!((tiles.columns, tiles.column_bytes() as u32));
    let first = tile * columns;
    let left = coord.sizes.queries - first;
    let run = coord.queries(first, tiles);
    copy_tile::<E>(address, &upstream.inputs.q, &run, columns, tiles);
    copy_tile::<E>(address + bytes, &upstream.dy, &run, columns, tiles);
    let words = address + 2 * bytes;
    let step = comptime!(4 * columns as u32);
    let token = coord.row * coord.sizes.keys + coord.offset + first;
    copy_words::<i32>(words, &packing.document, token, left, columns);
    copy_words::<i32>(words + step, &packing.branch, token, left, columns);
    let statistic = coord.statistics() + first;
    copy_words::<f32>(words + 2 * step, &upstream.lse, statistic, left, columns);
    copy_words::<f32>(words + 3 * step, &upstream.delta, statistic, left, columns);
    commit_copies();
}

/// Reads the values of this lane's columns from shared memory at `address`.
#[cube]
fn column_statistics(address: u32, #[comptime] tiles: Tiles) -> Array<f32> {
    let mut values = Array::<f32>::new(comptime!(tiles.statistics()));
    let lane = address + UNIT_POS % 4 * 8;
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let pair = load_floats(lane, comptime!(n * 32));
        values[2 * n] = pair.extract(0usize);
        values[2 * n + 1] = pair.extract(1usize);
    }
    values
}

/// The pass over the live query tiles of the group's heads: the sums of `dsᵀ·q` and `pᵀ·dy`.
#[cube]
fn sweep<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    coord: &TileCoord,
    base: u32,
    #[comptime] tiles: Tiles,
) -> Sums {
    let row_bytes = comptime!(tiles.row_bytes() as u32);
    let stage_bytes = comptime!(tiles.query_stage_bytes() as u32);
    let stages = base + 2 * row_bytes;
    let extent = query_extent(packing, coord, tiles);
    let group = coord.sizes.heads / coord.sizes.kv_heads;
    if extent.begin < extent.end {
        let run = coord.keys(coord.first, tiles);
        copy_tile::<E>(base, &upstream.inputs.k, &run, comptime!(tiles.rows()), tiles);
        copy_tile::<E>(base + row_bytes, &upstream.inputs.v, &run, comptime!(tiles.rows()), tiles);
        start::<E>(upstream, packing, coord, stages, extent.begin, tiles);
    }
    let count = comptime!(tiles.per_plane * tiles.head_tiles());
    let mut sums = Sums { keys: zeros(count), values: zeros(count) };
    let mut parity = 0u32;
    for member in 0..group {
        for tile in extent.begin..extent.end {
            wait_copies();
            sync_cube();
            let stage = stages + parity * stage_bytes;
            parity = 1 - parity;
            let last = tile + 1 == extent.end;
            let next = coord.with_head(coord.head + member + select(last, 1usize, 0usize));
            if next.head < coord.head + group {
                let following = select(last, extent.begin, tile + 1);
                start::<E>(
                    upstream,
                    packing,
                    &next,
                    stages + parity * stage_bytes,
                    following,
                    tiles,
                );
            }
            let rows =
                base + UNIT_POS / 32 * comptime!((tiles.plane_rows() * tiles.stride()) as u32);
            let masked = needs_mask(packing, coord, tile, extent.document, tiles);
            absorb(&mut sums, packing, coord, &Step { rows, stage, tile, masked }, tiles);
        }
    }
    sums
}

/// Whether some pair of the key tile at `coord` and query tile `tile` may be invisible.
#[cube]
fn needs_mask(
    packing: &Packing,
    coord: &TileCoord,
    tile: usize,
    document: i32,
    #[comptime] tiles: Tiles,
) -> bool {
    let row_start = coord.row * coord.sizes.queries.div_ceil(MASK_TILE);
    let query_document = packing.query_table[(row_start + tile) * ENTRY + 1];
    let below = coord.first + comptime!(tiles.rows()) <= coord.offset + tile * MASK_TILE + 1;
    let uniform = select(query_document == document, document != PADDING, false);
    !(below && uniform)
}

/// One query tile to absorb.
#[derive(CubeType)]
struct Step {
    /// Shared address of the plane's keys; the values lie behind all keys.
    rows: u32,
    /// Shared address of the tile.
    stage: u32,
    /// Its number among the query tiles.
    tile: usize,
    /// Whether some pair may be invisible.
    masked: bool,
}

/// Adds one query tile to the sums.
#[cube]
fn absorb(
    sums: &mut Sums,
    packing: &Packing,
    coord: &TileCoord,
    at: &Step,
    #[comptime] tiles: Tiles,
) {
    let bytes = comptime!(tiles.column_bytes() as u32);
    let step = comptime!(4 * tiles.columns as u32);
    let (along, down) = (lane_offset_along(tiles), lane_offset_down(tiles));
    let words = at.stage + 2 * bytes;
    let mut scores = zeros(comptime!(tiles.per_plane * tiles.column_tiles()));
    multiply_transposed(&mut scores, at.rows + down, at.stage + along, tiles);
    if at.masked {
        let column = coord.offset + at.tile * MASK_TILE;
        hide(&mut scores, packing, coord, words, column, tiles);
    }
    let lse = column_statistics(words + 2 * step, tiles);
    weigh(&mut scores, &lse, tiles);
    multiply_weights(&mut sums.values, &scores, at.stage + bytes + down, tiles);
    let mut products = zeros(comptime!(tiles.per_plane * tiles.column_tiles()));
    let values = at.rows + comptime!(tiles.row_bytes() as u32) + down;
    multiply_transposed(&mut products, values, at.stage + bytes + along, tiles);
    let delta = column_statistics(words + 3 * step, tiles);
    score_gradients(&mut products, &scores, &delta, tiles);
    multiply_weights(&mut sums.keys, &products, at.stage + down, tiles);
}

//! The forward kernel (FlashAttention-2, Dao 2023): one cube per query tile of one head makes one
//! pass over the live key tiles. Scores stay in registers, and the softmax is rescaled on the way.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::copy::{copy_tile, copy_words};
use super::mask::{hide, key_extent};
use super::mask_tables::{ENTRY, MASK_TILE};
use super::product::{
    lane_offset_along, lane_offset_down, multiply_transposed, multiply_weights, write_row, zeros,
};
use super::ptx::{commit_copies, exchange, shared_address, wait_copies};
use super::softmax::Softmax;
use super::tile::{Packing, TileCoord, Tiles};
use crate::attention::{BLIND, PADDING};

impl Tiles {
    /// Bytes of one stage: two streamed tiles, and two words per token.
    pub(super) const fn stage_bytes(self) -> usize {
        2 * self.column_bytes() + 8 * self.columns
    }
    /// Bytes of shared memory of [`forward`]: the queries and two stages of keys and values.
    pub(super) const fn forward_bytes(self) -> usize {
        self.row_bytes() + 2 * self.stage_bytes()
    }
}

/// The inputs of attention.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Inputs<E: Float> {
    /// `[rows, queries, heads, head_dim]`
    pub(super) q: Box<[E]>,
    /// `[rows, keys, kv_heads, head_dim]`
    pub(super) k: Box<[E]>,
    /// `[rows, keys, kv_heads, head_dim]`
    pub(super) v: Box<[E]>,
}

/// `y = softmax(q·kᵀ·scale)·v` over the visible keys, and the log-sum-exp of the scaled visible
/// scores.
///
/// # Shapes
/// - `y`: `[rows, queries, heads, head_dim]`, in pairs of elements
/// - `lse`: `[rows, heads, queries]`; `BLIND` for a query that sees nothing, whose `y` is zero
///
/// Cubes: x the head, y the row, z the query tile (`ceil(queries / tiles.rows())`), the longest
/// first; `planes · 32` units. `tiles.rows()` must be a multiple of [`MASK_TILE`], `tiles.columns`
/// must be [`MASK_TILE`].
#[cube(launch)]
pub(super) fn forward<E: Float>(
    inputs: &Inputs<E>,
    packing: &Packing,
    y: &mut [Vector<E, Const<2>>],
    lse: &mut [f32],
    #[comptime] tiles: Tiles,
    #[define(E)] _element: ElemType,
) {
    let shared = Shared::<[u32]>::new_aligned_slice(comptime!(tiles.forward_bytes() / 4), 16usize);
    let base = shared_address(&shared);
    let coord = TileCoord::of_cube(packing, tiles);
    let softmax = sweep::<E>(inputs, packing, &coord, base, tiles);
    finish::<E>(&softmax, y, lse, &coord, tiles);
}

/// Starts the copies of key tile `tile` into the stage at `address`.
#[cube]
pub(super) fn start<E: Float>(
    inputs: &Inputs<E>,
    packing: &Packing,
    coord: &TileCoord,
    address: u32,
    tile: usize,
    #[comptime] tiles: Tiles,
) {
    let (columns, bytes) = comptime!((tiles.columns, tiles.column_bytes() as u32));
    let first = tile * columns;
    let run = coord.keys(first, tiles);
    copy_tile::<E>(address, &inputs.k, &run, columns, tiles);
    copy_tile::<E>(address + bytes, &inputs.v, &run, columns, tiles);
    let (words, index) = (address + 2 * bytes, coord.row * coord.sizes.keys + first);
    copy_words::<i32>(words, &packing.document, index, coord.sizes.keys - first, columns);
    let branches = words + comptime!(4 * columns as u32);
    copy_words::<i32>(branches, &packing.branch, index, coord.sizes.keys - first, columns);
    commit_copies();
}

/// The pass over the live key tiles. The queries go to shared memory at `base`, the stages behind
/// them.
#[cube]
fn sweep<E: Float>(
    inputs: &Inputs<E>,
    packing: &Packing,
    coord: &TileCoord,
    base: u32,
    #[comptime] tiles: Tiles,
) -> Softmax {
    let (columns, bytes) = comptime!((tiles.columns, tiles.column_bytes() as u32));
    let stage_bytes = comptime!(tiles.stage_bytes() as u32);
    let plane_bytes = comptime!((tiles.plane_rows() * tiles.stride()) as u32);
    let stages = base + comptime!(tiles.row_bytes() as u32);
    let rows = base + UNIT_POS / 32 * plane_bytes + lane_offset_down(tiles);
    let (along, down) = (lane_offset_along(tiles), lane_offset_down(tiles));

    let extent = key_extent(packing, coord, tiles);
    if extent.begin < extent.end {
        let run = coord.queries(coord.first, tiles);
        copy_tile::<E>(base, &inputs.q, &run, comptime!(tiles.rows()), tiles);
        start::<E>(inputs, packing, coord, stages, extent.begin, tiles);
    }
    let mut softmax = Softmax::start(tiles);
    let mut scores = zeros(comptime!(tiles.per_plane * tiles.column_tiles()));
    let row_start = coord.row * coord.sizes.keys.div_ceil(MASK_TILE);
    for tile in extent.begin..extent.end {
        let key_document = packing.key_table[(row_start + tile) * ENTRY + 1];
        let stage = stages + (tile - extent.begin) as u32 % 2 * stage_bytes;
        wait_copies();
        sync_cube();
        let below = (tile + 1) * columns <= coord.offset + coord.first + 1;
        let uniform = select(key_document == extent.document, key_document != PADDING, false);
        let masked = !(below && uniform);
        if tile + 1 < extent.end {
            let next = stages + (tile + 1 - extent.begin) as u32 % 2 * stage_bytes;
            start::<E>(inputs, packing, coord, next, tile + 1, tiles);
        }
        multiply_transposed(&mut scores, rows, stage + along, tiles);
        if masked {
            hide(&mut scores, packing, coord, stage + 2 * bytes, tile * columns, tiles);
        }
        softmax.absorb(&mut scores, tiles);
        multiply_weights(&mut softmax.sums, &scores, stage + bytes + down, tiles);
    }
    softmax
}

/// Normalises the sums and writes them and the log-sum-exp.
#[cube]
pub(super) fn finish<E: Float>(
    softmax: &Softmax,
    y: &mut [Vector<E, Const<2>>],
    lse: &mut [f32],
    coord: &TileCoord,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for r in 0..comptime!(2 * tiles.per_plane) {
        let mut weight = softmax.weights[r];
        weight += exchange(weight, 1u32);
        weight += exchange(weight, 2u32);
        let seen = weight > 0.0;
        let inverse = select(seen, 1.0 / weight, 0.0f32);
        let query = coord.lane_row(tiles) + r * 8;
        if query < coord.sizes.queries {
            if UNIT_POS % 4 == 0 {
                let value = softmax.maxima[r] * comptime!(tiles.scale()) + weight.ln();
                lse[coord.statistics() + query] = select(seen, value, BLIND);
            }
            let pair = coord.queries(query, tiles).lane_pair(query);
            write_row::<E>(y, &softmax.sums, r, inverse, pair, tiles);
        }
    }
}

//! The forward kernel (FlashAttention-2, Dao 2023): one cube per query tile of one head makes one
//! pass over the live key tiles. Scores stay in registers, and the softmax is rescaled on the way.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::block::{BLOCK, ENTRY};
use super::copy::{copy_tile, copy_words};
use super::mask::{hide, key_extent};
use super::product::{
    lane_offset_along, lane_offset_down, multiply_transposed, multiply_weights, write_row, zeros,
};
use super::ptx::{commit_copies, exchange, shared_address, wait_copies};
use super::softmax::Softmax;
use super::tile::{Packing, Place, Tiles};
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
/// first; `planes · 32` units. `tiles.rows()` must be a multiple of [`BLOCK`], `tiles.columns` must
/// be [`BLOCK`].
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
    let place = Place::of_cube(packing, tiles);
    let softmax = sweep::<E>(inputs, packing, &place, base, tiles);
    finish::<E>(&softmax, y, lse, &place, tiles);
}

/// Starts the copies of key tile `block` into the stage at `address`.
#[cube]
pub(super) fn start<E: Float>(
    inputs: &Inputs<E>,
    packing: &Packing,
    place: &Place,
    address: u32,
    block: usize,
    #[comptime] tiles: Tiles,
) {
    let (columns, bytes) = comptime!((tiles.columns, tiles.column_bytes() as u32));
    let first = block * columns;
    let run = place.keys(first, tiles);
    copy_tile::<E>(address, &inputs.k, &run, columns, tiles);
    copy_tile::<E>(address + bytes, &inputs.v, &run, columns, tiles);
    let (words, index) = (address + 2 * bytes, place.row * place.sizes.keys + first);
    copy_words::<i32>(words, &packing.document, index, place.sizes.keys - first, columns);
    let branches = words + comptime!(4 * columns as u32);
    copy_words::<i32>(branches, &packing.branch, index, place.sizes.keys - first, columns);
    commit_copies();
}

/// The pass over the live key tiles. The queries go to shared memory at `base`, the stages behind
/// them.
#[cube]
fn sweep<E: Float>(
    inputs: &Inputs<E>,
    packing: &Packing,
    place: &Place,
    base: u32,
    #[comptime] tiles: Tiles,
) -> Softmax {
    let (columns, bytes) = comptime!((tiles.columns, tiles.column_bytes() as u32));
    let stage_bytes = comptime!(tiles.stage_bytes() as u32);
    let plane_bytes = comptime!((tiles.plane_rows() * tiles.stride()) as u32);
    let stages = base + comptime!(tiles.row_bytes() as u32);
    let rows = base + UNIT_POS / 32 * plane_bytes + lane_offset_down(tiles);
    let (along, down) = (lane_offset_along(tiles), lane_offset_down(tiles));

    let extent = key_extent(packing, place, tiles);
    if extent.begin < extent.end {
        let run = place.queries(place.first, tiles);
        copy_tile::<E>(base, &inputs.q, &run, comptime!(tiles.rows()), tiles);
        start::<E>(inputs, packing, place, stages, extent.begin, tiles);
    }
    let mut softmax = Softmax::start(tiles);
    let mut scores = zeros(comptime!(tiles.per_plane * tiles.column_tiles()));
    let key_blocks = place.row * place.sizes.keys.div_ceil(BLOCK);
    for block in extent.begin..extent.end {
        let key_document = packing.key_table[(key_blocks + block) * ENTRY + 1];
        let stage = stages + (block - extent.begin) as u32 % 2 * stage_bytes;
        wait_copies();
        sync_cube();
        let below = (block + 1) * columns <= place.offset + place.first + 1;
        let uniform = select(key_document == extent.document, key_document != PADDING, false);
        let masked = !(below && uniform);
        if block + 1 < extent.end {
            let next = stages + (block + 1 - extent.begin) as u32 % 2 * stage_bytes;
            start::<E>(inputs, packing, place, next, block + 1, tiles);
        }
        multiply_transposed(&mut scores, rows, stage + along, tiles);
        if masked {
            hide(&mut scores, packing, place, stage + 2 * bytes, block * columns, tiles);
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
    place: &Place,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for r in 0..comptime!(2 * tiles.per_plane) {
        let mut weight = softmax.weights[r];
        weight += exchange(weight, 1u32);
        weight += exchange(weight, 2u32);
        let seen = weight > 0.0;
        let inverse = select(seen, 1.0 / weight, 0.0f32);
        let query = place.lane_row(tiles) + r * 8;
        if query < place.sizes.queries {
            if UNIT_POS % 4 == 0 {
                let value = softmax.maxima[r] * comptime!(tiles.scale()) + weight.ln();
                lse[place.statistics() + query] = select(seen, value, BLIND);
            }
            let pair = place.queries(query, tiles).lane_pair(query);
            write_row::<E>(y, &softmax.sums, r, inverse, pair, tiles);
        }
    }
}

//! The gradient of the queries: one cube per query tile of one head makes one pass over the live
//! key tiles.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::backward::{Upstream, score_gradients, weigh};
use super::copy::copy_tile;
use super::forward::start;
use super::mask::{hide, key_extent};
use super::mask_tables::{ENTRY, MASK_TILE};
use super::product::{
    lane_offset_along, lane_offset_down, multiply_transposed, multiply_weights, write_row, zeros,
};
use super::ptx::{Accumulator, shared_address, wait_copies};
use super::tile::{Packing, TileCoord, Tiles};
use crate::attention::PADDING;

/// The gradient of `q`.
///
/// # Shapes
/// - `dq`: `[rows, queries, heads, head_dim]`, in pairs of elements
///
/// Cubes: x the head, y the row, z the query tile (`ceil(queries / tiles.rows())`), the longest
/// first; `planes · 32` units. Queries are stationary, `tiles.rows()` is a multiple of
/// [`MASK_TILE`], `tiles.columns` is [`MASK_TILE`].
#[cube(launch)]
pub(super) fn backward_queries<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    dq: &mut [Vector<E, Const<2>>],
    #[comptime] tiles: Tiles,
    #[define(E)] _element: ElemType,
) {
    let words = comptime!(tiles.backward_bytes(tiles.stage_bytes()) / 4);
    let shared = Shared::<[u32]>::new_aligned_slice(words, 16usize);
    let base = shared_address(&shared);
    let coord = TileCoord::of_cube(packing, tiles);
    let sums = sweep::<E>(upstream, packing, &coord, base, tiles);
    #[unroll]
    for r in 0..comptime!(2 * tiles.per_plane) {
        let query = coord.lane_row(tiles) + r * 8;
        if query < coord.sizes.queries {
            let pair = coord.queries(query, tiles).lane_pair(query);
            write_row::<E>(dq, &sums, r, comptime!(tiles.scale()).runtime(), pair, tiles);
        }
    }
}

/// Reads the values of this lane's queries from `source`, `[rows, heads, queries]`.
#[cube]
pub(super) fn row_statistics(
    source: &[f32],
    coord: &TileCoord,
    #[comptime] tiles: Tiles,
) -> Array<f32> {
    let mut values = Array::<f32>::new(comptime!(tiles.statistics()));
    #[unroll]
    for r in 0..comptime!(tiles.statistics()) {
        let query = coord.lane_row(tiles) + r * 8;
        let inside = query < coord.sizes.queries;
        values[r] = source[coord.statistics() + select(inside, query, 0usize)];
    }
    values
}

/// The pass over the live key tiles: the sum of `ds·k`.
#[cube]
fn sweep<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    coord: &TileCoord,
    base: u32,
    #[comptime] tiles: Tiles,
) -> Array<Accumulator> {
    let (columns, bytes) = comptime!((tiles.columns, tiles.column_bytes() as u32));
    let (stage_bytes, row_bytes) =
        comptime!((tiles.stage_bytes() as u32, tiles.row_bytes() as u32));
    let plane_bytes = comptime!((tiles.plane_rows() * tiles.stride()) as u32);
    let (along, down) = (lane_offset_along(tiles), lane_offset_down(tiles));
    let rows = base + UNIT_POS / 32 * plane_bytes + down;
    let stages = base + 2 * row_bytes;

    let extent = key_extent(packing, coord, tiles);
    if extent.begin < extent.end {
        let run = coord.queries(coord.first, tiles);
        copy_tile::<E>(base, &upstream.inputs.q, &run, comptime!(tiles.rows()), tiles);
        copy_tile::<E>(base + row_bytes, &upstream.dy, &run, comptime!(tiles.rows()), tiles);
        start::<E>(&upstream.inputs, packing, coord, stages, extent.begin, tiles);
    }
    let lse = row_statistics(&upstream.lse, coord, tiles);
    let delta = row_statistics(&upstream.delta, coord, tiles);
    let mut sums = zeros(comptime!(tiles.per_plane * tiles.head_tiles()));
    let mut scores = zeros(comptime!(tiles.per_plane * tiles.column_tiles()));
    let mut products = zeros(comptime!(tiles.per_plane * tiles.column_tiles()));
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
            start::<E>(&upstream.inputs, packing, coord, next, tile + 1, tiles);
        }
        multiply_transposed(&mut scores, rows, stage + along, tiles);
        if masked {
            hide(&mut scores, packing, coord, stage + 2 * bytes, tile * columns, tiles);
        }
        weigh(&mut scores, &lse, tiles);
        multiply_transposed(&mut products, rows + row_bytes, stage + bytes + along, tiles);
        score_gradients(&mut products, &scores, &delta, tiles);
        multiply_weights(&mut sums, &products, stage + down, tiles);
    }
    sums
}

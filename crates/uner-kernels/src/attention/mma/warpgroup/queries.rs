//! The gradient of the queries, to which every key tile adds: from the patches of a cube into
//! global memory.
//!
//! # Order
//! The sums are f32, patch by patch, `[rows, heads, patch]`; a head has one patch per 64 queries
//! and panel. Key tiles add in a fixed order, the last first. `turns` has a counter for each patch
//! (behind the word that numbers the cubes): tile `t` of `n` waits until it is `n - t - 1`, then
//! adds and raises it to `n - t`. The first tile does not wait, and writes instead of adding, so
//! the sums need no zeroing. A patch whose counter is still 0 has not been visited.
//!
//! Tile `t` is the first if tile `t + 1` does not visit the patch, since then no later tile visits
//! it. The reason: a document of tile `t` reaches the queries of the patch. Its tokens are
//! contiguous, so it also fills every tile between, except the last that can see the patch, which
//! may begin among the patch's queries.
//!
//! # No deadlock
//! A cube waits only for the cube of the next key tile of the same head, and only for patches that
//! the awaited cube visits by the same extents
//! ([`query_extent`](super::super::mask::query_extent)). Cubes take their tiles in the order in
//! which they start, the last tile of a head first. The awaited cube has therefore started, and it
//! ends, since the first of all waits for none. This holds whatever the tables contain. While a
//! cube waits, its planes that multiply go on until both slots of their group are full. Waits are
//! short: under the causal mask a tile begins at its own queries, which the tiles behind it do not
//! see or have passed.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::mask::{Extent, query_extent};
use super::super::mask_tables::MASK_TILE;
use super::super::tile::{Packing, Sizes, TileCoord, Tiles};
use super::backward::Stream;
use super::exchange::{PATCH, PATCH_BYTES, Slot};
use super::product::PANEL;
use super::ring::Ring;
use super::turns::{add, await_turn, end_turn, wait_read, wait_written, write};

/// Units of a cube of [`gather`]: one per eight columns of two rows, which four units' accumulators
/// have.
pub(super) const GATHER_UNITS: usize = PATCH / 16;

/// Sets the turns to zero. Cubes and units: one unit per word.
#[cube(launch)]
pub(in crate::attention::mma) fn clear(turns: &mut [u32]) {
    if ABSOLUTE_POS < turns.len() {
        turns[ABSOLUTE_POS] = 0u32;
    }
}

/// Adds the patches of warp group `group` to `sums`, as they arrive in its slots. One unit outside
/// the group calls it.
#[cube]
pub(super) fn add_patches(
    sums: &mut [f32],
    turns: &mut [u32],
    packing: &Packing,
    coord: &TileCoord,
    stream: &Stream,
    group: u32,
    #[comptime] ring: Ring,
) {
    let (panels, columns, rows) = comptime!((ring.panels(), ring.tiles.columns, ring.tiles.rows()));
    let next = next_extent(packing, coord, comptime!(ring.tiles));
    let mask_tiles = coord.sizes.queries.div_ceil(MASK_TILE);
    let turn = (coord.sizes.keys.div_ceil(rows) - coord.first / rows) as u32;
    let mut number = 0u32;
    for member in 0..stream.members {
        let head = (coord.row * coord.sizes.heads + coord.head + member) * mask_tiles * panels;
        for tile in 0..stream.count {
            let slot = Slot::of(stream.base, group, number, ring);
            slot.wait();
            let patch = (stream.extent.begin + tile * comptime!(columns / MASK_TILE)) * panels
                + group as usize;
            // Wide tiles may end behind the last 64 queries.
            if patch < stream.extent.end * panels {
                let from = (head + patch) * PATCH;
                if next.begin * panels <= patch && patch < next.end * panels {
                    await_turn(turns, 1 + head + patch, turn - 1);
                    add(sums, from, slot.patch, PATCH_BYTES);
                } else {
                    write(sums, from, slot.patch, PATCH_BYTES);
                }
                wait_read();
                slot.release();
                wait_written();
                end_turn(turns, 1 + head + patch, turn);
            } else {
                slot.release();
            }
            number += 1;
        }
    }
}

/// The live query tiles of the key tile behind the one at `coord`; none behind the last tile.
#[cube]
fn next_extent(packing: &Packing, coord: &TileCoord, #[comptime] tiles: Tiles) -> Extent {
    let first = coord.first + comptime!(tiles.rows());
    let inside = first < coord.sizes.keys;
    let next = coord.with_first(select(inside, first, coord.first));
    let extent = query_extent(packing, &next, tiles);
    Extent {
        begin: extent.begin,
        end: select(inside, extent.end, 0usize),
        document: extent.document,
    }
}

/// `dq = scale · sums`, zeros in patches that no key tile visits.
///
/// # Shapes
/// - `sums`: `[rows, heads, ceil(queries / 64) · panels, PATCH]`, in vectors of four
/// - `turns`: one word, then `[rows, heads, ceil(queries / 64) · panels]`
/// - `dq`: `[rows, queries, heads, head_dim]`, in vectors of eight
///
/// Cubes: x, one per patch; [`GATHER_UNITS`] units.
#[cube(launch)]
pub(in crate::attention::mma) fn gather<E: Float>(
    sums: &[Vector<f32, Const<4>>],
    turns: &[u32],
    dq: &mut [Vector<E, Const<8>>],
    sizes: Sizes,
    #[comptime] tiles: Tiles,
    #[define(E)] _element: ElemType,
) {
    let panels = comptime!(tiles.head_dim / PANEL);
    let (patch, unit) = (CUBE_POS_X as usize, UNIT_POS as usize);
    let mask_tiles = sizes.queries.div_ceil(MASK_TILE);
    let (panel, mask_tile, head) =
        (patch % panels, patch / panels % mask_tiles, patch / (panels * mask_tiles));
    let (row, head) = (head / sizes.heads, head % sizes.heads);
    let visited = turns[1 + patch] != 0;
    // Eight columns, and the four lanes with these columns of two rows.
    let (chunk, lanes) = (unit % 8, unit / 8);
    let from = patch * comptime!(PATCH / 4) + chunk * 128 + lanes * 4;
    let mut upper = Vector::<f32, Const<8>>::new(0.0f32);
    let mut lower = Vector::<f32, Const<8>>::new(0.0f32);
    if visited {
        #[unroll]
        for lane in 0..4usize {
            let tile = sums[from + lane] * Vector::new(comptime!(tiles.scale()));
            upper.insert(comptime!(2 * lane), tile.extract(0usize));
            upper.insert(comptime!(2 * lane + 1), tile.extract(1usize));
            lower.insert(comptime!(2 * lane), tile.extract(2usize));
            lower.insert(comptime!(2 * lane + 1), tile.extract(3usize));
        }
    }
    let query = mask_tile * MASK_TILE + lanes / 8 * 16 + lanes % 8;
    let width = comptime!(tiles.head_dim / 8);
    let to = ((row * sizes.queries + query) * sizes.heads + head) * width + panel * 8 + chunk;
    if query < sizes.queries {
        dq[to] = Vector::cast_from(upper);
    }
    if query + 8 < sizes.queries {
        dq[to + 8 * sizes.heads * width] = Vector::cast_from(lower);
    }
}

//! The backward kernel (FlashAttention-3, Shah et al. 2024): one cube per key tile of one key/value
//! head makes one pass over the live query tiles of each query head that reads it. One plane copies
//! queries and gradients of the output into a ring. Two warp groups of 64 keys each multiply
//! ([`absorb`](super::absorb)). One more plane per warp group adds its gradients of the queries to
//! sums in global memory ([`queries`](super::queries)).

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::backward_keys::Sums;
use super::super::mask::{Extent, query_extent};
use super::super::mask_tables::{ENTRY, MASK_TILE};
use super::super::ptx::shared_address;
use super::super::tile::{Packing, TileCoord, Tiles};
use super::absorb::sweep;
use super::exchange::make_exchange;
use super::output::write_row;
use super::ptx::{
    TmaCoord, arrive_behind_copies, arrive_expecting, first_lane, register_alloc, register_dealloc,
};
use super::queries::add_patches;
use super::ring::{
    CONSUMER_REGISTERS, FIRST, PLANES, PRODUCER_REGISTERS, Ring, SECOND, Stage, copy_panels,
    copy_words, make_barriers, stationary_barrier,
};
use super::turns::take_number;
use crate::attention::PADDING;

/// Queries per tile: as many as the registers of a warp group allow.
pub(super) const fn columns(head_dim: usize) -> usize {
    if head_dim > 64 { 64 } else { 128 }
}
/// Stands for a tile with branches; not the number of a document.
pub(super) const BRANCHED: i32 = PADDING - 1;
/// Words per query: its branch, log-sum-exp and delta.
pub(super) const WORDS: usize = 3;

/// The inputs, like those of [`mma`](super::super::backward::Upstream).
#[derive(CubeType, CubeLaunch)]
pub(in crate::attention::mma) struct Upstream<E: Float> {
    /// Map of `[rows, queries, heads, head_dim]`.
    pub(super) q: TensorMap<E, Tiled>,
    /// Map of `[rows, keys, kv_heads, head_dim]`.
    pub(super) k: TensorMap<E, Tiled>,
    /// Map of `[rows, keys, kv_heads, head_dim]`.
    pub(super) v: TensorMap<E, Tiled>,
    /// Map of the gradient of the output, shaped like `q`.
    pub(super) dy: TensorMap<E, Tiled>,
    /// Log-sum-exp of the forward pass, `[rows, heads, queries]`.
    pub(super) lse: Box<[f32]>,
    /// `rowsum(dy ∘ y)`, `[rows, heads, queries]`.
    pub(super) delta: Box<[f32]>,
    /// Ends of keys (see [`mask_tables`](super::super::mask_tables)).
    pub(super) ends: Box<[i32]>,
}

/// The query tiles that a cube visits, for each query head in turn.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Stream {
    /// Shared address of the ring.
    pub(super) base: u32,
    /// The live 64-query tiles.
    pub(super) extent: Extent,
    /// Number of tiles per query head.
    pub(super) count: usize,
    /// Number of query heads.
    pub(super) members: usize,
    /// The document of all keys, [`PADDING`] if they differ, [`BRANCHED`] if some key has a branch:
    /// one word, since no register is left for two.
    pub(super) document: i32,
}

/// The gradients of `k` and `v`, as
/// [`mma::backward_keys`](super::super::backward_keys::backward_keys), and the sums from which
/// [`gather`](super::queries::gather) computes the gradient of `q`. The inputs are tensor maps of
/// boxes of one head, 128 tokens of `k` and `v`, [`columns`] of `q` and `dy`. `dk` and `dv` are in
/// vectors of eight elements.
///
/// # Shapes
/// - `sums`, `turns`: see [`gather`](super::queries::gather); `turns` must be zeros
///
/// Cubes: one per key/value head, row and key tile (`ceil(keys / 128)`), in any grid;
/// [`UNITS`](super::ring::UNITS) units.
#[cube(launch)]
pub(in crate::attention::mma) fn backward<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    dk: &mut [Vector<E, Const<8>>],
    dv: &mut [Vector<E, Const<8>>],
    sums: &mut [f32],
    turns: &mut [u32],
    #[comptime] ring: Ring,
    #[define(E)] _element: ElemType,
) {
    let mut shared =
        Shared::<[u32]>::new_aligned_slice(comptime!(ring.backward_bytes() / 4), 1024usize);
    let base = shared_address(&shared);
    let tiles = comptime!(ring.tiles);
    if UNIT_POS == 0 {
        shared[comptime!(ring.number_at() / 4)] = take_number(turns, 0usize);
        make_exchange(base, ring);
    }
    make_barriers(base, ring);
    let number = first_lane(shared[comptime!(ring.number_at() / 4)]);
    let coord = numbered(packing, number as usize, tiles);
    let extent = query_extent(packing, &coord, tiles);
    let mask_tiles = max(extent.end, extent.begin) - extent.begin;
    let count = mask_tiles.div_ceil(comptime!(tiles.columns / MASK_TILE));
    let members = coord.sizes.heads / coord.sizes.kv_heads;
    let document = select(has_branches(packing, &coord), BRANCHED, extent.document);
    let stream = Stream { base, extent, count, members, document };
    let plane = first_lane(UNIT_POS / 32);
    if plane < comptime!(PLANES as u32) {
        register_alloc(CONSUMER_REGISTERS);
        let own = sweep::<E>(upstream, packing, &coord, &stream, plane / 4, ring);
        write_sums::<E>(&own, dk, dv, &coord, tiles);
    } else {
        register_dealloc(PRODUCER_REGISTERS);
        let helper = plane - comptime!(PLANES as u32);
        if stream.count > 0 {
            if helper == 0 {
                if UNIT_POS % 32 == 0 {
                    copy_keys::<E>(upstream, &coord, base, ring);
                }
                fill::<E>(upstream, packing, &coord, &stream, ring);
            } else if helper < 3 && UNIT_POS % 32 == 0 {
                add_patches(sums, turns, packing, &coord, &stream, helper - 1, ring);
            }
        }
    }
}

/// Writes the gradients of the warp group's keys and values.
#[cube]
fn write_sums<E: Float>(
    own: &Sums,
    dk: &mut [Vector<E, Const<8>>],
    dv: &mut [Vector<E, Const<8>>],
    coord: &TileCoord,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for r in 0..2usize {
        let key = coord.lane_row(tiles) + r * 8;
        let run = coord.keys(key, tiles);
        let inside = key < coord.sizes.keys;
        let start = run.base + key * run.stride;
        write_row::<E>(dk, &own.keys, r, comptime!(tiles.scale()).runtime(), start, inside, tiles);
        write_row::<E>(dv, &own.values, r, 1.0f32.runtime(), start, inside, tiles);
    }
}

/// The tile of the cube that started as number `number`: tiles of a head from the last to the
/// first, head by head, row by row.
#[cube]
fn numbered(packing: &Packing, number: usize, #[comptime] tiles: Tiles) -> TileCoord {
    let sizes = packing.sizes.duplicate();
    let count = sizes.keys.div_ceil(comptime!(tiles.rows()));
    let (kv_head, row) = (number / count % sizes.kv_heads, number / count / sizes.kv_heads);
    TileCoord {
        row,
        head: kv_head * (sizes.heads / sizes.kv_heads),
        kv_head,
        first: (count - 1 - number % count) * comptime!(tiles.rows()),
        offset: sizes.keys - sizes.queries,
        sizes,
    }
}

/// Whether some key of the tile has a branch.
#[cube]
fn has_branches(packing: &Packing, coord: &TileCoord) -> bool {
    let mask_tiles = coord.sizes.keys.div_ceil(MASK_TILE);
    let left = coord.row * mask_tiles + coord.first / MASK_TILE;
    let right = coord.row * mask_tiles + min(coord.first / MASK_TILE + 1, mask_tiles - 1);
    packing.key_table[left * ENTRY + 2] + packing.key_table[right * ENTRY + 2] != 0
}

/// Starts the copies of the stationary tiles: keys, then values behind them.
#[cube]
fn copy_keys<E: Float>(
    upstream: &Upstream<E>,
    coord: &TileCoord,
    base: u32,
    #[comptime] ring: Ring,
) {
    let (bytes, rows) = comptime!((ring.row_bytes(), ring.tiles.rows()));
    let at = TmaCoord {
        row: coord.row as i32,
        token: coord.first as i32,
        head: coord.kv_head as i32,
        element: 0i32.runtime(),
    };
    let barrier = stationary_barrier(base, ring);
    arrive_expecting(barrier, comptime!(2 * bytes));
    copy_panels::<E>(base, &upstream.k, &at, barrier, rows, ring);
    copy_panels::<E>(base + comptime!(bytes as u32), &upstream.v, &at, barrier, rows, ring);
}

/// Fills the ring, tile by tile, as stages become free.
#[cube]
fn fill<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    coord: &TileCoord,
    stream: &Stream,
    #[comptime] ring: Ring,
) {
    let base = stream.base;
    let columns = comptime!(ring.tiles.columns);
    let step = comptime!(4 * columns as u32);
    let mut number = 0u32;
    for member in 0..stream.members {
        let own = coord.with_head(coord.head + member);
        for tile in 0..stream.count {
            let stage = Stage::of(number);
            let first = stream.extent.begin * MASK_TILE + tile * columns;
            let at = TmaCoord {
                row: coord.row as i32,
                token: first as i32,
                head: own.head as i32,
                element: 0i32.runtime(),
            };
            stage.fill::<E>(base, &upstream.q, &at, FIRST, ring);
            let (words, left) = (stage.words(base, ring), coord.sizes.queries - first);
            let token = coord.row * coord.sizes.keys + coord.offset + first;
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

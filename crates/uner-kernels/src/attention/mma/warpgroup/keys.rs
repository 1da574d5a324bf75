//! The key tiles that the kernels with stationary queries visit: their copies into the ring, and
//! their mask.

use cubecl::prelude::*;

use super::super::mask::Extent;
use super::super::mask_tables::{ENTRY, MASK_TILE};
use super::super::ptx::Accumulator;
use super::super::tile::{Packing, TileCoord, Tiles};
use super::ptx::{TmaCoord, arrive_behind_copies};
use super::ring::{FIRST, GROUP_ROWS, Ring, SECOND, Stage, copy_words};
use super::row_mask::{RowMask, hide_branches, own_branches};
use crate::attention::PADDING;

/// Keys per tile.
pub(super) const COLUMNS: usize = 128;
/// Words per key: its branch.
pub(super) const WORDS: usize = 1;

/// The key tiles that a cube visits.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Stream {
    /// Shared address of the ring.
    pub(super) base: u32,
    /// The 64-key tile at which the first tile begins.
    pub(super) begin: usize,
    /// Number of tiles.
    pub(super) count: u32,
    /// The document of all queries, [`PADDING`] if they differ.
    pub(super) document: i32,
}

#[cube]
impl Stream {
    pub(super) fn of(base: u32, extent: &Extent) -> Stream {
        let mask_tiles = max(extent.end, extent.begin) - extent.begin;
        let count = mask_tiles.div_ceil(comptime!(COLUMNS / MASK_TILE)) as u32;
        Stream { base, begin: extent.begin, count, document: extent.document }
    }

    /// The key at which tile `number` begins.
    pub(super) fn token(&self, number: u32) -> usize {
        self.mask_tile(number) * MASK_TILE
    }

    /// The 64-key tile at which tile `number` begins.
    fn mask_tile(&self, number: u32) -> usize {
        self.begin + number as usize * comptime!(COLUMNS / MASK_TILE)
    }
}

/// Fills the ring, tile by tile, as stages become free.
#[cube]
pub(super) fn fill<E: Float>(
    k: &TensorMap<E, Tiled>,
    v: &TensorMap<E, Tiled>,
    packing: &Packing,
    coord: &TileCoord,
    stream: &Stream,
    #[comptime] ring: Ring,
) {
    for number in 0..stream.count {
        fill_stage::<E>(k, v, packing, coord, stream, number, number, ring);
    }
}

/// Fills the stage of the ring's tile `round`, counted from 0, with key tile `number`.
#[cube]
pub(super) fn fill_stage<E: Float>(
    k: &TensorMap<E, Tiled>,
    v: &TensorMap<E, Tiled>,
    packing: &Packing,
    coord: &TileCoord,
    stream: &Stream,
    number: u32,
    round: u32,
    #[comptime] ring: Ring,
) {
    let (base, stage) = (stream.base, Stage::of(round));
    let token = stream.token(number);
    let at = TmaCoord {
        row: coord.row as i32,
        token: token as i32,
        head: coord.kv_head as i32,
        element: 0i32.runtime(),
    };
    stage.fill::<E>(base, k, &at, FIRST, ring);
    let (words, index) = (stage.words(base, ring), coord.row * coord.sizes.keys + token);
    let left = max(coord.sizes.keys, token) - token;
    copy_words::<i32>(words, &packing.branch, index, left, COLUMNS);
    arrive_behind_copies(stage.full(base, FIRST, ring));
    stage.fill::<E>(base, v, &at, SECOND, ring);
}

/// The tests that the mask of a tile needs.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Masked {
    /// Whether some key may be invisible to a query.
    cut: bool,
    /// Whether some key may be in another branch.
    branched: bool,
    /// The position of its first key.
    token: usize,
    /// The shared address of its branches.
    words: u32,
}

#[cube]
impl Masked {
    /// Sets the scores of keys that the lane's queries do not see to negative infinity.
    pub(super) fn hide(
        &self,
        scores: &mut Array<Accumulator>,
        packing: &Packing,
        coord: &TileCoord,
        row_mask: &RowMask,
        #[comptime] tiles: Tiles,
    ) {
        if self.cut {
            row_mask.hide(scores, self.token, tiles);
        }
        if self.branched {
            let branches = own_branches(packing, coord, tiles);
            hide_branches(scores, branches[0usize], branches[1usize], self.words, tiles);
        }
    }
}

/// The mask of tile `number` for the group's queries; the tile's branches are at the shared address
/// `words`.
#[cube]
pub(super) fn masked(
    packing: &Packing,
    coord: &TileCoord,
    stream: &Stream,
    number: u32,
    words: u32,
) -> Masked {
    let mask_tile = stream.mask_tile(number);
    let mask_tiles = coord.sizes.keys.div_ceil(MASK_TILE);
    let left = (coord.row * mask_tiles + mask_tile) * ENTRY;
    let right = (coord.row * mask_tiles + min(mask_tile + 1, mask_tiles - 1)) * ENTRY;
    let (left_document, right_document) =
        (packing.key_table[left + 1], packing.key_table[right + 1]);
    let query = coord.offset + coord.first + (UNIT_POS / 128) as usize * comptime!(GROUP_ROWS);
    let below = mask_tile * MASK_TILE + comptime!(COLUMNS) <= query + 1;
    let uniform = select(left_document == right_document, left_document == stream.document, false);
    let open = select(uniform, stream.document != PADDING, false);
    let branched = packing.key_table[left + 2] + packing.key_table[right + 2] != 0;
    Masked { cut: !(below && open), branched, token: stream.token(number), words }
}

//! The key tiles that the kernels with stationary queries visit: how they come into the ring, and their mask.

use cubecl::prelude::*;

use super::super::block::BLOCK;
use super::super::mask::{Extent, hide};
use super::super::ptx::Accumulator;
use super::super::tile::{Packing, Place};
use super::ptx::{Corner, arrive_behind_copies};
use super::ring::{FIRST, GROUP_ROWS, Ring, SECOND, Stage, copy_words};
use crate::attention::PADDING;

/// Keys of a tile.
pub(super) const COLUMNS: usize = 128;
/// Words for each key: its document and its branch.
pub(super) const WORDS: usize = 2;

/// The key tiles that a cube visits.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Stream {
    /// Shared address of the ring.
    pub(super) base: u32,
    /// The block of keys at which the first tile begins.
    begin: usize,
    /// Tiles.
    pub(super) count: u32,
    /// The document of all queries, [`PADDING`] if there is no single one.
    document: i32,
}

#[cube]
impl Stream {
    pub(super) fn of(base: u32, extent: &Extent) -> Stream {
        let blocks = max(extent.end, extent.begin) - extent.begin;
        let count = blocks.div_ceil(comptime!(COLUMNS / BLOCK)) as u32;
        Stream { base, begin: extent.begin, count, document: extent.document }
    }

    /// The block at which tile `number` begins.
    fn block(&self, number: u32) -> usize {
        self.begin + number as usize * comptime!(COLUMNS / BLOCK)
    }
}

/// Fills the ring, tile by tile, as it becomes free.
#[cube]
pub(super) fn fill<E: Float>(
    k: &TensorMap<E, Tiled>,
    v: &TensorMap<E, Tiled>,
    packing: &Packing,
    place: &Place,
    stream: &Stream,
    #[comptime] ring: Ring,
) {
    let base = stream.base;
    for number in 0..stream.count {
        let stage = Stage::of(number);
        let token = stream.block(number) * BLOCK;
        let at = Corner {
            row: place.row as i32,
            token: token as i32,
            head: place.kv_head as i32,
            element: 0i32.runtime(),
        };
        stage.fill::<E>(base, k, &at, FIRST, ring);
        let (words, index) = (stage.words(base, ring), place.row * place.sizes.keys + token);
        let left = max(place.sizes.keys, token) - token;
        copy_words::<i32>(words, &packing.document, index, left, COLUMNS);
        copy_words::<i32>(words + comptime!(4 * COLUMNS as u32), &packing.branch, index, left, COLUMNS);
        arrive_behind_copies(stage.full(base, FIRST, ring));
        stage.fill::<E>(base, v, &at, SECOND, ring);
    }
}

/// Whether the group's queries may not see all of tile `number`.
#[cube]
pub(super) fn needs_mask(packing: &Packing, place: &Place, stream: &Stream, number: u32) -> bool {
    let block = stream.block(number);
    let blocks = place.sizes.keys.div_ceil(BLOCK);
    let first = place.row * blocks;
    let left = packing.key_table[(first + block) * 2 + 1];
    let right = packing.key_table[(first + min(block + 1, blocks - 1)) * 2 + 1];
    let query = place.offset + place.first + (UNIT_POS / 128) as usize * comptime!(GROUP_ROWS);
    let below = block * BLOCK + comptime!(COLUMNS) <= query + 1;
    let uniform = select(left == right, left == stream.document, false);
    let open = select(uniform, stream.document != PADDING, false);
    !(below && open)
}

/// Hides the scores of tile `number` that the group's queries do not see.
#[cube]
pub(super) fn hide_unseen(
    scores: &mut Array<Accumulator>,
    packing: &Packing,
    place: &Place,
    stream: &Stream,
    number: u32,
    #[comptime] ring: Ring,
) {
    let words = Stage::of(number).words(stream.base, ring);
    hide(scores, packing, place, words, stream.block(number) * BLOCK, comptime!(ring.tiles));
}

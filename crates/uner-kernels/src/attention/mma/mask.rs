//! The live tiles, the tiles that need no mask, and the mask itself.

use cubecl::prelude::*;

use super::mask_tables::{ENTRY, MASK_TILE};
use super::ptx::{Accumulator, load_integers};
use super::tile::{Axis, Packing, TileCoord, Tiles};
use crate::attention::PADDING;

/// The live tiles of the streamed axis ([`MASK_TILE`] tokens each) for one stationary tile.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Extent {
    /// First live tile.
    pub(super) begin: usize,
    /// End of the live tiles.
    pub(super) end: usize,
    /// The document of all tokens of the stationary tile, [`PADDING`] if they differ.
    pub(super) document: i32,
}

/// The live key tiles of the query tile at `coord`.
#[cube]
pub(super) fn key_extent(packing: &Packing, coord: &TileCoord, #[comptime] tiles: Tiles) -> Extent {
    let count = coord.sizes.queries.div_ceil(MASK_TILE);
    let first = coord.first / MASK_TILE;
    let mut reach = packing.query_table[(coord.row * count + first) * ENTRY];
    let mut document = packing.query_table[(coord.row * count + first) * ENTRY + 1];
    #[unroll]
    for part in 1..comptime!(tiles.rows() / MASK_TILE) {
        if first + part < count {
            let entry = (coord.row * count + first + part) * ENTRY;
            reach = min(reach, packing.query_table[entry]);
            if packing.query_table[entry + 1] != document {
                document = PADDING.runtime();
            }
        }
    }
    let visible = min(coord.sizes.keys, coord.offset + coord.first + comptime!(tiles.rows()));
    Extent { begin: reach as usize / MASK_TILE, end: visible.div_ceil(MASK_TILE), document }
}

/// The live query tiles of the key tile at `coord`.
#[cube]
pub(super) fn query_extent(
    packing: &Packing,
    coord: &TileCoord,
    #[comptime] tiles: Tiles,
) -> Extent {
    let count = coord.sizes.keys.div_ceil(MASK_TILE);
    let first = coord.first / MASK_TILE;
    let mut reach = packing.key_table[(coord.row * count + first) * ENTRY];
    let mut document = packing.key_table[(coord.row * count + first) * ENTRY + 1];
    #[unroll]
    for part in 1..comptime!(tiles.rows() / MASK_TILE) {
        if first + part < count {
            let entry = (coord.row * count + first + part) * ENTRY;
            reach = max(reach, packing.key_table[entry]);
            if packing.key_table[entry + 1] != document {
                document = PADDING.runtime();
            }
        }
    }
    let begin = max(coord.first, coord.offset) - coord.offset;
    Extent { begin: begin / MASK_TILE, end: (reach as usize).div_ceil(MASK_TILE), document }
}

/// The properties of a token that the mask needs.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Token {
    /// Its position among the keys.
    pub(super) position: i32,
    /// Its document.
    pub(super) document: i32,
    /// Its branch.
    pub(super) branch: i32,
}

/// Whether `query` sees `key`; neither is padding.
#[cube]
fn sees(query: &Token, key: &Token) -> bool {
    let causal = key.position <= query.position;
    let in_document = select(key.document == query.document, causal, false);
    let in_branch = select(key.branch == query.branch, true, key.branch == 0);
    select(in_branch, in_document, false)
}

/// This lane's stationary token of row `r`; padding and tokens behind the end of the row get a
/// position at which they see nothing and are seen by none.
#[cube]
fn stationary_token(
    packing: &Packing,
    coord: &TileCoord,
    #[comptime] r: usize,
    #[comptime] tiles: Tiles,
) -> Token {
    let queries = comptime!(matches!(tiles.stationary, Axis::Queries));
    let (offset, invisible) = if comptime!(queries) {
        (coord.offset, comptime!(-1i32).runtime())
    } else {
        (0usize.runtime(), comptime!(i32::MAX).runtime())
    };
    let position = offset + coord.lane_row(tiles) + r * 8;
    let inside = position < coord.sizes.keys;
    let index = coord.row * coord.sizes.keys + select(inside, position, 0usize);
    let document = packing.document[index];
    let real = select(document == PADDING, false, inside);
    Token {
        position: select(real, position as i32, invisible),
        document,
        branch: packing.branch[index],
    }
}

/// Sets the scores of invisible pairs to negative infinity.
///
/// `words` is the shared address of the documents of the streamed tile, whose branches lie
/// `4 · columns` bytes behind; `column` is the key position of its first token.
#[cube]
pub(super) fn hide(
    scores: &mut Array<Accumulator>,
    packing: &Packing,
    coord: &TileCoord,
    words: u32,
    column: usize,
    #[comptime] tiles: Tiles,
) {
    // Both rows of a tile at a time: one row at a time needs more registers in the forward kernel,
    // and heads of 128 then spill.
    #[unroll]
    for m in 0..comptime!(tiles.per_plane) {
        let upper = stationary_token(packing, coord, comptime!(2 * m), tiles);
        let lower = stationary_token(packing, coord, comptime!(2 * m + 1), tiles);
        hide_row(scores, comptime!(2 * m), &upper, words, column, tiles);
        hide_row(scores, comptime!(2 * m + 1), &lower, words, column, tiles);
    }
}

/// [`hide`] for row `r` (see [`Softmax`](super::softmax::Softmax) for the numbering), whose token
/// is `stationary`.
#[cube]
fn hide_row(
    scores: &mut Array<Accumulator>,
    #[comptime] r: usize,
    stationary: &Token,
    words: u32,
    column: usize,
    #[comptime] tiles: Tiles,
) {
    let lane_column = UNIT_POS % 4 * 2;
    let lane_words = words + lane_column * 4;
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let documents = load_integers(lane_words, comptime!(n * 32));
        let branches = load_integers(lane_words, comptime!(4 * tiles.columns + n * 32));
        let index = comptime!(r / 2 * tiles.column_tiles() + n);
        let mut tile = scores[index];
        #[unroll]
        for side in 0..2usize {
            let position = (column + n * 8 + side) as i32 + lane_column as i32;
            let (document, branch) = (documents.extract(side), branches.extract(side));
            let streamed = Token { position, document, branch };
            let seen = if comptime!(matches!(tiles.stationary, Axis::Queries)) {
                sees(stationary, &streamed)
            } else {
                sees(&streamed, stationary)
            };
            let element = comptime!(r % 2 * 2 + side);
            let score = tile.extract(element);
            tile.insert(element, select(seen, score, f32::NEG_INFINITY));
        }
        scores[index] = tile;
    }
}

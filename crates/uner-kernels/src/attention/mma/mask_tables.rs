//! Tables of the visibility between tiles of [`MASK_TILE`] tokens, so that the kernels visit only
//! live tiles.
//!
//! The tokens of a document are contiguous in a packed row, so the range that a tile may see ends
//! with the document at one of its ends. An entry has the document of its tile if all tokens belong
//! to it (and keys also to branch 0), else [`PADDING`]. If a query tile and a key tile below the
//! diagonal have the same document, every query sees every key.

use cubecl::prelude::*;

use super::tile::Sizes;
use crate::attention::PADDING;

/// Tokens per tile of the tables.
pub(super) const MASK_TILE: usize = 64;
/// Numbers per entry of a table.
pub(super) const ENTRY: usize = 3;
/// Units of a cube of [`tabulate_queries`] and [`tabulate_keys`].
pub(super) const UNITS: usize = 256;

/// Per query tile: the first key that any of its queries may see (`keys` if none), its document and
/// 0. Per query: the first key of its document, `i32::MAX` for padding.
///
/// `table` is `[rows, ceil(queries / MASK_TILE), ENTRY]`, `starts` `[rows, queries]`; `next` is set
/// to
/// 0. One cube of [`UNITS`] per tile (x) and row (y).
#[cube(launch)]
pub(super) fn tabulate_queries(
    document: &[i32],
    table: &mut [i32],
    starts: &mut [i32],
    next: &mut [i32],
    sizes: Sizes,
) {
    if CUBE_POS == 0 && UNIT_POS == 0 {
        next[0] = 0i32.runtime();
    }
    let row = CUBE_POS_Y as usize * sizes.keys;
    let first = sizes.keys - sizes.queries + CUBE_POS_X as usize * MASK_TILE;
    let end = min(first + MASK_TILE, sizes.keys);
    let mut first_document = PADDING.runtime();
    let mut uniform = document[row + first];
    for token in first..end {
        let own = document[row + token];
        if first_document == PADDING {
            first_document = own;
        }
        if own != uniform {
            uniform = PADDING.runtime();
        }
    }
    let mut reach = sizes.keys;
    if first_document != PADDING {
        for token in range_stepped(UNIT_POS as usize, end, UNITS) {
            if document[row + token] == first_document {
                reach = min(reach, token);
            }
        }
    }
    let reach = smallest(reach as i32);
    write_entry(table, reach, uniform, 0i32.runtime());
    let token = first + UNIT_POS as usize;
    if token < end {
        let own = document[row + token];
        let mut start = reach;
        if own == PADDING {
            start = i32::MAX.runtime();
        } else if own != first_document {
            // The document begins in this tile.
            let mut before = token;
            while before > first && document[row + before - 1] == own {
                before -= 1;
            }
            start = before as i32;
        }
        starts[CUBE_POS_Y as usize * sizes.queries + token + sizes.queries - sizes.keys] = start;
    }
}

/// Per key tile: the end of the queries that may see any of its keys (0 if none), its document if
/// every key is in branch 0, and 1 if a key is not, else 0. Per key: the end of its document, 0 for
/// padding, at most `keys - queries` if no query sees it.
///
/// `table` is `[rows, ceil(keys / MASK_TILE), ENTRY]`, `ends` `[rows, keys]`; one cube of [`UNITS`]
/// per tile (x) and row (y).
#[cube(launch)]
pub(super) fn tabulate_keys(
    document: &[i32],
    branch: &[i32],
    table: &mut [i32],
    ends: &mut [i32],
    sizes: Sizes,
) {
    let row = CUBE_POS_Y as usize * sizes.keys;
    let offset = sizes.keys - sizes.queries;
    let first = CUBE_POS_X as usize * MASK_TILE;
    let end = min(first + MASK_TILE, sizes.keys);
    let mut last_document = PADDING.runtime();
    let mut branched = 0i32.runtime();
    let mut uniform = document[row + first];
    for token in first..end {
        let own = document[row + token];
        if own != PADDING {
            last_document = own;
        }
        if own != uniform {
            uniform = PADDING.runtime();
        }
        if branch[row + token] != 0 {
            uniform = PADDING.runtime();
            branched = 1i32.runtime();
        }
    }
    let mut reach = 0usize;
    if last_document != PADDING {
        for token in range_stepped(max(first, offset) + UNIT_POS as usize, sizes.keys, UNITS) {
            if document[row + token] == last_document {
                reach = max(reach, token + 1 - offset);
            }
        }
    }
    let reach = -smallest(-(reach as i32));
    write_entry(table, reach, uniform, branched);
    let token = first + UNIT_POS as usize;
    if token < end {
        let own = document[row + token];
        let mut document_end = offset + reach as usize;
        if own == PADDING {
            document_end = 0usize.runtime();
        } else if own != last_document {
            // The document ends in this tile.
            document_end = token + 1;
            while document_end < end && document[row + document_end] == own {
                document_end += 1;
            }
        }
        ends[row + token] = document_end as i32;
    }
}

/// The smallest `value` of the cube's units.
#[cube]
fn smallest(value: i32) -> i32 {
    let mut values = Shared::<[i32]>::new_slice(UNITS);
    let unit = UNIT_POS as usize;
    values[unit] = value;
    sync_cube();
    let mut half = comptime!(UNITS / 2).runtime();
    while half > 0 {
        if unit < half {
            values[unit] = min(values[unit], values[unit + half]);
        }
        sync_cube();
        half /= 2;
    }
    values[0]
}

/// Unit 0 writes the entry of this cube's tile.
#[cube]
fn write_entry(table: &mut [i32], reach: i32, document: i32, branched: i32) {
    if UNIT_POS == 0 {
        let entry = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * ENTRY;
        table[entry] = reach;
        table[entry + 1] = document;
        table[entry + 2] = branched;
    }
}

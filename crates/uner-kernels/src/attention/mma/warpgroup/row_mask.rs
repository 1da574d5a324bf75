//! The mask as an interval. The tokens of a document are contiguous, so a stationary token sees, or
//! is seen by, one run of streamed tokens. Branches cut holes into it, which are tested only in
//! tiles with branches.

use cubecl::prelude::*;

use super::super::ptx::{Accumulator, load_integers};
use super::super::tile::{Axis, Packing, TileCoord, Tiles};
use super::ptx::read_unit;

/// The runs of this lane's two rows.
#[derive(CubeType)]
pub(super) struct RowMask {
    /// First key position of each run.
    from: Array<i32>,
    /// Number of positions of each run.
    count: Array<u32>,
}

#[cube]
impl RowMask {
    /// `bounds` is the starts of queries or the ends of keys, see
    /// [`mask_tables`](super::super::mask_tables).
    pub(super) fn of_lane(bounds: &[i32], coord: &TileCoord, #[comptime] tiles: Tiles) -> RowMask {
        let mut from = Array::<i32>::new(2usize);
        let mut count = Array::<u32>::new(2usize);
        #[unroll]
        for r in 0..2usize {
            let row = own_row(coord, tiles) + r * 8;
            let (first, end) = if comptime!(matches!(tiles.stationary, Axis::Queries)) {
                let inside = row < coord.sizes.queries;
                let start = bounds[coord.row * coord.sizes.queries + select(inside, row, 0usize)];
                (start, select(inside, (coord.offset + row + 1) as i32, 0i32))
            } else {
                let inside = row < coord.sizes.keys;
                let end = bounds[coord.row * coord.sizes.keys + select(inside, row, 0usize)];
                (row as i32, select(inside, end, 0i32))
            };
            from[r] = first;
            count[r] = select(first < end, (end - first) as u32, 0u32);
        }
        RowMask { from, count }
    }

    /// The same for keys, which are seen from their own positions on. These are recomputed, since
    /// no registers are left to keep them between tiles.
    pub(super) fn of_keys(&self, coord: &TileCoord, #[comptime] tiles: Tiles) -> RowMask {
        let row = own_row(coord, tiles) as i32;
        let mut from = Array::<i32>::new(2usize);
        let mut count = Array::<u32>::new(2usize);
        #[unroll]
        for r in 0..2usize {
            from[r] = row + comptime!(8 * r as i32);
            count[r] = self.count[r];
        }
        RowMask { from, count }
    }

    /// Sets the scores of invisible tokens to negative infinity; `column` is the key position of
    /// the tile's first token.
    pub(super) fn hide(
        &self,
        scores: &mut Array<Accumulator>,
        column: usize,
        #[comptime] tiles: Tiles,
    ) {
        let first = column as i32 + (UNIT_POS % 4 * 2) as i32;
        let upper = first - self.from[0usize];
        let lower = first - self.from[1usize];
        #[unroll]
        for n in 0..comptime!(tiles.column_tiles()) {
            let mut tile = scores[n];
            #[unroll]
            for e in 0..4usize {
                let distance = if comptime!(e < 2) { upper } else { lower }
                    + comptime!((n * 8 + e % 2) as i32);
                // Before the run the distance is negative: a large number as u32.
                let seen = u32::reinterpret(distance) < self.count[comptime!(e / 2)];
                let score = tile.extract(e);
                tile.insert(e, select(seen, score, f32::NEG_INFINITY));
            }
            scores[n] = tile;
        }
    }
}

/// Sets the score of a pair to negative infinity if the key's branch is neither 0 nor the query's.
/// `upper` and `lower` are the branches of this lane's rows, `words` is the shared address of the
/// branches of the streamed tile.
#[cube]
pub(super) fn hide_branches(
    scores: &mut Array<Accumulator>,
    upper: i32,
    lower: i32,
    words: u32,
    #[comptime] tiles: Tiles,
) {
    let lane_words = words + UNIT_POS % 4 * 8;
    let queries = comptime!(matches!(tiles.stationary, Axis::Queries));
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let branches = load_integers(lane_words, comptime!(n * 32));
        let mut tile = scores[n];
        #[unroll]
        for e in 0..4usize {
            let own = if comptime!(e < 2) { upper } else { lower };
            let other = branches.extract(comptime!(e % 2));
            let key = if queries { other } else { own };
            let seen = select(own == other, true, key == 0);
            let score = tile.extract(e);
            tile.insert(e, select(seen, score, f32::NEG_INFINITY));
        }
        scores[n] = tile;
    }
}

/// The branches of this lane's two rows.
#[cube]
pub(super) fn own_branches(
    packing: &Packing,
    coord: &TileCoord,
    #[comptime] tiles: Tiles,
) -> Array<i32> {
    let mut branches = Array::<i32>::new(2usize);
    #[unroll]
    for r in 0..2usize {
        let row = own_row(coord, tiles) + r * 8;
        let token = if comptime!(matches!(tiles.stationary, Axis::Queries)) {
            coord.offset + row
        } else {
            row
        };
        branches[r] =
            packing.branch[coord.row * coord.sizes.keys + min(token, coord.sizes.keys - 1)];
    }
    branches
}

/// [`TileCoord::lane_row`]; for keys it is recomputed at each use, see [`read_unit`].
#[cube]
fn own_row(coord: &TileCoord, #[comptime] tiles: Tiles) -> usize {
    if comptime!(matches!(tiles.stationary, Axis::Queries)) {
        coord.lane_row(tiles)
    } else {
        let unit = read_unit();
        coord.first + (unit / 32 * 16 + unit % 32 / 4) as usize
    }
}

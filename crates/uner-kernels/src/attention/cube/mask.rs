//! The mask of a tile that is neither wholly visible nor wholly hidden, tested entry by entry.

use cubecl::prelude::*;

use super::plan::Plan;
use super::tile::{HIDDEN, SIDE, Tiles};

/// The keys that the rows of a unit see: `start..=token`, in their own branch or the trunk.
#[derive(CubeType)]
pub(super) struct RowMask {
    token: Array<i32>,
    start: Array<i32>,
    branch: Array<i32>,
}

#[cube]
impl RowMask {
    /// The mask of the unit's rows in the tile of queries that begins at row `first` of `count`.
    /// `offset` is the token of the first query.
    pub(super) fn of_tile(
        plan: (&[i32], Plan),
        first: usize,
        count: usize,
        offset: usize,
        #[comptime] tiles: Tiles,
    ) -> RowMask {
        let rows = comptime!(tiles.rows / SIDE);
        let mut token = Array::<i32>::new(rows);
        let mut start = Array::<i32>::new(rows);
        let mut branch = Array::<i32>::new(rows);
        #[unroll]
        for i in 0..rows {
            let row = first + UNIT_POS as usize / SIDE + SIDE * i;
            // Rows behind the last one see nothing.
            token[i] = -1i32;
            start[i] = 0i32;
            branch[i] = 0i32;
            if row < count {
                let own = offset + row / tiles.group;
                token[i] = own as i32;
                start[i] = plan.1.start(plan.0, own) as i32;
                branch[i] = plan.1.branch(plan.0, own);
            }
        }
        RowMask { token, start, branch }
    }

    /// Hides the scores of the keys from `key` on that the rows do not see.
    pub(super) fn hide(
        &self,
        scores: &mut Array<f32>,
        plan: (&[i32], Plan),
        key: usize,
        keys: usize,
        #[comptime] tiles: Tiles,
    ) {
        let columns = comptime!(tiles.keys / SIDE);
        #[unroll]
        for j in 0..columns {
            let token = key + UNIT_POS as usize % SIDE + SIDE * j;
            let branch = plan.1.branch(plan.0, token.min(keys - 1));
            #[unroll]
            for i in 0..comptime!(tiles.rows / SIDE) {
                let in_reach = token as i32 >= self.start[i] && token as i32 <= self.token[i];
                if !(in_reach && (branch == 0 || branch == self.branch[i])) {
                    scores[i * columns + j] = HIDDEN;
                }
            }
        }
    }
}

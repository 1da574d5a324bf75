//! The order of the query tiles of a call. A few heads run at a time, as many as have keys and
//! values that fit into the L2 cache together. Of their tiles the longest come first, so that the
//! last ones are short.

use cubecl::prelude::*;

use super::super::Call;
use super::super::ptx::count_up;
use super::super::tile::{Packing, TileCoord, Tiles};
use super::queue::coord_at;
use crate::cube::dims;

/// Bytes of keys and values in use at a time: 32 MiB of the cache's 50, as in FlashAttention-3.
const CACHED: usize = 32 << 20;

/// Which heads run together. Heads are numbered over all rows, row by row.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Order {
    /// Heads of all rows.
    heads: usize,
    /// Heads at a time.
    together: usize,
}

/// The order of the tiles of a call, of `rows` queries each, and their number.
pub(super) fn order(call: &Call, rows: usize) -> (OrderLaunch, usize) {
    let [_, keys, kv_heads, head_dim] = dims(&call.k);
    let (heads, group) = (call.rows * call.heads, call.heads / kv_heads);
    let bytes = 2 * keys * head_dim * call.k.dtype.size();
    let together = group * (CACHED / bytes).max(1);
    (OrderLaunch::new(heads, together.min(heads)), heads * call.queries.div_ceil(rows))
}

#[cube]
impl Order {
    /// Number of tiles.
    pub(super) fn tiles(&self, packing: &Packing, #[comptime] tiles: Tiles) -> u32 {
        (self.heads * packing.sizes.queries.div_ceil(comptime!(tiles.rows()))) as u32
    }

    /// Position of tile `number` of the order.
    pub(super) fn coord(
        &self,
        number: usize,
        packing: &Packing,
        #[comptime] tiles: Tiles,
    ) -> TileCoord {
        let count = packing.sizes.queries.div_ceil(comptime!(tiles.rows()));
        let first = number / (self.together * count) * self.together;
        let together = min(self.together, self.heads - first);
        let within = number - first * count;
        let turn = within / together;
        let of_all = first + within - turn * together;
        let row = of_all / packing.sizes.heads;
        let head = of_all - row * packing.sizes.heads;
        coord_at(packing, row, head, (count - 1 - turn) * comptime!(tiles.rows()))
    }
}

/// Takes the next number of a counter, which no other cube gets. The first lane of the plane
/// returns it, other lanes 0.
#[cube]
pub(super) fn take(next: &mut [i32]) -> u32 {
    let mut taken = 0u32;
    if UNIT_POS % 32 == 0 {
        taken = count_up(next);
    }
    taken
}

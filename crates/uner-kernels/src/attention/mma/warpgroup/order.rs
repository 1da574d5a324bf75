//! The order of the query tiles of a call: some heads at a time, so many that their keys and values
//! stay in the second-level cache while all their tiles pass; of these the longest tiles first, so
//! that what is left at the end is short.

use cubecl::prelude::*;

use super::super::Call;
use super::super::ptx::count_up;
use super::super::tile::{Packing, Place, Tiles};
use super::queue::place_at;
use crate::cube::dims;

/// Bytes of keys and values that are in use at a time: 32 MiB of the cache's 50, as in
/// FlashAttention-3.
const CACHED: usize = 32 << 20;

/// Which heads go together. A head of a row counts as one; those of a row stand side by side, row
/// by row.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Order {
    /// Heads, those of all rows together.
    heads: usize,
    /// Heads at a time.
    together: usize,
}

/// The order of the tiles of a call, of `rows` queries each, and how many there are.
pub(super) fn order(call: &Call, rows: usize) -> (OrderLaunch, usize) {
    let [_, keys, kv_heads, head_dim] = dims(&call.k);
    let (heads, group) = (call.rows * call.heads, call.heads / kv_heads);
    let bytes = 2 * keys * head_dim * call.k.dtype.size();
    let together = group * (CACHED / bytes).max(1);
    (OrderLaunch::new(heads, together.min(heads)), heads * call.queries.div_ceil(rows))
}

#[cube]
impl Order {
    /// Tiles.
    pub(super) fn tiles(&self, packing: &Packing, #[comptime] tiles: Tiles) -> u32 {
        (self.heads * packing.sizes.queries.div_ceil(comptime!(tiles.rows()))) as u32
    }

    /// Where tile `number` of the order lies.
    pub(super) fn place(
        &self,
        number: usize,
        packing: &Packing,
        #[comptime] tiles: Tiles,
    ) -> Place {
        let count = packing.sizes.queries.div_ceil(comptime!(tiles.rows()));
        let first = number / (self.together * count) * self.together;
        let together = min(self.together, self.heads - first);
        let within = number - first * count;
        let turn = within / together;
        let of_all = first + within - turn * together;
        let row = of_all / packing.sizes.heads;
        let head = of_all - row * packing.sizes.heads;
        place_at(packing, row, head, (count - 1 - turn) * comptime!(tiles.rows()))
    }
}

/// A number that no other cube gets, from the count of those that were given: in the first lane of
/// the plane, 0 in others.
#[cube]
pub(super) fn take(next: &mut [i32]) -> u32 {
    let mut taken = 0u32;
    if UNIT_POS % 32 == 0 {
        taken = count_up(next);
    }
    taken
}

//! The shared memory of the backward kernel behind the ring: the gradients of a tile's scores,
//! which each warp group computes for its keys and both read for all keys, and patches of the
//! gradient of the queries on their way to global memory.
//!
//! Score gradients are panels with one row per key and 64 queries per row. They have one buffer,
//! and the patches of each group have [`SLOTS`]. Every buffer has two barriers: full and empty (it
//! may be overwritten). Filling number `n` of a buffer ends phase `n` of its barriers.

use cubecl::prelude::*;

use super::super::mask_tables::MASK_TILE;
use super::super::ptx::Accumulator;
use super::product::{Factors, Operand, PANEL, PANEL_BYTES};
use super::ptx::{
    arrive, fence_for_products, make_barrier, read_unit, store_accumulator, store_matrices,
    sync_lanes, wait,
};
use super::ring::{CONSUMERS, GROUP_ROWS, PLANES, Ring};

/// Warp groups that multiply.
const GROUPS: usize = CONSUMERS / 128;
/// Buffers for the patches of a warp group.
const SLOTS: usize = 2;
/// Numbers of a patch: the gradients of 64 elements of the head of 64 queries, which a warp group
/// computes per tile. They are stored like accumulators: eight tiles of eight columns, each with
/// the four numbers of unit 0, those of unit 1 and so on.
pub(super) const PATCH: usize = MASK_TILE * PANEL;
/// Bytes of a patch.
pub(super) const PATCH_BYTES: usize = 4 * PATCH;

impl Ring {
    /// Offset of the score gradients.
    const fn scores_at(self) -> usize {
        self.bytes().next_multiple_of(1024)
    }
    /// Bytes of a panel of score gradients.
    const fn score_bytes(self) -> usize {
        self.tiles.rows() * PANEL_BYTES
    }
    /// Offset of the patches.
    const fn patches_at(self) -> usize {
        self.scores_at() + self.tiles.columns / PANEL * self.score_bytes()
    }
    /// Offset of the barriers.
    const fn exchange_at(self) -> usize {
        self.patches_at() + GROUPS * SLOTS * PATCH_BYTES
    }
    /// Offset of the number of the cube.
    pub(super) const fn number_at(self) -> usize {
        self.exchange_at() + 16 * (1 + GROUPS * SLOTS)
    }
    /// Bytes of shared memory of the backward kernel.
    pub(super) const fn backward_bytes(self) -> usize {
        self.number_at() + 8
    }
    /// The product of the score gradients of 64 queries and the keys, down both: one column per
    /// element of a panel.
    pub(super) const fn patch(self) -> Factors {
        let operand = Operand { rows: self.tiles.rows(), down: true };
        Factors { a: Some(operand), b: operand, columns: PANEL, steps: self.tiles.rows() / 16 }
    }
}

/// Makes the barriers. One unit calls it, before those of the ring are made.
#[cube]
pub(super) fn make_exchange(base: u32, #[comptime] ring: Ring) {
    let scores = base + comptime!(ring.exchange_at() as u32);
    make_barrier(scores, comptime!(PLANES));
    make_barrier(scores + 8, comptime!(PLANES));
    #[unroll]
    for slot in 0..comptime!(GROUPS * SLOTS) {
        let patch = scores + comptime!(16 * (1 + slot as u32));
        make_barrier(patch, comptime!(PLANES / GROUPS));
        make_barrier(patch + 8, 1usize);
    }
}

/// Arrives at a barrier for the plane, once all its lanes call it.
#[cube]
pub(super) fn arrive_together(barrier: u32) {
    sync_lanes();
    if read_unit() % 32 == 0 {
        arrive(barrier);
    }
}

/// Stores the score gradients of this plane's keys and waits for those of the others. `weights` is
/// the operand made of the accumulators of transposed scores, `number` the number of the tile.
#[cube]
pub(super) fn exchange_scores(
    base: u32,
    number: u32,
    weights: &Array<u32>,
    #[comptime] ring: Ring,
) {
    let full = base + comptime!(ring.exchange_at() as u32);
    wait(full + 8, 1 - number % 2);
    let unit = read_unit();
    let lane = unit % 32;
    let key = unit / 32 * 16 + lane % 16;
    let row = base + comptime!(ring.scores_at() as u32) + key * comptime!(PANEL_BYTES as u32);
    // The swizzle: chunk `c` of 16 bytes of row `r` lies where chunk `c ^ r % 8` would.
    let address = row + ((lane / 16) ^ (lane % 8)) * 16;
    #[unroll]
    for pair in 0..comptime!(ring.tiles.columns / 16) {
        let (panel, chunk) = comptime!((pair / 4, pair % 4));
        let offset = comptime!(panel * ring.score_bytes());
        store_matrices(
            address ^ comptime!(32 * chunk as u32),
            offset,
            weights,
            comptime!(4 * pair),
        );
    }
    fence_for_products();
    arrive_together(full);
    wait(full, number % 2);
}

/// Releases the score gradients, which this plane's product has read: they may be overwritten.
#[cube]
pub(super) fn release_scores(base: u32, #[comptime] ring: Ring) {
    arrive_together(base + comptime!(ring.exchange_at() as u32 + 8));
}

/// The shared addresses of a warp group's operands of [`Ring::patch`]: the score gradients and the
/// keys, which lie at `base`.
#[cube]
pub(super) fn patch_operands(base: u32, group: u32, #[comptime] ring: Ring) -> (u32, u32) {
    let panels = comptime!(ring.panels() as u32);
    let bytes = comptime!(ring.score_bytes() as u32);
    let scores = base + comptime!(ring.scores_at() as u32) + group / panels * bytes;
    (scores, base + group % panels * bytes)
}

/// A buffer for a warp group's patches.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Slot {
    /// The shared address of the patch.
    pub(super) patch: u32,
    /// Its full barrier; the empty barrier lies behind it.
    full: u32,
    /// The parity of the filling.
    parity: u32,
}

#[cube]
impl Slot {
    /// The slot for the patch of warp group `group` of tile `number`.
    pub(super) fn of(base: u32, group: u32, number: u32, #[comptime] ring: Ring) -> Slot {
        let slots = comptime!(SLOTS as u32);
        let slot = group * slots + number % slots;
        Slot {
            patch: base
                + comptime!(ring.patches_at() as u32)
                + slot * comptime!(PATCH_BYTES as u32),
            full: base + comptime!(ring.exchange_at() as u32 + 16) + slot * 16,
            parity: number / slots % 2,
        }
    }

    /// Stores the patch once the slot is free. All units of the warp group call it.
    pub(super) fn put(&self, patch: &Array<Accumulator>) {
        wait(self.full + 8, 1 - self.parity);
        let address = self.patch + read_unit() % 128 * 16;
        #[unroll]
        for n in 0..comptime!(PANEL / 8) {
            store_accumulator(address, comptime!(n * 128 * 16), patch[n]);
        }
        fence_for_products();
        arrive_together(self.full);
    }

    /// Waits until the patch has arrived.
    pub(super) fn wait(&self) {
        wait(self.full, self.parity);
    }

    /// Frees the slot. One unit calls it.
    pub(super) fn release(&self) {
        arrive(self.full + 8);
    }
}

// A group computes 64 rows of a product.
const _: () = assert!(GROUP_ROWS == MASK_TILE && GROUPS == 2);

//! What the backward kernel has in shared memory behind the ring: the gradients of a tile's scores,
//! which each warp group computes for its keys and both read for all, and patches of the gradient
//! of the queries on their way out.
//!
//! Score gradients lie as panels of a row for each key and 64 queries. There is one buffer for
//! them, and [`SLOTS`] for the patches of each group; every buffer has a barrier that tells when it
//! is full, and one that tells when it may be overwritten. Filling number `n` of a buffer ends
//! phase `n` of its barriers.

use cubecl::prelude::*;

use super::super::block::BLOCK;
use super::super::ptx::Accumulator;
use super::product::{Factors, Operand, PANEL, PANEL_BYTES};
use super::ptx::{
    arrive, fence_for_products, make_barrier, meet_lanes, store_accumulator, store_matrices,
    unit_here, wait,
};
use super::ring::{CONSUMERS, GROUP_ROWS, PLANES, Ring};

/// Warp groups that multiply.
const GROUPS: usize = CONSUMERS / 128;
/// Buffers for patches of a warp group.
const SLOTS: usize = 2;
/// Numbers of a patch: the gradients of 64 elements of the head of a block of queries, which a warp
/// group computes of each tile. They lie as accumulators do: eight tiles of eight columns, of each
/// the four numbers of unit 0, those of unit 1 and so on.
pub(super) const PATCH: usize = BLOCK * PANEL;
/// Bytes of it.
pub(super) const PATCH_BYTES: usize = 4 * PATCH;

impl Ring {
    /// Where the score gradients begin.
    const fn scores_at(self) -> usize {
        self.bytes().next_multiple_of(1024)
    }
    /// Bytes of a panel of them.
    const fn score_bytes(self) -> usize {
        self.tiles.rows() * PANEL_BYTES
    }
    /// Where the patches begin.
    const fn patches_at(self) -> usize {
        self.scores_at() + self.tiles.columns / PANEL * self.score_bytes()
    }
    /// Where the barriers begin.
    const fn exchange_at(self) -> usize {
        self.patches_at() + GROUPS * SLOTS * PATCH_BYTES
    }
    /// Where the number of the cube lies.
    pub(super) const fn number_at(self) -> usize {
        self.exchange_at() + 16 * (1 + GROUPS * SLOTS)
    }
    /// Bytes of shared memory of the backward kernel.
    pub(super) const fn backward_bytes(self) -> usize {
        self.number_at() + 8
    }
    /// The product of a block's score gradients and the keys, down both: a column for each element
    /// of a panel.
    pub(super) const fn patch(self) -> Factors {
        let operand = Operand { rows: self.tiles.rows(), down: true };
        Factors { a: Some(operand), b: operand, columns: PANEL, steps: self.tiles.rows() / 16 }
    }
}

/// Makes the barriers. Of one unit, before those of the ring are made.
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

/// Arrives at a barrier for the plane, once its lanes are here. All lanes call it.
#[cube]
pub(super) fn arrive_together(barrier: u32) {
    meet_lanes();
    if unit_here() % 32 == 0 {
        arrive(barrier);
    }
}

/// Hands the score gradients of this plane's keys over and waits for those of the others; `weights`
/// are accumulators of transposed scores as an operand, `number` is that of the tile.
#[cube]
pub(super) fn exchange_scores(
    base: u32,
    number: u32,
    weights: &Array<u32>,
    #[comptime] ring: Ring,
) {
    let full = base + comptime!(ring.exchange_at() as u32);
    wait(full + 8, 1 - number % 2);
    let unit = unit_here();
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

/// Lets the score gradients be overwritten, which this plane's product has read.
#[cube]
pub(super) fn release_scores(base: u32, #[comptime] ring: Ring) {
    arrive_together(base + comptime!(ring.exchange_at() as u32 + 8));
}

/// The shared addresses of a warp group's operands of [`Ring::patch`]: score gradients and keys,
/// which lie at `base`.
#[cube]
pub(super) fn patch_operands(base: u32, group: u32, #[comptime] ring: Ring) -> (u32, u32) {
    let panels = comptime!(ring.panels() as u32);
    let bytes = comptime!(ring.score_bytes() as u32);
    let scores = base + comptime!(ring.scores_at() as u32) + group / panels * bytes;
    (scores, base + group % panels * bytes)
}

/// A buffer of a warp group's patches.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Slot {
    /// The shared address of the patch.
    pub(super) patch: u32,
    /// The barrier that tells when it is there; behind it that which tells when it may be
    /// overwritten.
    full: u32,
    /// The parity of the filling.
    parity: u32,
}

#[cube]
impl Slot {
    /// Where warp group `group` puts its patch of the tile `number`.
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

    /// Puts the patch there, once the one before it is gone. All units of the warp group call it.
    pub(super) fn put(&self, patch: &Array<Accumulator>) {
        wait(self.full + 8, 1 - self.parity);
        let address = self.patch + unit_here() % 128 * 16;
        #[unroll]
        for n in 0..comptime!(PANEL / 8) {
            store_accumulator(address, comptime!(n * 128 * 16), patch[n]);
        }
        fence_for_products();
        arrive_together(self.full);
    }

    /// Waits until the patch is there.
    pub(super) fn wait(&self) {
        wait(self.full, self.parity);
    }

    /// Lets it be overwritten. Of one unit.
    pub(super) fn release(&self) {
        arrive(self.full + 8);
    }
}

// A group computes 64 rows of a product.
const _: () = assert!(GROUP_ROWS == BLOCK && GROUPS == 2);

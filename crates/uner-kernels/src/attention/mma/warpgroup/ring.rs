//! The shared memory of a cube: stationary tiles, a ring of stages for pairs of streamed tiles, and
//! the barriers that pass stages between the planes that copy and the planes that multiply.
//!
//! Each tile of a stage has two barriers: full (the tile has arrived) and empty (it may be
//! overwritten). Words of the tokens arrive with the first tile. Round `n` of a stage ends phase
//! `n` of its barriers.

use cubecl::prelude::*;

use super::super::ptx::copy_word;
use super::super::tile::{Axis, Tiles};
use super::product::{Factors, Operand, PANEL, PANEL_BYTES};
use super::ptx::{
    TmaCoord, arrive, arrive_expecting, copy_tile, make_barrier, publish_barriers, sync_lanes, wait,
};

/// Stages of the ring.
pub(super) const STAGES: usize = 2;
/// Planes that multiply: two warp groups.
pub(super) const PLANES: usize = 8;
/// Units that multiply.
pub(super) const CONSUMERS: usize = PLANES * 32;
/// Units of a cube: these and one more warp group, of which one plane copies tiles; in the backward
/// kernel, two more planes add patches. (Registers are reallocated by whole warp groups only.)
pub(super) const UNITS: usize = CONSUMERS + 128;
/// Rows of the stationary tile that a warp group owns.
pub(super) const GROUP_ROWS: usize = 64;

/// Registers of a unit that multiplies.
pub(super) const CONSUMER_REGISTERS: usize = 240;
/// Registers of a unit that copies, from the rest of a multiprocessor's 64 Ki.
pub(super) const PRODUCER_REGISTERS: usize = 24;

/// The layout of a cube's shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ring {
    /// The tiles.
    pub(super) tiles: Tiles,
    /// Stationary tiles.
    pub(super) stationary: usize,
    /// Words for each streamed token.
    pub(super) words: usize,
}

impl Ring {
    /// The layout of a kernel with `stationary` tiles of 128 tokens of `axis`, which streams tiles
    /// of `columns` tokens with `words` words per token.
    pub(super) const fn new(
        axis: Axis,
        stationary: usize,
        columns: usize,
        words: usize,
        head_dim: usize,
    ) -> Self {
        let tiles = Tiles { stationary: axis, head_dim, planes: PLANES, per_plane: 1, columns };
        Self { tiles, stationary, words }
    }
    /// The product of stationary and streamed tokens along the head: one column per streamed token.
    pub(super) const fn along(self) -> Factors {
        let a = Operand { rows: self.tiles.rows(), down: false };
        let b = Operand { rows: self.tiles.columns, down: false };
        Factors { a: Some(a), b, columns: self.tiles.columns, steps: self.tiles.head_dim / 16 }
    }
    /// The product of weights (in registers) and streamed tokens: one column per element of the
    /// head.
    pub(super) const fn down(self) -> Factors {
        let b = Operand { rows: self.tiles.columns, down: true };
        Factors { a: None, b, columns: self.tiles.head_dim, steps: self.tiles.columns / 16 }
    }
    /// Panels of a tile.
    pub(super) const fn panels(self) -> usize {
        self.tiles.head_dim / PANEL
    }
    /// Bytes of a tile of `tokens` tokens.
    const fn tile_bytes(self, tokens: usize) -> usize {
        self.panels() * tokens * PANEL_BYTES
    }
    /// Bytes of a stationary tile.
    pub(super) const fn row_bytes(self) -> usize {
        self.tile_bytes(self.tiles.rows())
    }
    /// Bytes of a streamed tile.
    pub(super) const fn column_bytes(self) -> usize {
        self.tile_bytes(self.tiles.columns)
    }
    /// Bytes of the words of a stage.
    const fn word_bytes(self) -> usize {
        4 * self.words * self.tiles.columns
    }
    /// Offset of the stages.
    const fn stages_at(self) -> usize {
        self.stationary * self.row_bytes()
    }
    /// Offset of the words.
    const fn words_at(self) -> usize {
        self.stages_at() + STAGES * 2 * self.column_bytes()
    }
    /// Offset of the barriers.
    const fn barriers_at(self) -> usize {
        self.words_at() + STAGES * self.word_bytes()
    }
    /// Bytes in all: one barrier for the stationary tiles, four for each stage.
    pub(super) const fn bytes(self) -> usize {
        self.barriers_at() + 8 * (1 + 4 * STAGES)
    }
}

/// The first tile of a stage.
pub(super) const FIRST: usize = 0;
/// The second tile of a stage.
pub(super) const SECOND: usize = 1;

/// A stage in one of its rounds.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Stage {
    /// Its number.
    number: u32,
    /// The parity of the round.
    parity: u32,
}

#[cube]
impl Stage {
    /// The stage of the streamed tiles `number`, counted from 0.
    pub(super) fn of(number: u32) -> Stage {
        let stages = comptime!(STAGES as u32);
        Stage { number: number % stages, parity: number / stages % 2 }
    }

    /// The address of a tile.
    pub(super) fn tile(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) -> u32 {
        let bytes = comptime!(ring.column_bytes() as u32);
        base + comptime!((ring.stages_at() + which * ring.column_bytes()) as u32)
            + self.number * 2 * bytes
    }

    /// The address of the words.
    pub(super) fn words(&self, base: u32, #[comptime] ring: Ring) -> u32 {
        base + comptime!(ring.words_at() as u32) + self.number * comptime!(ring.word_bytes() as u32)
    }

    /// The barrier whose phase ends when a tile has arrived.
    pub(super) fn full(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) -> u32 {
        base + comptime!((ring.barriers_at() + 8 + 8 * which) as u32) + self.number * 32
    }

    /// The barrier whose phase ends when a tile may be overwritten.
    pub(super) fn empty(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) -> u32 {
        self.full(base, which, ring) + 16
    }

    /// Waits until a tile and its words have arrived.
    pub(super) fn wait(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) {
        wait(self.full(base, which, ring), self.parity);
    }

    /// Repeats [`Self::wait`] for a tile that has arrived, but after `a` and `b` are computed.
    /// Without it, the assembler would wait for a product right after its start, and only then
    /// compute `a` and `b`. It moves nothing across the loop of this wait.
    pub(super) fn wait_after(
        &self,
        base: u32,
        #[comptime] which: usize,
        a: f32,
        b: f32,
        #[comptime] ring: Ring,
    ) {
        // No sum has these bits, but the assembler cannot infer that.
        let never = u32::reinterpret(a) & u32::reinterpret(b) == u32::MAX;
        wait(self.full(base, which, ring), select(never, 1 - self.parity, self.parity));
    }

    /// Returns a tile to the plane that copies. All lanes of a plane call it.
    pub(super) fn release(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) {
        sync_lanes();
        if UNIT_POS % 32 == 0 {
            arrive(self.empty(base, which, ring));
        }
    }

    /// Waits until a tile may be overwritten, then starts its copy, from `at` on. The plane that
    /// copies calls it.
    pub(super) fn fill<E: Float>(
        &self,
        base: u32,
        map: &TensorMap<E, Tiled>,
        at: &TmaCoord,
        #[comptime] which: usize,
        #[comptime] ring: Ring,
    ) {
        wait(self.empty(base, which, ring), 1 - self.parity);
        if UNIT_POS % 32 == 0 {
            let barrier = self.full(base, which, ring);
            arrive_expecting(barrier, comptime!(ring.column_bytes()));
            let target = self.tile(base, which, ring);
            copy_panels::<E>(target, map, at, barrier, comptime!(ring.tiles.columns), ring);
        }
    }
}

/// Makes the barriers and synchronises the cube.
#[cube]
pub(super) fn make_barriers(base: u32, #[comptime] ring: Ring) {
    if UNIT_POS == 0 {
        let barriers = base + comptime!(ring.barriers_at() as u32);
        make_barrier(barriers, 1usize);
        #[unroll]
        for stage in 0..comptime!(STAGES) {
            let first = barriers + comptime!(8 + 32 * stage as u32);
            // One lane that expects the tile, and all lanes of the plane with their copies of
            // words.
            make_barrier(first, 33usize);
            make_barrier(first + 8, 1usize);
            make_barrier(first + 16, comptime!(PLANES));
            make_barrier(first + 24, comptime!(PLANES));
        }
        publish_barriers();
    }
    sync_cube();
}

/// The barrier of the stationary tiles.
#[cube]
pub(super) fn stationary_barrier(base: u32, #[comptime] ring: Ring) -> u32 {
    base + comptime!(ring.barriers_at() as u32)
}

/// Starts the copies of the panels of a tile of `tokens` tokens.
#[cube]
pub(super) fn copy_panels<E: Float>(
    target: u32,
    map: &TensorMap<E, Tiled>,
    at: &TmaCoord,
    barrier: u32,
    #[comptime] tokens: usize,
    #[comptime] ring: Ring,
) {
    #[unroll]
    for panel in 0..comptime!(ring.panels()) {
        let element = comptime!((panel * PANEL) as i32).runtime();
        let corner = TmaCoord { row: at.row, token: at.token, head: at.head, element };
        copy_tile::<E>(
            target + comptime!((panel * tokens * PANEL_BYTES) as u32),
            map,
            &corner,
            barrier,
        );
    }
}

/// [`copy_words`](super::super::copy::copy_words) by the lanes of one plane.
#[cube]
pub(super) fn copy_words<T: Numeric>(
    address: u32,
    source: &[T],
    index: usize,
    left: usize,
    #[comptime] tokens: usize,
) {
    #[unroll]
    for part in 0..comptime!(tokens / 32) {
        let token = (UNIT_POS % 32) as usize + part * 32;
        let inside = token < left;
        let from = index + select(inside, token, 0usize);
        copy_word::<T>(address + token as u32 * 4, source, from, select(inside, 4u32, 0u32));
    }
}

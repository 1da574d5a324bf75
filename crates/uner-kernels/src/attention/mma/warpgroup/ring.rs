//! The shared memory of a cube: tiles that stay, a ring of stages for pairs of tiles that stream,
//! and the barriers by which the planes that copy and those that multiply hand the stages to each
//! other.
//!
//! Both tiles of a stage have a barrier of their own that tells when the tile is there, and one
//! that tells when it may be overwritten. With the first tile come words of its tokens. Round `n`
//! of a stage ends phase `n` of its barriers.

use cubecl::prelude::*;

use super::super::ptx::copy_word;
use super::super::tile::{Axis, Tiles};
use super::product::{Factors, Operand, PANEL, PANEL_BYTES};
use super::ptx::{
    Corner, arrive, arrive_expecting, copy_tile, make_barrier, meet_lanes, publish_barriers, wait,
};

/// Stages of the ring.
pub(super) const STAGES: usize = 2;
/// Planes that multiply: two warp groups.
pub(super) const PLANES: usize = 8;
/// Units that multiply.
pub(super) const CONSUMERS: usize = PLANES * 32;
/// Units of a cube: those and a warp group of which one plane brings tiles; in the backward kernel
/// two more take patches away. (Registers change hands by warp groups only.)
pub(super) const UNITS: usize = CONSUMERS + 128;
/// Rows of the stationary tile that a warp group owns.
pub(super) const GROUP_ROWS: usize = 64;

/// Registers of a unit that multiplies.
pub(super) const MULTIPLYING: usize = 240;
/// Registers of a unit that copies: what is left of the 64 Ki of a processor.
pub(super) const COPYING: usize = 24;

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
    /// Of a kernel with `stationary` tiles of 128 tokens of an axis, which streams tiles of
    /// `columns` tokens with `words` words each.
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
    /// The product of stationary and streamed tokens along the head: a column for each streamed
    /// token.
    pub(super) const fn along(self) -> Factors {
        let a = Operand { rows: self.tiles.rows(), down: false };
        let b = Operand { rows: self.tiles.columns, down: false };
        Factors { a: Some(a), b, columns: self.tiles.columns, steps: self.tiles.head_dim / 16 }
    }
    /// The product of weights of streamed tokens, in registers, and those tokens: a column for each
    /// element of the head.
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
    /// Where the stages begin.
    const fn stages_at(self) -> usize {
        self.stationary * self.row_bytes()
    }
    /// Where the words begin.
    const fn words_at(self) -> usize {
        self.stages_at() + STAGES * 2 * self.column_bytes()
    }
    /// Where the barriers begin.
    const fn barriers_at(self) -> usize {
        self.words_at() + STAGES * self.word_bytes()
    }
    /// Bytes in all: one barrier for the stationary tiles, four for each stage.
    pub(super) const fn bytes(self) -> usize {
        self.barriers_at() + 8 * (1 + 4 * STAGES)
    }
}

/// Which of the two tiles of a stage.
pub(super) const FIRST: usize = 0;
/// See [`FIRST`].
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

    /// The barrier that tells when a tile is there.
    pub(super) fn full(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) -> u32 {
        base + comptime!((ring.barriers_at() + 8 + 8 * which) as u32) + self.number * 32
    }

    /// The barrier that tells when a tile may be overwritten.
    pub(super) fn empty(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) -> u32 {
        self.full(base, which, ring) + 16
    }

    /// Waits until a tile is there, and its words with it.
    pub(super) fn wait(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) {
        wait(self.full(base, which, ring), self.parity);
    }

    /// [`Self::wait`] once more, for a tile that is there, and not before `a` and `b` are known.
    /// The assembler would wait for a product as soon as it is started and compute afterwards what
    /// is to be computed meanwhile; it moves nothing over the loop of this wait.
    pub(super) fn wait_behind(
        &self,
        base: u32,
        #[comptime] which: usize,
        a: f32,
        b: f32,
        #[comptime] ring: Ring,
    ) {
        // No sum has these bits, but that is for us to know.
        let never = u32::reinterpret(a) & u32::reinterpret(b) == u32::MAX;
        wait(self.full(base, which, ring), select(never, 1 - self.parity, self.parity));
    }

    /// Gives a tile back to the plane that copies. All lanes of a plane call it.
    pub(super) fn release(&self, base: u32, #[comptime] which: usize, #[comptime] ring: Ring) {
        meet_lanes();
        if UNIT_POS % 32 == 0 {
            arrive(self.empty(base, which, ring));
        }
    }

    /// Waits until a tile may be overwritten, and starts its copy. Of the plane that copies;
    /// `token` is the tile's first.
    pub(super) fn fill<E: Float>(
        &self,
        base: u32,
        map: &TensorMap<E, Tiled>,
        at: &Corner,
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

/// Makes the barriers; the units of the cube meet in it.
#[cube]
pub(super) fn make_barriers(base: u32, #[comptime] ring: Ring) {
    if UNIT_POS == 0 {
        let barriers = base + comptime!(ring.barriers_at() as u32);
        make_barrier(barriers, 1usize);
        #[unroll]
        for stage in 0..comptime!(STAGES) {
            let first = barriers + comptime!(8 + 32 * stage as u32);
            // A lane that expects the tile, and all lanes of the plane with their copies of words.
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
    at: &Corner,
    barrier: u32,
    #[comptime] tokens: usize,
    #[comptime] ring: Ring,
) {
    #[unroll]
    for panel in 0..comptime!(ring.panels()) {
        let element = comptime!((panel * PANEL) as i32).runtime();
        let corner = Corner { row: at.row, token: at.token, head: at.head, element };
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

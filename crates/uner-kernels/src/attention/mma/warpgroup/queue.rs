//! The queue of query tiles from the plane that copies to the planes that multiply: two buffers in
//! turn, each with a note of the tile's position and the keys that it visits. A note without keys
//! ends the work of a cube.
//!
//! A buffer has two barriers: full (the tile and its note have arrived) and empty (both may be
//! overwritten). Round `n` of a buffer ends phase `n` of its barriers. The ring's own barrier of
//! stationary tiles, which are copied once, is not used.

use cubecl::prelude::*;

use super::super::ptx::load_integers;
use super::super::tile::{Packing, TileCoord};
use super::keys::Stream;
use super::product::PANEL_BYTES;
use super::ptx::{
    TmaCoord, arrive, arrive_expecting, make_barrier, store_integers, sync_lanes, wait,
};
use super::ring::{GROUP_ROWS, PLANES, Ring, copy_panels};

/// Number of buffers: the stationary tiles of the ring.
pub(super) const BUFFERS: usize = 2;
/// Bytes of a note: row, head, first query, first 64-key tile, number of key tiles, document.
const NOTE: usize = 24;

/// Offset of the notes.
const fn notes_at(ring: Ring) -> usize {
    ring.bytes()
}
/// Offset of the barriers.
const fn barriers_at(ring: Ring) -> usize {
    notes_at(ring) + BUFFERS * NOTE
}
/// Bytes of shared memory, those of the ring included.
pub(super) const fn bytes(ring: Ring) -> usize {
    barriers_at(ring) + BUFFERS * 2 * 8
}

/// A query tile, as the planes that multiply read it from a note.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Note {
    pub(super) coord: TileCoord,
    pub(super) stream: Stream,
}

/// The query tile of a head that begins at query `first`.
#[cube]
pub(super) fn coord_at(packing: &Packing, row: usize, head: usize, first: usize) -> TileCoord {
    let sizes = packing.sizes.duplicate();
    let kv_head = head / (sizes.heads / sizes.kv_heads);
    TileCoord { row, head, kv_head, first, offset: sizes.keys - sizes.queries, sizes }
}

/// A buffer in one of its rounds.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Buffer {
    /// Its number.
    number: u32,
    /// The parity of the round.
    parity: u32,
}

#[cube]
impl Buffer {
    /// The buffer of the cube's query tile `turn`, counted from 0.
    pub(super) fn of(turn: u32) -> Buffer {
        let buffers = comptime!(BUFFERS as u32);
        Buffer { number: turn % buffers, parity: turn / buffers % 2 }
    }

    /// The address of the warp group's queries.
    pub(super) fn queries(&self, base: u32, #[comptime] ring: Ring) -> u32 {
        let group = UNIT_POS / 128 * comptime!((GROUP_ROWS * PANEL_BYTES) as u32);
        base + self.number * comptime!(ring.row_bytes() as u32) + group
    }

    fn note(&self, base: u32, #[comptime] ring: Ring) -> u32 {
        base + comptime!(notes_at(ring) as u32) + self.number * comptime!(NOTE as u32)
    }

    fn full(&self, base: u32, #[comptime] ring: Ring) -> u32 {
        base + comptime!(barriers_at(ring) as u32) + self.number * 16
    }

    fn empty(&self, base: u32, #[comptime] ring: Ring) -> u32 {
        self.full(base, ring) + 8
    }

    /// Waits until the tile and its note have arrived. Returns the number of key tiles that it
    /// visits, 0 behind the last tile.
    pub(super) fn wait(&self, base: u32, #[comptime] ring: Ring) -> u32 {
        wait(self.full(base, ring), self.parity);
        u32::cast_from(load_integers(self.note(base, ring), 16usize).extract(0usize))
    }

    /// Reads the note, which has arrived.
    pub(super) fn read(&self, base: u32, packing: &Packing, #[comptime] ring: Ring) -> Note {
        let note = self.note(base, ring);
        let (which, first, keys) = (
            load_integers(note, 0usize),
            load_integers(note, 8usize),
            load_integers(note, 16usize),
        );
        let (row, head) = (which.extract(0usize) as usize, which.extract(1usize) as usize);
        let coord = coord_at(packing, row, head, first.extract(0usize) as usize);
        let stream = Stream {
            base,
            begin: first.extract(1usize) as usize,
            count: keys.extract(0usize) as u32,
            document: keys.extract(1usize),
        };
        Note { coord, stream }
    }

    /// Returns the buffer to the plane that copies. All lanes of a plane call it.
    pub(super) fn release(&self, base: u32, #[comptime] ring: Ring) {
        sync_lanes();
        if UNIT_POS % 32 == 0 {
            arrive(self.empty(base, ring));
        }
    }

    /// Waits until the buffer may be overwritten, writes the note and starts the copy of the tile.
    /// The plane that copies calls it.
    pub(super) fn fill<E: Float>(
        &self,
        q: &TensorMap<E, Tiled>,
        coord: &TileCoord,
        stream: &Stream,
        #[comptime] ring: Ring,
    ) {
        let base = stream.base;
        wait(self.empty(base, ring), 1 - self.parity);
        if UNIT_POS % 32 == 0 {
            let note = self.note(base, ring);
            store_integers(note, 0usize, coord.row as i32, coord.head as i32);
            store_integers(note, 8usize, coord.first as i32, stream.begin as i32);
            store_integers(note, 16usize, stream.count as i32, stream.document);
            let at = TmaCoord {
                row: coord.row as i32,
                token: coord.first as i32,
                head: coord.head as i32,
                element: 0i32.runtime(),
            };
            let barrier = self.full(base, ring);
            arrive_expecting(barrier, comptime!(ring.row_bytes()));
            let target = base + self.number * comptime!(ring.row_bytes() as u32);
            copy_panels::<E>(target, q, &at, barrier, comptime!(ring.tiles.rows()), ring);
        }
    }

    /// Writes a note without keys: no tiles are left. The plane that copies calls it.
    pub(super) fn end(&self, base: u32, #[comptime] ring: Ring) {
        wait(self.empty(base, ring), 1 - self.parity);
        if UNIT_POS % 32 == 0 {
            store_integers(self.note(base, ring), 16usize, 0i32.runtime(), 0i32.runtime());
            arrive(self.full(base, ring));
        }
    }
}

/// Makes the barriers; unit 0 does so before it [makes the ring's](super::ring::make_barriers).
#[cube]
pub(super) fn make_buffers(base: u32, #[comptime] ring: Ring) {
    if UNIT_POS == 0 {
        #[unroll]
        for buffer in 0..comptime!(BUFFERS) {
            let full = base + comptime!((barriers_at(ring) + 16 * buffer) as u32);
            make_barrier(full, 1usize);
            make_barrier(full + 8, comptime!(PLANES));
        }
    }
}

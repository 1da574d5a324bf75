//! The write-out of sums to tensors: rounded, 16 bytes of a row at a time.
//!
//! [`write_row`] writes any row of 64 elements or more; [`write_out`] first normalises the sums of
//! the forward pass.

use cubecl::prelude::*;

use super::super::ptx::{Accumulator, exchange, pack, value};
use super::super::softmax::Softmax;
use super::super::tile::{TileCoord, Tiles};
use crate::attention::BLIND;

/// The final softmax state of a row: its largest score, and this lane's part of the sum of its
/// weights.
#[derive(CubeType, Clone, Copy)]
struct Total {
    largest: f32,
    weight: f32,
}

#[cube]
impl Total {
    fn parts(&self) -> (f32, f32) {
        (self.largest, self.weight)
    }

    fn of(softmax: &Softmax, #[comptime] r: usize) -> Total {
        Total { largest: value::<f32>(softmax.maxima[r]), weight: value::<f32>(softmax.weights[r]) }
    }
}

/// The totals of the lane's two rows.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Totals {
    upper: Total,
    lower: Total,
}

#[cube]
impl Totals {
    pub(super) fn of(softmax: &Softmax) -> Totals {
        Totals { upper: Total::of(softmax, 0usize), lower: Total::of(softmax, 1usize) }
    }
}

/// Normalises the sums of the lane's two rows and writes them and the log-sum-exp.
#[cube]
pub(super) fn write_out<E: Float>(
    sums: &Array<Accumulator>,
    totals: &Totals,
    y: &mut [Vector<E, Const<8>>],
    lse: &mut [f32],
    coord: &TileCoord,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for r in 0..2usize {
        let (largest, part) =
            if comptime!(r == 0) { totals.upper.parts() } else { totals.lower.parts() };
        let mut weight = part;
        weight += exchange(weight, 1u32);
        weight += exchange(weight, 2u32);
        let seen = weight > 0.0;
        let inverse = select(seen, 1.0 / weight, 0.0f32);
        let query = coord.lane_row(tiles) + r * 8;
        let inside = query < coord.sizes.queries;
        if inside && UNIT_POS % 4 == 0 {
            let value = largest * comptime!(tiles.scale()) + weight.ln();
            lse[coord.statistics() + query] = select(seen, value, BLIND);
        }
        let run = coord.queries(query, tiles);
        write_row::<E>(y, sums, r, inverse, run.base + query * run.stride, inside, tiles);
    }
}

/// Writes row `r` of the lane's two, times `factor`, to `target`, from element `start` on; writes
/// nothing unless `inside`. All lanes of the plane must call it.
#[cube]
pub(super) fn write_row<E: Float>(
    target: &mut [Vector<E, Const<8>>],
    sums: &Array<Accumulator>,
    #[comptime] r: usize,
    factor: f32,
    start: usize,
    inside: bool,
    #[comptime] tiles: Tiles,
) {
    let first = start / 8 + (UNIT_POS % 4) as usize;
    #[unroll]
    for part in 0..comptime!(tiles.head_tiles() / 4) {
        let words = chunk(sums, r, part, factor);
        if inside {
            target[first + part * 4] = Vector::<E, Const<8>>::reinterpret(words);
        }
    }
}

/// Eight elements of row `r`, times `factor`, from accumulator `4 · part + l`, where `l` is the
/// lane's number among the row's four. A lane has two elements of each accumulator, so the four
/// lanes exchange theirs.
#[cube]
fn chunk(
    sums: &Array<Accumulator>,
    #[comptime] r: usize,
    #[comptime] part: usize,
    factor: f32,
) -> Vector<u32, Const<4>> {
    let mut words = Array::<u32>::new(4usize);
    #[unroll]
    for i in 0..4usize {
        let tile = sums[comptime!(part * 4 + i)];
        words[i] = pack(
            tile.extract(comptime!(2 * r)) * factor,
            tile.extract(comptime!(2 * r + 1)) * factor,
        );
    }
    swap(&mut words, 0usize, 1usize, 1u32);
    swap(&mut words, 2usize, 3usize, 1u32);
    swap(&mut words, 0usize, 2usize, 2u32);
    swap(&mut words, 1usize, 3usize, 2u32);
    let mut eight = Vector::<u32, Const<4>>::new(words[0usize]);
    #[unroll]
    for i in 1..4usize {
        eight.insert(i, words[i]);
    }
    eight
}

/// A step of a transposition: of lanes whose numbers differ by `mask`, the one with the bit
/// exchanges its word `low` for the other's word `high`.
#[cube]
fn swap(
    words: &mut Array<u32>,
    #[comptime] low: usize,
    #[comptime] high: usize,
    #[comptime] mask: u32,
) {
    let has_bit = UNIT_POS & mask != 0;
    let given = select(has_bit, words[low], words[high]);
    let taken = u32::reinterpret(exchange(f32::reinterpret(given), mask));
    words[low] = select(has_bit, taken, words[low]);
    words[high] = select(has_bit, words[high], taken);
}

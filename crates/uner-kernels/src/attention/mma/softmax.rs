//! The online softmax over a plane's rows.

use cubecl::prelude::*;

use super::product::zeros;
use super::ptx::{Accumulator, exchange, exp2};
use super::tile::Tiles;

/// The running state of a plane's rows. A lane holds the rows `g` and `g + 8` of every row tile,
/// numbered in order.
#[derive(CubeType)]
pub(super) struct Softmax {
    /// Unnormalised weighted sums of values.
    pub(super) sums: Array<Accumulator>,
    /// Largest score so far, the same in the four lanes of a row.
    pub(super) maxima: Array<f32>,
    /// Sum of the weights; each of the four lanes of a row has its own part.
    pub(super) weights: Array<f32>,
}

#[cube]
impl Softmax {
    /// The state before the first tile.
    pub(super) fn start(#[comptime] tiles: Tiles) -> Softmax {
        let rows = comptime!(2 * tiles.per_plane);
        let mut maxima = Array::<f32>::new(rows);
        let mut weights = Array::<f32>::new(rows);
        #[unroll]
        for r in 0..rows {
            maxima[r] = f32::NEG_INFINITY.runtime();
            weights[r] = 0.0f32.runtime();
        }
        Softmax { sums: zeros(comptime!(tiles.per_plane * tiles.head_tiles())), maxima, weights }
    }

    /// Resets the maxima and weights, but not the sums.
    pub(super) fn restart(&mut self, #[comptime] tiles: Tiles) {
        #[unroll]
        for r in 0..comptime!(2 * tiles.per_plane) {
            self.maxima[r] = f32::NEG_INFINITY.runtime();
            self.weights[r] = 0.0f32.runtime();
        }
    }

    /// Turns the scores of one tile into weights relative to the new maxima, and rescales the
    /// earlier sums.
    pub(super) fn absorb(&mut self, scores: &mut Array<Accumulator>, #[comptime] tiles: Tiles) {
        #[unroll]
        for m in 0..comptime!(tiles.per_plane) {
            let upper = self.rescale(scores, m, 0usize, tiles);
            let lower = self.rescale(scores, m, 1usize, tiles);
            self.shrink(m, upper, lower, tiles);
        }
    }

    /// Multiplies the sums of row tile `m` by the factors of its rows.
    pub(super) fn shrink(
        &mut self,
        #[comptime] m: usize,
        upper: f32,
        lower: f32,
        #[comptime] tiles: Tiles,
    ) {
        // Maxima settle early, so rescaling is rarely needed.
        if min(upper, lower) < 1.0 {
            let factors = by_row(upper, lower);
            #[unroll]
            for d in 0..comptime!(tiles.head_tiles()) {
                let index = comptime!(m * tiles.head_tiles() + d);
                self.sums[index] *= factors;
            }
        }
    }

    /// One row of [`Self::absorb`]: replaces its scores by weights; returns the factor for its
    /// earlier sums.
    pub(super) fn rescale(
        &mut self,
        scores: &mut Array<Accumulator>,
        #[comptime] m: usize,
        #[comptime] half: usize,
        #[comptime] tiles: Tiles,
    ) -> f32 {
        let r = comptime!(2 * m + half);
        let width = comptime!(tiles.column_tiles());
        let mut largest = self.maxima[r];
        #[unroll]
        for n in 0..width {
            let tile = scores[comptime!(m * width + n)];
            largest = max(
                largest,
                max(tile.extract(comptime!(2 * half)), tile.extract(comptime!(2 * half + 1))),
            );
        }
        largest = max(largest, exchange(largest, 1u32));
        largest = max(largest, exchange(largest, 2u32));
        // A row that has seen nothing keeps a finite reference, so that its masked scores give
        // zeros, not NaN.
        let reference = select(largest == f32::NEG_INFINITY, 0.0f32, largest);
        let scale = comptime!(tiles.scale_log2());
        let shift = -reference * scale;
        let factor = exp2(fma(self.maxima[r], scale.runtime(), shift));
        let mut sum = self.weights[r] * factor;
        #[unroll]
        for n in 0..width {
            let index = comptime!(m * width + n);
            let mut tile = scores[index];
            #[unroll]
            for e in comptime!(2 * half)..comptime!(2 * half + 2) {
                let weight = exp2(fma(tile.extract(e), scale.runtime(), shift));
                sum += weight;
                tile.insert(e, weight);
            }
            scores[index] = tile;
        }
        self.maxima[r] = largest;
        self.weights[r] = sum;
        factor
    }
}

/// A vector with `upper` for an accumulator's upper row and `lower` for its lower row.
#[cube]
pub(super) fn by_row(upper: f32, lower: f32) -> Accumulator {
    let mut vector = Accumulator::new(upper);
    vector.insert(2usize, lower);
    vector.insert(3usize, lower);
    vector
}

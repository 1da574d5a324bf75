//! Shared parts of the two backward kernels: their inputs, the per-query term, and the score
//! gradients.
//!
//! With the weights `p = exp(s - lse)` recomputed from the scores, `dv = pᵀ·dy`,
//! `ds = p ∘ (dy·vᵀ - delta)`, `dq = scale · ds·k` and `dk = scale · dsᵀ·q`, where
//! `delta = rowsum(dy ∘ y)` (FlashAttention-2, Dao 2023). One kernel computes `dq`, the other `dk`
//! and `dv`. Each sums in a fixed order, without atomics, so the bits are the same on each run.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::forward::Inputs;
use super::ptx::{Accumulator, exchange, exp2};
use super::tile::{Axis, Sizes, Tiles};

/// Units of a cube of [`delta`].
pub(super) const DELTA_UNITS: usize = 256;
/// Units that share one vector of [`delta`].
pub(super) const DELTA_LANES: usize = 8;

/// The inputs of a backward kernel.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Upstream<E: Float> {
    /// The inputs of the forward pass.
    pub(super) inputs: Inputs<E>,
    /// Gradient of the output, `[rows, queries, heads, head_dim]`.
    pub(super) dy: Box<[E]>,
    /// Log-sum-exp of the forward pass, `[rows, heads, queries]`.
    pub(super) lse: Box<[f32]>,
    /// Result of [`delta`], `[rows, heads, queries]`.
    pub(super) delta: Box<[f32]>,
}

impl Tiles {
    /// Bytes of shared memory of a backward kernel whose stages take `stage` bytes: two stationary
    /// tiles, two stages.
    pub(super) const fn backward_bytes(self, stage: usize) -> usize {
        2 * self.row_bytes() + 2 * stage
    }
}

/// `delta = rowsum(dy ∘ y)`.
///
/// # Shapes
/// - `y`, `dy`: `[rows, queries, heads, head_dim]`, in vectors of eight
/// - `delta`: `[rows, heads, queries]`
///
/// Cubes: x, [`DELTA_UNITS`] units with [`DELTA_LANES`] per (row, query, head).
#[cube(launch)]
pub(super) fn delta<E: Float>(
    y: &[Vector<E, Const<8>>],
    dy: &[Vector<E, Const<8>>],
    delta: &mut [f32],
    sizes: Sizes,
    #[comptime] chunks: usize,
    #[define(E)] _element: ElemType,
) {
    let vector = (CUBE_POS_X * CUBE_DIM_X + UNIT_POS) as usize / DELTA_LANES;
    let lane = UNIT_POS as usize % DELTA_LANES;
    let count = delta.len();
    let mut sum = 0.0f32;
    if vector < count {
        for chunk in range_stepped(lane, chunks, DELTA_LANES) {
            let left = Vector::<f32, Const<8>>::cast_from(y[vector * chunks + chunk]);
            let right = Vector::<f32, Const<8>>::cast_from(dy[vector * chunks + chunk]);
            let product = left * right;
            #[unroll]
            for e in 0..8usize {
                sum += product.extract(e);
            }
        }
    }
    sum += exchange(sum, 1u32);
    sum += exchange(sum, 2u32);
    sum += exchange(sum, 4u32);
    if vector < count && lane == 0 {
        let (head, token) = (vector % sizes.heads, vector / sizes.heads);
        let (query, row) = (token % sizes.queries, token / sizes.queries);
        delta[(row * sizes.heads + head) * sizes.queries + query] = sum;
    }
}

/// Turns scores into weights: `exp(score · scale - lse)`.
///
/// `lse` has one value per row of the lane if queries are stationary, else one per column.
#[cube]
pub(super) fn weigh(scores: &mut Array<Accumulator>, lse: &Array<f32>, #[comptime] tiles: Tiles) {
    let scale = comptime!(tiles.scale_log2());
    let log2e = comptime!(std::f32::consts::LOG2_E);
    let mut shifts = Array::<f32>::new(comptime!(tiles.statistics()));
    #[unroll]
    for i in 0..comptime!(tiles.statistics()) {
        shifts[i] = -lse[i] * log2e;
    }
    #[unroll]
    for i in 0..comptime!(tiles.per_plane * tiles.column_tiles()) {
        let mut tile = scores[i];
        #[unroll]
        for e in 0..4usize {
            let shift = shifts[comptime!(tiles.statistic(i, e))];
            let score = tile.extract(e);
            tile.insert(e, exp2(fma(score, scale.runtime(), shift)));
        }
        scores[i] = tile;
    }
}

/// Turns `products` (`dy·vᵀ`) into the gradients of the unscaled scores:
/// `weights ∘ (products - delta)`.
#[cube]
pub(super) fn score_gradients(
    products: &mut Array<Accumulator>,
    weights: &Array<Accumulator>,
    delta: &Array<f32>,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for i in 0..comptime!(tiles.per_plane * tiles.column_tiles()) {
        let mut tile = products[i];
        let weight = weights[i];
        #[unroll]
        for e in 0..4usize {
            let product = tile.extract(e);
            let gradient = weight.extract(e) * (product - delta[comptime!(tiles.statistic(i, e))]);
            tile.insert(e, gradient);
        }
        products[i] = tile;
    }
}

impl Tiles {
    /// Number of per-query values that a lane needs at once: of its rows, or of its columns.
    pub(super) const fn statistics(self) -> usize {
        match self.stationary {
            Axis::Queries => 2 * self.per_plane,
            Axis::Keys => 2 * self.column_tiles(),
        }
    }
    /// Index of the value for element `e` of accumulator `i`.
    pub(super) const fn statistic(self, i: usize, e: usize) -> usize {
        match self.stationary {
            Axis::Queries => i / self.column_tiles() * 2 + e / 2,
            Axis::Keys => i % self.column_tiles() * 2 + e % 2,
        }
    }
}

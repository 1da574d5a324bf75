//! The two matrix products of attention on tiles, and the write-out of sums.

use cubecl::prelude::*;

use super::ptx::{
    Accumulator, Fragment, load_matrices, load_transposed, multiply_accumulate, pack,
};
use super::tile::Tiles;

/// The byte offset at which this lane reads a 16x16 tile whose 8x8 matrices are ordered first down
/// the rows, then along the row: an A operand or, transposed, the B operands of two tiles that
/// contract over the rows.
#[cube]
pub(super) fn lane_offset_down(#[comptime] tiles: Tiles) -> u32 {
    let lane = UNIT_POS % 32;
    (lane % 16) * comptime!(tiles.stride() as u32) + (lane / 16) * 16
}

/// The byte offset at which this lane reads a 16x16 tile whose 8x8 matrices are ordered first along
/// the row, then down the rows: the B operands of two tiles that contract along the row.
#[cube]
pub(super) fn lane_offset_along(#[comptime] tiles: Tiles) -> u32 {
    let lane = UNIT_POS % 32;
    (lane / 16 * 8 + lane % 8) * comptime!(tiles.stride() as u32) + (lane / 8 % 2) * 16
}

/// Zeroed accumulators.
#[cube]
pub(super) fn zeros(#[comptime] count: usize) -> Array<Accumulator> {
    let mut accumulators = Array::<Accumulator>::new(count);
    clear(&mut accumulators, count);
    accumulators
}

/// Zeroes `count` accumulators.
#[cube]
pub(super) fn clear(accumulators: &mut Array<Accumulator>, #[comptime] count: usize) {
    #[unroll]
    for i in 0..count {
        accumulators[i] = Accumulator::new(0.0f32);
    }
}

/// `products = a · bᵀ` of a plane's rows and a streamed tile, contracted over the head.
///
/// `a` and `b` are shared addresses with [`lane_offset_down`] and [`lane_offset_along`] added.
/// Accumulator `m * column_tiles + n` is the tile of row tile `m` and columns `8n..8n + 8`.
#[cube]
pub(super) fn multiply_transposed(
    products: &mut Array<Accumulator>,
    a: u32,
    b: u32,
    #[comptime] tiles: Tiles,
) {
    let (per_plane, width, stride) =
        comptime!((tiles.per_plane, tiles.column_tiles(), tiles.stride()));
    clear(products, comptime!(per_plane * width));
    let mut rows = Array::<Fragment>::new(per_plane);
    #[unroll]
    for step in 0..comptime!(tiles.head_dim / 16) {
        #[unroll]
        for m in 0..per_plane {
            rows[m] = load_matrices(a, comptime!(m * 16 * stride + step * 32));
        }
        #[unroll]
        for n in 0..comptime!(width / 2) {
            let columns = load_matrices(b, comptime!(n * 16 * stride + step * 32));
            #[unroll]
            for m in 0..per_plane {
                multiply_pair(products, comptime!(m * width + 2 * n), rows[m], columns);
            }
        }
    }
}

/// `sums += weights · b`, contracted over the streamed axis.
///
/// `weights` are accumulators of [`multiply_transposed`], which have the layout of an A operand.
/// They are rounded to bf16. `b` is a shared address with [`lane_offset_down`] added. Accumulator
/// `m * head_tiles + d` of `sums` is the tile of row tile `m` and elements `8d..8d + 8` of the
/// head.
#[cube]
pub(super) fn multiply_weights(
    sums: &mut Array<Accumulator>,
    weights: &Array<Accumulator>,
    b: u32,
    #[comptime] tiles: Tiles,
) {
    let (per_plane, width, stride) =
        comptime!((tiles.per_plane, tiles.head_tiles(), tiles.stride()));
    let mut rows = Array::<Fragment>::new(per_plane);
    #[unroll]
    for step in 0..comptime!(tiles.columns / 16) {
        #[unroll]
        for m in 0..per_plane {
            let first = comptime!(m * tiles.column_tiles() + 2 * step);
            rows[m] = pack_operand(weights[first], weights[comptime!(first + 1)]);
        }
        #[unroll]
        for d in 0..comptime!(width / 2) {
            let columns = load_transposed(b, comptime!(step * 16 * stride + d * 32));
            #[unroll]
            for m in 0..per_plane {
                multiply_pair(sums, comptime!(m * width + 2 * d), rows[m], columns);
            }
        }
    }
}

/// Multiplies `a` into accumulators `first` and `first + 1`.
#[cube]
fn multiply_pair(
    sums: &mut Array<Accumulator>,
    #[comptime] first: usize,
    a: Fragment,
    columns: Fragment,
) {
    let second = comptime!(first + 1);
    sums[first] = multiply_accumulate(a, columns, 0usize, sums[first]);
    sums[second] = multiply_accumulate(a, columns, 1usize, sums[second]);
}

/// The A operand made of two adjacent accumulators.
#[cube]
fn pack_operand(left: Accumulator, right: Accumulator) -> Fragment {
    let mut operand = Fragment::new(0u32);
    operand.insert(0usize, pack(left.extract(0usize), left.extract(1usize)));
    operand.insert(1usize, pack(left.extract(2usize), left.extract(3usize)));
    operand.insert(2usize, pack(right.extract(0usize), right.extract(1usize)));
    operand.insert(3usize, pack(right.extract(2usize), right.extract(3usize)));
    operand
}

/// Writes row `r` of a plane's sums (see [`Softmax`](super::softmax::Softmax) for the numbering),
/// each times `factor`; `pair` is the index of this lane's first pair of elements in `target`.
#[cube]
pub(super) fn write_row<E: Float>(
    target: &mut [Vector<E, Const<2>>],
    sums: &Array<Accumulator>,
    #[comptime] r: usize,
    factor: f32,
    pair: usize,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for d in 0..comptime!(tiles.head_tiles()) {
        let tile = sums[comptime!(r / 2 * tiles.head_tiles() + d)];
        let low = tile.extract(comptime!(r % 2 * 2)) * factor;
        let high = tile.extract(comptime!(r % 2 * 2 + 1)) * factor;
        target[pair + d * 4] = Vector::<E, Const<2>>::reinterpret(pack(low, high));
    }
}

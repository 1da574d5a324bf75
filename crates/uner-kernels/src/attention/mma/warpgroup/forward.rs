//! The forward kernel (FlashAttention-3, Shah et al. 2024): one cube per query tile of one head. A plane copies key and value
//! tiles into a ring, two warp groups of 64 queries each multiply. The scores of a tile are computed while the values of the
//! tile before are summed, and the two groups take turns, so that one multiplies while the other is at its softmax.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::forward::finish as write_out;
use super::super::mask::key_extent;
use super::super::product::zeros;
use super::super::ptx::shared_address;
use super::super::softmax::Softmax;
use super::super::tile::{Packing, Place};
use super::keys::{COLUMNS, Stream, fill, masked};
use super::product::{PANEL_BYTES, finish, multiply, multiply_weights, operand};
use super::ptx::{Corner, arrive_expecting, grow_to, meet, pass, shrink_to, wait};
use super::ring::{
    CONSUMERS, COPYING, FIRST, GROUP_ROWS, MULTIPLYING, Ring, SECOND, Stage, copy_panels, make_barriers,
    stationary_barrier,
};
use super::sight::{Sight, hide_branches, own_branches};

/// As [`mma::forward`](super::super::forward::forward); the inputs are maps of boxes of 128 tokens of one head, `starts` those
/// of [`query_blocks`](super::super::block::query_blocks).
///
/// Cubes: x the head, y the row, z the query tile (`ceil(queries / 128)`), the longest first; [`UNITS`](super::ring::UNITS) units.
#[cube(launch)]
pub(in crate::attention::mma) fn forward<E: Float>(
    q: &TensorMap<E, Tiled>,
    k: &TensorMap<E, Tiled>,
    v: &TensorMap<E, Tiled>,
    packing: &Packing,
    starts: &[i32],
    y: &mut [Vector<E, Const<2>>],
    lse: &mut [f32],
    #[comptime] ring: Ring,
    #[define(E)] _element: ElemType,
) {
    let shared = Shared::<[u32]>::new_aligned_slice(comptime!(ring.bytes() / 4), 1024usize);
    let base = shared_address(&shared);
    let place = Place::of_cube(packing, comptime!(ring.tiles));
    let stream = Stream::of(base, &key_extent(packing, &place, comptime!(ring.tiles)));
    make_barriers(base, ring);
    if UNIT_POS < comptime!(CONSUMERS as u32) {
        grow_to(MULTIPLYING);
        let sight = Sight::of_lane(starts, &place, comptime!(ring.tiles));
        let softmax = sweep::<E>(packing, &place, &stream, &sight, ring);
        write_out::<E>(&softmax, y, lse, &place, comptime!(ring.tiles));
    } else {
        shrink_to(COPYING);
        if UNIT_POS < comptime!(CONSUMERS as u32 + 32) && stream.count > 0 {
            let at = Corner {
                row: place.row as i32,
                token: place.first as i32,
                head: place.head as i32,
                element: 0i32.runtime(),
            };
            if UNIT_POS % 32 == 0 {
                let barrier = stationary_barrier(base, ring);
                arrive_expecting(barrier, comptime!(ring.row_bytes()));
                copy_panels::<E>(base, q, &at, barrier, comptime!(ring.tiles.rows()), ring);
            }
            fill::<E>(k, v, packing, &place, &stream, ring);
        }
    }
}

/// The pass of a warp group over the tiles in the ring.
#[cube]
fn sweep<E: Float>(
    packing: &Packing,
    place: &Place,
    stream: &Stream,
    sight: &Sight,
    #[comptime] ring: Ring,
) -> Softmax {
    let (base, count) = (stream.base, stream.count);
    let tiles = comptime!(ring.tiles);
    let group = UNIT_POS / 128;
    let queries = base + group * comptime!((GROUP_ROWS * PANEL_BYTES) as u32);
    let (columns, width) = comptime!((COLUMNS / 2, tiles.head_dim / 2));
    let mut softmax = Softmax::start(tiles);
    let mut scores = zeros(comptime!(tiles.column_tiles()));
    if count > 0 {
        wait(stationary_barrier(base, ring), 0u32);
        let stage = Stage::of(0u32);
        let tile = masked(packing, place, stream, 0u32);
        stage.wait(base, FIRST, ring);
        multiply::<E>(&mut scores, queries, stage.tile(base, FIRST, ring), comptime!(ring.along()), false);
        finish(&mut scores, columns, 0usize);
        if tile.cut {
            sight.hide(&mut scores, stream.token(0u32), tiles);
        }
        if tile.branched {
            let branches = own_branches(packing, place, tiles);
            let words = stage.words(base, ring);
            hide_branches(&mut scores, branches[0usize], branches[1usize], words, tiles);
        }
        stage.release(base, FIRST, ring);
        // Nothing is summed yet that the factors could shrink.
        softmax.rescale(&mut scores, 0usize, 0usize, tiles);
        softmax.rescale(&mut scores, 0usize, 1usize, tiles);
        let mut weights = operand::<E>(&scores, COLUMNS);
        // The first group is first.
        if group == 1 && count > 1 {
            pass(1u32, comptime!(CONSUMERS));
        }
        for number in 1..count {
            let stage = Stage::of(number);
            let before = Stage::of(number - 1);
            let tile = masked(packing, place, stream, number);
            stage.wait(base, FIRST, ring);
            meet(1 + group, comptime!(CONSUMERS));
            multiply::<E>(
                &mut scores,
                queries,
                stage.tile(base, FIRST, ring),
                comptime!(ring.along()),
                false,
            );
            before.wait(base, SECOND, ring);
            let values = before.tile(base, SECOND, ring);
            multiply_weights::<E>(&mut softmax.sums, &weights, values, comptime!(ring.down()));
            if group == 0 || number + 1 < count {
                pass(2 - group, comptime!(CONSUMERS));
            }
            finish(&mut scores, columns, 1usize);
            if tile.cut {
                sight.hide(&mut scores, stream.token(number), tiles);
            }
            if tile.branched {
                let branches = own_branches(packing, place, tiles);
                let words = stage.words(base, ring);
                hide_branches(&mut scores, branches[0usize], branches[1usize], words, tiles);
            }
            stage.release(base, FIRST, ring);
            let upper = softmax.rescale(&mut scores, 0usize, 0usize, tiles);
            let lower = softmax.rescale(&mut scores, 0usize, 1usize, tiles);
            finish(&mut softmax.sums, width, 0usize);
            before.release(base, SECOND, ring);
            softmax.shrink(0usize, upper, lower, tiles);
            weights = operand::<E>(&scores, COLUMNS);
        }
        let last = Stage::of(count - 1);
        last.wait(base, SECOND, ring);
        let values = last.tile(base, SECOND, ring);
        multiply_weights::<E>(&mut softmax.sums, &weights, values, comptime!(ring.down()));
        finish(&mut softmax.sums, width, 0usize);
    }
    softmax
}

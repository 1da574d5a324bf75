//! The five products that the warp groups of the backward kernel compute for a tile. Scores are
//! computed transposed (keys down the rows), so that weights and their gradients go from
//! accumulator to operand within registers. For the gradient of the queries, the score gradients
//! also go through shared memory, since each group computes them for its own keys only.
//!
//! Products start as early as registers allow, and are waited for as late as possible: weights are
//! computed while `v·dyᵀ` runs, their gradients while `pᵀ·dy` runs, and `dsᵀ·q` runs while the
//! patch of the queries is stored, and until the scores of the next tile have started. The
//! assembler moves a wait ahead of arithmetic that does not need it, but not ahead of the start of
//! a product, so the product that needs the arithmetic starts before the wait.

use cubecl::prelude::*;

use super::super::backward_keys::Sums;
use super::super::mask_tables::{ENTRY, MASK_TILE};
use super::super::product::zeros;
use super::super::ptx::{Accumulator, exp2, load_floats};
use super::super::tile::{Packing, TileCoord, Tiles};
use super::backward::{BRANCHED, Stream, Upstream};
use super::exchange::{Slot, arrive_together, exchange_scores, patch_operands, release_scores};
use super::product::{PANEL, PANEL_BYTES, finish, multiply, multiply_weights, operand};
use super::ptx::wait;
use super::ring::{FIRST, GROUP_ROWS, Ring, SECOND, Stage, stationary_barrier};
use super::row_mask::{RowMask, hide_branches, own_branches};
use crate::attention::PADDING;

/// The sums of a warp group.
#[derive(CubeType)]
struct Gradients {
    /// Gradients of its keys and values.
    own: Sums,
    /// Its patch of the gradient of a tile's queries.
    patch: Array<Accumulator>,
}

/// The pass of a warp group over the tiles in the ring: the sums of `dsᵀ·q` and `pᵀ·dy`.
#[cube]
pub(super) fn sweep<E: Float>(
    upstream: &Upstream<E>,
    packing: &Packing,
    coord: &TileCoord,
    stream: &Stream,
    group: u32,
    #[comptime] ring: Ring,
) -> Sums {
    let tiles = comptime!(ring.tiles);
    let base = stream.base;
    let keys = base + group * comptime!((GROUP_ROWS * PANEL_BYTES) as u32);
    let own = Sums {
        keys: zeros(comptime!(tiles.head_tiles())),
        values: zeros(comptime!(tiles.head_tiles())),
    };
    let mut sums = Gradients { own, patch: zeros(comptime!(PANEL / 8)) };
    let row_mask = RowMask::of_lane(&upstream.ends, coord, tiles);
    // One condition around all of it: if a path with running products joins a path without, the
    // assembler waits behind each instruction of every product.
    if stream.count > 0 {
        wait(stationary_barrier(base, ring), 0u32);
        let mut mask_tile = stream.extent.begin;
        for number in 0..(stream.members * stream.count) as u32 {
            let cut = is_cut(packing, coord, stream, group, mask_tile, tiles);
            let step = Step {
                base,
                group,
                keys,
                number,
                mask_tile,
                cut,
                branched: stream.document == BRANCHED,
            };
            absorb(&mut sums, packing, coord, &row_mask, &step, ring);
            mask_tile += comptime!(tiles.columns / MASK_TILE);
            if mask_tile >= stream.extent.end {
                // Continues with the next query head.
                mask_tile = stream.extent.begin;
            }
        }
        finish(&mut sums.own.keys, comptime!(tiles.head_dim / 2), 0usize);
    }
    sums.own
}

/// Whether a query of the tile that begins at 64-query tile `mask_tile` may not see some key of the
/// group.
#[cube]
fn is_cut(
    packing: &Packing,
    coord: &TileCoord,
    stream: &Stream,
    group: u32,
    mask_tile: usize,
    #[comptime] tiles: Tiles,
) -> bool {
    let mask_tiles = coord.sizes.queries.div_ceil(MASK_TILE);
    let last = min(mask_tile + comptime!(tiles.columns / MASK_TILE - 1), mask_tiles - 1);
    let document = packing.query_table[(coord.row * mask_tiles + mask_tile) * ENTRY + 1];
    let other = packing.query_table[(coord.row * mask_tiles + last) * ENTRY + 1];
    let keys = coord.first + group as usize * comptime!(GROUP_ROWS);
    let below = keys + comptime!(GROUP_ROWS) <= coord.offset + mask_tile * MASK_TILE + 1;
    let uniform = select(document == other, document == stream.document, false);
    let open = select(uniform, document != PADDING, false);
    !(below && open)
}

/// One query tile to absorb.
#[derive(CubeType)]
struct Step {
    /// Shared address of the ring.
    base: u32,
    /// The warp group.
    group: u32,
    /// Shared address of the group's keys; the values lie behind all keys.
    keys: u32,
    /// Its number in the ring.
    number: u32,
    /// Its first 64-query tile.
    mask_tile: usize,
    /// Whether some pair may be invisible.
    cut: bool,
    /// Whether keys have branches.
    branched: bool,
}

/// Adds one query tile to the sums, and puts its patch into a slot.
#[cube]
fn absorb(
    sums: &mut Gradients,
    packing: &Packing,
    coord: &TileCoord,
    row_mask: &RowMask,
    at: &Step,
    #[comptime] ring: Ring,
) {
    let tiles = comptime!(ring.tiles);
    let (columns, count, width) = comptime!((tiles.columns, tiles.columns / 2, tiles.head_dim / 2));
    let step = comptime!(4 * columns as u32);
    let stage = Stage::of(at.number);
    let words = stage.words(at.base, ring);
    let (queries, gradients) =
        (stage.tile(at.base, FIRST, ring), stage.tile(at.base, SECOND, ring));
    let mut scores = zeros(comptime!(tiles.column_tiles()));
    let mut products = zeros(comptime!(tiles.column_tiles()));
    let values = at.keys + comptime!(ring.row_bytes() as u32);
    stage.wait(at.base, FIRST, ring);
    multiply(&mut scores, at.keys, queries, comptime!(ring.along()), false);
    // Waits for the last product of the tile before, which still runs.
    finish(&mut sums.own.keys, width, 1usize);
    if at.number > 0 {
        arrive_together(Stage::of(at.number - 1).empty(at.base, FIRST, ring));
    }
    stage.wait(at.base, SECOND, ring);
    multiply(&mut products, values, gradients, comptime!(ring.along()), false);
    finish(&mut scores, count, 1usize);
    if at.cut {
        row_mask.of_keys(coord, tiles).hide(
            &mut scores,
            coord.offset + at.mask_tile * MASK_TILE,
            tiles,
        );
    }
    if at.branched {
        let branches = own_branches(packing, coord, tiles);
        hide_branches(&mut scores, branches[0usize], branches[1usize], words, tiles);
    }
    weigh(&mut scores, words + step, tiles);
    // Wide tiles leave no registers for the operand of weights beside scores and products.
    let wide = comptime!(columns > MASK_TILE);
    if wide {
        finish(&mut products, count, 0usize);
        score_gradients(&mut products, &scores, words + 2 * step, tiles);
    }
    let weights = operand(&scores, columns);
    multiply_weights(&mut sums.own.values, &weights, gradients, comptime!(ring.down()));
    if comptime!(!wide) {
        finish(&mut products, count, 1usize);
        score_gradients(&mut products, &scores, words + 2 * step, tiles);
    }
    let gradient_weights = operand(&products, columns);
    exchange_scores(at.base, at.number, &gradient_weights, ring);
    let (panel_scores, panel_keys) = patch_operands(at.base, at.group, ring);
    multiply(&mut sums.patch, panel_scores, panel_keys, comptime!(ring.patch()), false);
    multiply_weights(&mut sums.own.keys, &gradient_weights, queries, comptime!(ring.down()));
    finish(&mut sums.own.values, width, 2usize);
    arrive_together(stage.empty(at.base, SECOND, ring));
    finish(&mut sums.patch, comptime!(PANEL / 2), 1usize);
    release_scores(at.base, ring);
    Slot::of(at.base, at.group, at.number, ring).put(&sums.patch);
}

/// Turns scores into weights, `exp(score · scale - lse)`; `address` is the shared address of the
/// tile's log-sum-exps. They are read column by column, since few registers are left.
#[cube]
fn weigh(scores: &mut Array<Accumulator>, address: u32, #[comptime] tiles: Tiles) {
    let lane = address + UNIT_POS % 4 * 8;
    let scale = comptime!(tiles.scale_log2());
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let lse = load_floats(lane, comptime!(n * 32)) * Vector::new(-std::f32::consts::LOG2_E);
        let mut tile = scores[n];
        #[unroll]
        for e in 0..4usize {
            let score = tile.extract(e);
            tile.insert(e, exp2(fma(score, scale.runtime(), lse.extract(comptime!(e % 2)))));
        }
        scores[n] = tile;
    }
}

/// Turns `products` (`v·dyᵀ`) into the gradients of the unscaled scores,
/// `weights ∘ (products - delta)`; `address` is the shared address of the tile's deltas.
#[cube]
fn score_gradients(
    products: &mut Array<Accumulator>,
    weights: &Array<Accumulator>,
    address: u32,
    #[comptime] tiles: Tiles,
) {
    let lane = address + UNIT_POS % 4 * 8;
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let delta = load_floats(lane, comptime!(n * 32));
        let mut tile = products[n];
        let weight = weights[n];
        #[unroll]
        for e in 0..4usize {
            let product = tile.extract(e);
            tile.insert(e, weight.extract(e) * (product - delta.extract(comptime!(e % 2))));
        }
        products[n] = tile;
    }
}

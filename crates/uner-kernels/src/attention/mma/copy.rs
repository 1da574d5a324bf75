//! Copies of tiles into shared memory.

use cubecl::prelude::*;

use super::ptx::{copy_chunk, copy_word};
use super::tile::{Run, Tiles};

/// Starts the copy of `tokens` tokens of `run` to shared memory at `address`.
#[cube]
pub(super) fn copy_tile<E: Float>(
    address: u32,
    source: &[E],
    run: &Run,
    #[comptime] tokens: usize,
    #[comptime] tiles: Tiles,
) {
    let (chunks, units) = comptime!((tiles.chunks(), tiles.units()));
    let unit = UNIT_POS as usize;
    if comptime!(units % chunks == 0 && (tokens * chunks) % units == 0) {
        let token = unit / chunks;
        let chunk = unit % chunks;
        let target = address + (token * comptime!(tiles.stride()) + chunk * 16) as u32;
        let per_pass = comptime!(units / chunks);
        #[unroll]
        for pass in 0..comptime!(tokens / per_pass) {
            let offset = comptime!(pass * per_pass * tiles.stride());
            copy_token_chunk::<E>(target, offset, source, run, token + pass * per_pass, chunk);
        }
    } else {
        for number in range_stepped(unit, comptime!(tokens * chunks), units) {
            let token = number / chunks;
            let chunk = number % chunks;
            let target = address + (token * comptime!(tiles.stride()) + chunk * 16) as u32;
            copy_token_chunk::<E>(target, 0usize, source, run, token, chunk);
        }
    }
}

/// Starts the copy of one 16-byte chunk of token `run.first + token`.
#[cube]
fn copy_token_chunk<E: Float>(
    address: u32,
    #[comptime] offset: usize,
    source: &[E],
    run: &Run,
    token: usize,
    chunk: usize,
) {
    let position = run.first + token;
    let inside = position < run.limit;
    let index = run.base + select(inside, position, 0usize) * run.stride + chunk * 8;
    copy_chunk::<E>(address, offset, source, index, select(inside, 16u32, 0u32));
}

/// Starts the copy of one word per token of the tile to shared memory at `address`; `index` is the
/// tile's first token in `source`, and `left` the number of tokens from it to the end of the row. A
/// cube must have at least as many units as the tile has tokens.
#[cube]
pub(super) fn copy_words<T: Numeric>(
    address: u32,
    source: &[T],
    index: usize,
    left: usize,
    #[comptime] tokens: usize,
) {
    let token = UNIT_POS as usize;
    if token < tokens {
        let inside = token < left;
        let from = index + select(inside, token, 0usize);
        copy_word::<T>(address + token as u32 * 4, source, from, select(inside, 4u32, 0u32));
    }
}

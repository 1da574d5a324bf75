//! Attention to a cache: the forward kernel for keys and values that lie in slots
//! (`PagedAttention`, Kwon et al. 2023). A cube takes one head and one tile of queries of a
//! document, whose sequences share the beginning.

use burn::backend::TensorMetadata;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::forward::{Inputs, InputsLaunch};
use super::product::{
    lane_offset_along, lane_offset_down, multiply_transposed, multiply_weights, write_row, zeros,
};
use super::ptx::{Accumulator, commit_copies, copy_chunk, exchange, shared_address, wait_copies};
use super::softmax::Softmax;
use super::tile::{Axis, Tiles};
use crate::cube::{Floats, Ints, dims, element, empty};

/// Queries of a tile.
pub(crate) const QUERIES: usize = 32;
/// Numbers for each tile in [`CachePlaces::tiles`].
pub(crate) const TILE: usize = 6;

/// Where the tokens of documents are: a beginning that the sequences of the document share (branch
/// 0), then the tokens of each sequence (branches 1, 2, …). A query sees the keys up to its own
/// that are of its branch or of branch 0: the rule of [`Visibility`](crate::Visibility).
#[derive(Debug)]
pub(crate) struct CachePlaces {
    /// For each tile of queries of one document: its first query; its number of queries; the first
    /// key of its document; the number of keys of branch 0; the number of keys behind these that no
    /// query of the tile sees; and the number of keys until the last that one sees, without those.
    pub(crate) tiles: Ints,
    /// For each query, its row and the place of its key in its document.
    pub(crate) queries: Ints,
    /// For each key of each document, its slot.
    pub(crate) slots: Ints,
    /// For each key of each document, its branch.
    pub(crate) branches: Ints,
}

/// Keys of a tile: few enough for five cubes of heads of 128 elements in the shared memory of a
/// multiprocessor, since a cube has two planes only.
const COLUMNS: usize = 32;

/// The tiles for heads of this size.
fn tiles(head_dim: usize) -> Tiles {
    let planes = QUERIES / 16;
    Tiles { stationary: Axis::Queries, head_dim, planes, per_plane: 1, columns: COLUMNS }
}

impl Tiles {
    /// Bytes of shared memory of [`cached`]: the queries, and two stages of keys and values.
    const fn cached_bytes(self) -> usize {
        self.row_bytes() + 4 * self.column_bytes()
    }
}

/// The numbers of [`CachePlaces`].
#[derive(CubeType, CubeLaunch)]
struct Places {
    tiles: Box<[i32]>,
    queries: Box<[i32]>,
    slots: Box<[i32]>,
    branches: Box<[i32]>,
    heads: usize,
    kv_heads: usize,
}

/// A tile of queries, see [`CachePlaces::tiles`].
#[derive(CubeType, Clone, Copy)]
struct Tile {
    first: usize,
    count: usize,
    base: usize,
    prefix: usize,
    hidden: usize,
    keys: usize,
}

#[cube]
impl Tile {
    fn of_cube(places: &Places) -> Tile {
        let at = CUBE_POS_Y as usize * TILE;
        Tile {
            first: places.tiles[at] as usize,
            count: places.tiles[at + 1] as usize,
            base: places.tiles[at + 2] as usize,
            prefix: places.tiles[at + 3] as usize,
            hidden: places.tiles[at + 4] as usize,
            keys: places.tiles[at + 5] as usize,
        }
    }

    /// The place in the document of the `key`-th key of this tile.
    fn place(&self, key: usize) -> usize {
        key + select(key < self.prefix, 0usize, self.hidden)
    }
}

/// The output of `q`, `[tokens, heads, head_dim]`, for `keys` and `values`,
/// `[slots, kv_heads, head_dim]`, all contiguous, on a device that
/// [serves](super::is_served) them.
pub(crate) fn cached_attention(
    q: &Floats,
    [keys, values]: [&Floats; 2],
    at: &CachePlaces,
) -> Floats {
    let ([_, heads, head_dim], [_, kv_heads, _]) = (dims(q), dims(keys));
    let y = empty(q, q.shape(), q.dtype());
    let count = at.tiles.shape().num_elements();
    let tiles = tiles(head_dim);
    let buffer = |ints: &Ints| ints.clone().into_buffer_arg();
    cached::launch(
        &q.client,
        CubeCount::Static(heads as u32, (count / TILE) as u32, 1),
        CubeDim::new_1d(tiles.units() as u32),
        InputsLaunch::new(
            q.clone().into_buffer_arg(),
            keys.clone().into_buffer_arg(),
            values.clone().into_buffer_arg(),
        ),
        PlacesLaunch::new(
            buffer(&at.tiles),
            buffer(&at.queries),
            buffer(&at.slots),
            buffer(&at.branches),
            heads,
            kv_heads,
        ),
        y.clone().into_buffer_arg(),
        tiles,
        element(q),
    );
    y
}

/// `y = softmax(q·kᵀ·scale)·v` over the visible keys of each query. `inputs` are a whole cache and
/// `q`, `[tokens, heads, head_dim]`; `y` is shaped like `q`, in pairs of elements.
///
/// Cubes: x the head, y the tile of queries; `planes · 32` units.
#[cube(launch)]
fn cached<E: Float>(
    inputs: &Inputs<E>,
    places: &Places,
    y: &mut [Vector<E, Const<2>>],
    #[comptime] tiles: Tiles,
    #[define(E)] _element: ElemType,
) {
    let shared = Shared::<[u32]>::new_aligned_slice(comptime!(tiles.cached_bytes() / 4), 16usize);
    let base = shared_address(&shared);
    let tile = Tile::of_cube(places);
    let softmax = sweep::<E>(inputs, places, &tile, base, tiles);
    finish::<E>(&softmax, places, &tile, y, tiles);
}

/// The pass over the key tiles. The queries go to shared memory at `base`, the two stages behind
/// them.
#[cube]
fn sweep<E: Float>(
    inputs: &Inputs<E>,
    places: &Places,
    tile: &Tile,
    base: u32,
    #[comptime] tiles: Tiles,
) -> Softmax {
    let (columns, bytes) = comptime!((tiles.columns, tiles.column_bytes() as u32));
    let plane_bytes = comptime!((tiles.plane_rows() * tiles.stride()) as u32);
    let stages = base + comptime!(tiles.row_bytes() as u32);
    let rows = base + UNIT_POS / 32 * plane_bytes + lane_offset_down(tiles);
    let (along, down) = (lane_offset_along(tiles), lane_offset_down(tiles));
    let (upper, lower) =
        (Query::of_lane(places, tile, 0usize), Query::of_lane(places, tile, 8usize));

    copy_queries::<E>(base, &inputs.q, places, tile, tiles);
    copy_keys::<E>(stages, inputs, places, tile, 0usize, tiles);
    let mut softmax = Softmax::start(tiles);
    let mut scores = zeros(comptime!(tiles.column_tiles()));
    let count = tile.keys.div_ceil(columns);
    for number in 0..count {
        let stage = stages + number as u32 % 2 * (2 * bytes);
        wait_copies();
        sync_cube();
        if number + 1 < count {
            let next = stages + (number + 1) as u32 % 2 * (2 * bytes);
            copy_keys::<E>(next, inputs, places, tile, (number + 1) * columns, tiles);
        }
        multiply_transposed(&mut scores, rows, stage + along, tiles);
        hide(&mut scores, places, tile, number * columns, &upper, &lower, tiles);
        softmax.absorb(&mut scores, tiles);
        multiply_weights(&mut softmax.sums, &scores, stage + bytes + down, tiles);
    }
    softmax
}

/// What the mask needs of a query.
#[derive(CubeType, Clone, Copy)]
struct Query {
    /// Its place in its document; -1 if the tile has no such query, which then sees nothing.
    place: i32,
    branch: i32,
}

#[cube]
impl Query {
    /// The query of this lane's first row, or of the row `below` it.
    fn of_lane(places: &Places, tile: &Tile, #[comptime] below: usize) -> Query {
        let row = lane_row() + below;
        let inside = row < tile.count;
        let place = places.queries[(tile.first + select(inside, row, 0usize)) * 2 + 1];
        Query {
            place: select(inside, place, -1i32),
            branch: places.branches[tile.base + place as usize],
        }
    }
}

/// The first row of this lane in the tile.
#[cube]
fn lane_row() -> usize {
    (UNIT_POS / 32 * 16 + UNIT_POS % 32 / 4) as usize
}

/// Starts the copies of the queries. Rows behind the last query become zeros.
#[cube]
fn copy_queries<E: Float>(
    address: u32,
    source: &[E],
    places: &Places,
    tile: &Tile,
    #[comptime] tiles: Tiles,
) {
    let (chunks, head_dim) = comptime!((tiles.chunks(), tiles.head_dim));
    let head = CUBE_POS_X as usize;
    for number in range_stepped(UNIT_POS as usize, comptime!(QUERIES * chunks), tiles.units()) {
        let (row, chunk) = (number / chunks, number % chunks);
        let inside = row < tile.count;
        let token = places.queries[(tile.first + select(inside, row, 0usize)) * 2] as usize;
        let index = (token * places.heads + head) * head_dim + chunk * 8;
        let target = address + (row * comptime!(tiles.stride()) + chunk * 16) as u32;
        copy_chunk::<E>(target, 0usize, source, index, select(inside, 16u32, 0u32));
    }
}

/// Starts the copies of the keys from the `first`-th of the tile on, and of their values behind
/// them. Those behind the last key become zeros.
#[cube]
fn copy_keys<E: Float>(
    address: u32,
    inputs: &Inputs<E>,
    places: &Places,
    tile: &Tile,
    first: usize,
    #[comptime] tiles: Tiles,
) {
    let (chunks, head_dim) = comptime!((tiles.chunks(), tiles.head_dim));
    let bytes = comptime!(tiles.column_bytes() as u32);
    let head = CUBE_POS_X as usize / (places.heads / places.kv_heads);
    for number in range_stepped(UNIT_POS as usize, comptime!(tiles.columns * chunks), tiles.units())
    {
        let (column, chunk) = (number / chunks, number % chunks);
        let key = first + column;
        let inside = key < tile.keys;
        let place = tile.place(select(inside, key, 0usize));
        let slot = places.slots[tile.base + place] as usize;
        let index = (slot * places.kv_heads + head) * head_dim + chunk * 8;
        let target = address + (column * comptime!(tiles.stride()) + chunk * 16) as u32;
        let count = select(inside, 16u32, 0u32);
        copy_chunk::<E>(target, 0usize, &inputs.k, index, count);
        copy_chunk::<E>(target + bytes, 0usize, &inputs.v, index, count);
    }
    commit_copies();
}

/// Sets the scores of invisible pairs to negative infinity. `first` is the number of the first key
/// of the scores.
#[cube]
fn hide(
    scores: &mut Array<Accumulator>,
    places: &Places,
    tile: &Tile,
    first: usize,
    upper: &Query,
    lower: &Query,
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for n in 0..comptime!(tiles.column_tiles()) {
        let mut pairs = scores[n];
        #[unroll]
        for side in 0..2usize {
            let key = first + comptime!(n * 8 + side) + (UNIT_POS % 4 * 2) as usize;
            let inside = key < tile.keys;
            let place = tile.place(select(inside, key, 0usize));
            let branch = places.branches[tile.base + place];
            let position = select(inside, place as i32, i32::MAX.runtime());
            let above = sees(upper, position, branch);
            let below = sees(lower, position, branch);
            let of_upper = pairs.extract(side);
            let of_lower = pairs.extract(comptime!(side + 2));
            pairs.insert(side, select(above, of_upper, f32::NEG_INFINITY));
            pairs.insert(comptime!(side + 2), select(below, of_lower, f32::NEG_INFINITY));
        }
        scores[n] = pairs;
    }
}

#[cube]
fn sees(query: &Query, place: i32, branch: i32) -> bool {
    let in_branch = select(branch == query.branch, true, branch == 0);
    select(in_branch, place <= query.place, false)
}

/// Normalises the sums and writes them.
#[cube]
fn finish<E: Float>(
    softmax: &Softmax,
    places: &Places,
    tile: &Tile,
    y: &mut [Vector<E, Const<2>>],
    #[comptime] tiles: Tiles,
) {
    #[unroll]
    for r in 0..2usize {
        let mut weight = softmax.weights[r];
        weight += exchange(weight, 1u32);
        weight += exchange(weight, 2u32);
        let row = lane_row() + r * 8;
        if row < tile.count {
            let token = places.queries[(tile.first + row) * 2] as usize;
            let head = token * places.heads + CUBE_POS_X as usize;
            let pair = head * comptime!(tiles.head_dim / 2) + (UNIT_POS % 4) as usize;
            write_row::<E>(y, &softmax.sums, r, 1.0 / weight, pair, tiles);
        }
    }
}

//! Tiles (rows of a head in shared memory) and the two products on them. Each unit keeps a small
//! part of the result in registers.
//!
//! The units of a cube form a square of [`SIDE`] × [`SIDE`]: unit `(x, y)` computes the entries
//! whose row is `y` and whose column is `x`, modulo `SIDE`. All values in shared memory are f32.

use cubecl::prelude::*;

/// Units along each side of a cube.
pub(super) const SIDE: usize = 16;
/// Units of a cube.
pub(super) const UNITS: usize = SIDE * SIDE;

/// Score of a key that is not visible: far below every real score, but finite.
pub(super) const HIDDEN: f32 = -1e30;
/// A score below this value, scaled or not, belongs to a key that is not visible.
pub(super) const HIDDEN_BELOW: f32 = -1e27;

/// The sizes of a kernel, all known at compile time.
///
/// The query heads that share a key/value head are rows of one tile: row `n` is query `n / group`
/// of head `n % group`. So all of them share one read of the keys and values, a single query still
/// fills several rows, and the gradients of keys and values sum over the group in one loop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Tiles {
    /// Rows of a tile of queries.
    pub(super) rows: usize,
    /// Keys of a tile.
    pub(super) keys: usize,
    /// Query heads per key/value head.
    pub(super) group: usize,
    /// Vectors of a head.
    pub(super) width: usize,
    /// Vectors of each head that are in shared memory at a time while scores are computed.
    pub(super) chunk: usize,
}

impl Tiles {
    /// Vectors of shared memory for the operands of a product.
    pub(super) fn stage(self) -> usize {
        (self.rows + self.keys) * (self.chunk + 1)
    }

    /// Entries from one row of scores to the next; not a power of two, so that rows start in
    /// different banks.
    pub(super) fn score_stride(self) -> usize {
        self.keys + 4
    }

    /// Tokens whose whole heads fit into the stage at once.
    pub(super) fn depth(self) -> usize {
        let fits = (self.stage() / self.width).max(1);
        (1 << fits.ilog2()).min(self.keys.min(self.rows))
    }

    /// Vectors of a head that one unit accumulates.
    pub(super) fn columns(self) -> usize {
        self.width.div_ceil(SIDE)
    }

    /// Bytes of shared memory of the largest kernel, with `vector` elements per vector.
    pub(super) fn shared_memory(self, vector: usize) -> usize {
        4 * (self.stage() * vector + self.rows * self.score_stride() + UNITS + self.rows)
    }
}

/// Position of the rows of one key/value head in a tensor.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub(super) struct Heads {
    /// The first vector of the first row.
    pub(super) from: usize,
    /// Vectors from one token to the next.
    pub(super) stride: usize,
    /// Rows: tokens times `group`.
    pub(super) count: usize,
    /// Heads of a token that count as rows.
    #[cube(comptime)]
    pub(super) group: usize,
    /// Vectors of a head.
    #[cube(comptime)]
    pub(super) width: usize,
}

#[cube]
impl Heads {
    /// The query heads of a key/value head, in a tensor
    /// `[rows, tokens, kv_heads * group, head_dim]`.
    pub(super) fn of_queries(
        row: usize,
        kv_head: usize,
        tokens: usize,
        kv_heads: usize,
        #[comptime] tiles: Tiles,
    ) -> Heads {
        let size = comptime!(tiles.group * tiles.width);
        Heads {
            from: (row * tokens * kv_heads + kv_head) * size,
            stride: kv_heads * size,
            count: tokens * tiles.group,
            group: comptime!(tiles.group),
            width: comptime!(tiles.width),
        }
    }

    /// A key/value head, in a tensor `[rows, tokens, kv_heads, head_dim]`.
    pub(super) fn of_keys(
        row: usize,
        kv_head: usize,
        tokens: usize,
        kv_heads: usize,
        #[comptime] tiles: Tiles,
    ) -> Heads {
        Heads {
            from: (row * tokens * kv_heads + kv_head) * tiles.width,
            stride: kv_heads * tiles.width,
            count: tokens,
            group: comptime!(1usize),
            width: comptime!(tiles.width),
        }
    }

    /// The first vector of a row.
    pub(super) fn vector(&self, row: usize) -> usize {
        self.from + row / self.group * self.stride + row % self.group * self.width
    }

    /// Reads one vector of a row; zeros outside the tensor.
    fn load<F: Float, N: Size>(
        &self,
        tensor: &[Vector<F, N>],
        row: usize,
        column: usize,
    ) -> Vector<f32, N> {
        let mut value = Vector::<f32, N>::new(0.0f32);
        if row < self.count && column < self.width {
            value = Vector::<f32, N>::cast_from(tensor[self.vector(row) + column]);
        }
        value
    }

    /// Copies a chunk of each row, from vector `column` on, into the stage. `part` is the offset in
    /// the stage, the number of rows and the vectors per chunk. Rows in the stage are one vector
    /// further apart than they are long, to avoid bank conflicts.
    fn stage_chunk<F: Float, N: Size>(
        &self,
        tensor: &[Vector<F, N>],
        stage: &mut Shared<[Vector<f32, N>]>,
        first: usize,
        column: usize,
        #[comptime] part: (usize, usize, usize),
    ) {
        let (offset, count, chunk) = comptime!(part);
        for index in range_stepped(UNIT_POS as usize, comptime!(count * chunk), UNITS) {
            let (row, own) = (index / chunk, index % chunk);
            stage[offset + row * (chunk + 1) + own] =
                self.load::<F, N>(tensor, first + row, column + own);
        }
    }

    /// Copies `count` whole rows into the stage.
    fn stage_rows<F: Float, N: Size>(
        &self,
        tensor: &[Vector<F, N>],
        stage: &mut Shared<[Vector<f32, N>]>,
        first: usize,
        #[comptime] count: usize,
    ) {
        let width = comptime!(self.width);
        for index in range_stepped(UNIT_POS as usize, comptime!(count * width), UNITS) {
            stage[index] = self.load::<F, N>(tensor, first + index / width, index % width);
        }
    }

    /// Writes the rows that a unit has accumulated, each times its `scale`. The cube has `count`
    /// rows, from `first` on.
    pub(super) fn store<F: Float, N: Size>(
        &self,
        tensor: &mut [Vector<F, N>],
        accumulators: &Array<Vector<f32, N>>,
        scale: &Array<f32>,
        first: usize,
        #[comptime] count: usize,
    ) {
        let columns = comptime!(self.width.div_ceil(SIDE));
        let (x, y) = (UNIT_POS as usize % SIDE, UNIT_POS as usize / SIDE);
        #[unroll]
        for i in 0..comptime!(count / SIDE) {
            let row = first + y + SIDE * i;
            #[unroll]
            for c in 0..columns {
                let column = x + SIDE * c;
                if row < self.count && column < self.width {
                    let value = accumulators[i * columns + c] * Vector::<f32, N>::new(scale[i]);
                    tensor[self.vector(row) + column] = Vector::<F, N>::cast_from(value);
                }
            }
        }
    }
}

/// The products of each row of a tile of queries with each key of a tile: entry `[i, j]` of the
/// unit is at `i * (keys / SIDE) + j`. Every unit of the cube must call it.
#[cube]
pub(super) fn row_products<F: Float, N: Size>(
    stage: &mut Shared<[Vector<f32, N>]>,
    left: (&[Vector<F, N>], Heads, usize),
    right: (&[Vector<F, N>], Heads, usize),
    #[comptime] tiles: Tiles,
) -> Array<f32> {
    let (rows, keys) = comptime!((tiles.rows / SIDE, tiles.keys / SIDE));
    let (x, y) = (UNIT_POS as usize % SIDE, UNIT_POS as usize / SIDE);
    let chunk = comptime!(tiles.chunk);
    let offset = comptime!(tiles.rows * (chunk + 1));
    let mut products = Array::<f32>::new(rows * keys);
    #[unroll]
    for entry in 0..rows * keys {
        products[entry] = 0.0f32;
    }
    for column in range_stepped(0usize, comptime!(tiles.width), chunk) {
        // Up to here, other units may still read the stage.
        sync_cube();
        left.1.stage_chunk::<F, N>(left.0, stage, left.2, column, (0usize, tiles.rows, chunk));
        right.1.stage_chunk::<F, N>(right.0, stage, right.2, column, (offset, tiles.keys, chunk));
        sync_cube();
        for part in 0..chunk {
            let mut b = Array::<Vector<f32, N>>::new(keys);
            #[unroll]
            for j in 0..keys {
                b[j] = stage[offset + (x + SIDE * j) * (chunk + 1) + part];
            }
            #[unroll]
            for i in 0..rows {
                let a = stage[(y + SIDE * i) * (chunk + 1) + part];
                #[unroll]
                for j in 0..keys {
                    products[i * keys + j] += a.dot(b[j]);
                }
            }
        }
    }
    products
}

/// Adds the product of a matrix of weights and rows of a tensor to the unit's `accumulators`. The
/// cube has `count` rows of the result, each a sum over `terms` rows of `right`. The weight of term
/// `t` for row `r` is at `r * strides.0 + t * strides.1`. Every unit of the cube must call it.
#[cube]
pub(super) fn accumulate<F: Float, N: Size>(
    accumulators: &mut Array<Vector<f32, N>>,
    weights: &Shared<[f32]>,
    stage: &mut Shared<[Vector<f32, N>]>,
    right: (&[Vector<F, N>], Heads, usize),
    terms: usize,
    #[comptime] count: usize,
    #[comptime] strides: (usize, usize),
    #[comptime] tiles: Tiles,
) {
    let (depth, width, columns) = comptime!((tiles.depth(), tiles.width, tiles.columns()));
    let (x, y) = (UNIT_POS as usize % SIDE, UNIT_POS as usize / SIDE);
    for first in range_stepped(0usize, terms, depth) {
        // Up to here, other units may still read the stage and write the weights.
        sync_cube();
        right.1.stage_rows::<F, N>(right.0, stage, right.2 + first, depth);
        sync_cube();
        for term in 0..depth {
            let mut values = Array::<Vector<f32, N>>::new(columns);
            #[unroll]
            for c in 0..columns {
                // Units beyond the width of a head compute values that are never stored.
                values[c] = stage[term * width + (x + SIDE * c).min(width - 1)];
            }
            #[unroll]
            for i in 0..comptime!(count / SIDE) {
                let weight = weights[(y + SIDE * i) * strides.0 + (first + term) * strides.1];
                #[unroll]
                for c in 0..columns {
                    accumulators[i * columns + c] += Vector::<f32, N>::new(weight) * values[c];
                }
            }
        }
    }
}

/// A unit's results, zeroed; the cube has `count` rows.
#[cube]
pub(super) fn zeros<N: Size>(
    #[comptime] count: usize,
    #[comptime] tiles: Tiles,
) -> Array<Vector<f32, N>> {
    let size = comptime!(count / SIDE * tiles.columns());
    let mut accumulators = Array::<Vector<f32, N>>::new(size);
    #[unroll]
    for entry in 0..size {
        accumulators[entry] = Vector::<f32, N>::new(0.0f32);
    }
    accumulators
}

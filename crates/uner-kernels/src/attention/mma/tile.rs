//! Geometry of tiles: their sizes (fixed at compile time) and their positions in the tensors.

use cubecl::prelude::*;

/// The axis whose tile a cube keeps while it streams the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Axis {
    /// Queries stay, keys stream.
    Queries,
    /// Keys stay, queries stream.
    Keys,
}

/// Sizes that a launch fixes at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tiles {
    /// The stationary axis.
    pub(super) stationary: Axis,
    /// Elements per head: a multiple of 16, at most 128.
    pub(super) head_dim: usize,
    /// Planes per cube.
    pub(super) planes: usize,
    /// 16-row tiles of the cube's stationary axis per plane.
    pub(super) per_plane: usize,
    /// Tokens of one step along the streamed axis: a multiple of 16.
    pub(super) columns: usize,
}

impl Tiles {
    /// Units per cube.
    pub(super) const fn units(self) -> usize {
        self.planes * 32
    }
    /// Tokens of the stationary axis per cube.
    pub(super) const fn rows(self) -> usize {
        self.planes * self.plane_rows()
    }
    /// Tokens of the stationary axis per plane.
    pub(super) const fn plane_rows(self) -> usize {
        self.per_plane * 16
    }
    /// Bytes from one token to the next in shared memory. An odd number of 16-byte chunks, so that
    /// the eight rows of an `ldmatrix` lie in eight different bank groups.
    pub(super) const fn stride(self) -> usize {
        self.head_dim * 2 + 16
    }
    /// 16-byte chunks of one token.
    pub(super) const fn chunks(self) -> usize {
        self.head_dim / 8
    }
    /// Bytes of the stationary tile.
    pub(super) const fn row_bytes(self) -> usize {
        self.rows() * self.stride()
    }
    /// Bytes of one streamed tile.
    pub(super) const fn column_bytes(self) -> usize {
        self.columns * self.stride()
    }
    /// 8-wide accumulators along the streamed axis.
    pub(super) const fn column_tiles(self) -> usize {
        self.columns / 8
    }
    /// 8-wide accumulators along the head.
    pub(super) const fn head_tiles(self) -> usize {
        self.head_dim / 8
    }
    /// Softmax scale.
    pub(super) fn scale(self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }
    /// Softmax scale times log2(e): the softmax uses powers of two.
    pub(super) fn scale_log2(self) -> f32 {
        (std::f64::consts::LOG2_E / (self.head_dim as f64).sqrt()) as f32
    }
}

/// The run-time sizes of one attention call.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Sizes {
    /// Query tokens: the last of the keys.
    pub(super) queries: usize,
    /// Key tokens.
    pub(super) keys: usize,
    /// Query heads.
    pub(super) heads: usize,
    /// Key/value heads.
    pub(super) kv_heads: usize,
}

#[cube]
impl Sizes {
    /// The same sizes.
    pub(super) fn duplicate(&self) -> Sizes {
        Sizes { queries: self.queries, keys: self.keys, heads: self.heads, kv_heads: self.kv_heads }
    }
}

/// How the rows are packed.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Packing {
    /// `[rows, keys]`, the document of each token.
    pub(super) document: Box<[i32]>,
    /// `[rows, keys]`, the branch of each token.
    pub(super) branch: Box<[i32]>,
    /// Table of [`tabulate_queries`](super::mask_tables::tabulate_queries).
    pub(super) query_table: Box<[i32]>,
    /// Table of [`tabulate_keys`](super::mask_tables::tabulate_keys).
    pub(super) key_table: Box<[i32]>,
    /// The sizes of the call.
    pub(super) sizes: Sizes,
}

/// The position of a cube's tile.
#[derive(CubeType, Clone, Copy)]
pub(super) struct TileCoord {
    /// Row of the batch.
    pub(super) row: usize,
    /// Query head.
    pub(super) head: usize,
    /// Its key/value head.
    pub(super) kv_head: usize,
    /// The tile's first query, or its first key if keys are stationary.
    pub(super) first: usize,
    /// Key position of query 0.
    pub(super) offset: usize,
    /// The sizes of the call.
    pub(super) sizes: Sizes,
}

#[cube]
impl TileCoord {
    /// The tile of this cube, from its position in the grid: x is the head (of the stationary
    /// axis), y the row, z the tile. The longest tiles come first: the last queries, but the first
    /// keys.
    pub(super) fn of_cube(packing: &Packing, #[comptime] tiles: Tiles) -> TileCoord {
        let sizes = packing.sizes.duplicate();
        let group = sizes.heads / sizes.kv_heads;
        let cube_head = CUBE_POS_X as usize;
        let (head, kv_head, tile) = if comptime!(matches!(tiles.stationary, Axis::Queries)) {
            (cube_head, cube_head / group, from_the_end(CUBE_POS_Z, CUBE_COUNT_Z))
        } else {
            (cube_head * group, cube_head, CUBE_POS_Z as usize)
        };
        TileCoord {
            row: CUBE_POS_Y as usize,
            head,
            kv_head,
            first: tile * comptime!(tiles.rows()),
            offset: sizes.keys - sizes.queries,
            sizes,
        }
    }

    /// The first row of this lane: row `g` of its plane's first row tile.
    pub(super) fn lane_row(&self, #[comptime] tiles: Tiles) -> usize {
        self.first
            + (UNIT_POS / 32) as usize * comptime!(tiles.plane_rows())
            + (UNIT_POS % 32 / 4) as usize
    }

    /// The same tile for another query head of the group.
    pub(super) fn with_head(&self, head: usize) -> TileCoord {
        TileCoord {
            row: self.row,
            head,
            kv_head: self.kv_head,
            first: self.first,
            offset: self.offset,
            sizes: self.sizes.duplicate(),
        }
    }

    /// The tile of the same head that begins at `first`.
    pub(super) fn with_first(&self, first: usize) -> TileCoord {
        TileCoord {
            row: self.row,
            head: self.head,
            kv_head: self.kv_head,
            first,
            offset: self.offset,
            sizes: self.sizes.duplicate(),
        }
    }

    /// Index of query 0 of the head in `[rows, heads, queries]`.
    pub(super) fn statistics(&self) -> usize {
        (self.row * self.sizes.heads + self.head) * self.sizes.queries
    }

    /// The run of queries of a `[rows, queries, heads, head_dim]` tensor from `first` on.
    pub(super) fn queries(&self, first: usize, #[comptime] tiles: Tiles) -> Run {
        let stride = self.sizes.heads * comptime!(tiles.head_dim);
        Run {
            base: self.row * self.sizes.queries * stride + self.head * comptime!(tiles.head_dim),
            stride,
            first,
            limit: self.sizes.queries,
        }
    }

    /// The run of keys of a `[rows, keys, kv_heads, head_dim]` tensor from `first` on.
    pub(super) fn keys(&self, first: usize, #[comptime] tiles: Tiles) -> Run {
        let stride = self.sizes.kv_heads * comptime!(tiles.head_dim);
        Run {
            base: self.row * self.sizes.keys * stride + self.kv_head * comptime!(tiles.head_dim),
            stride,
            first,
            limit: self.sizes.keys,
        }
    }
}

/// A run of tokens of one head in `[rows, tokens, heads, head_dim]`.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Run {
    /// Element index of token 0 of the row at this head.
    pub(super) base: usize,
    /// Elements from one token to the next.
    pub(super) stride: usize,
    /// The first token of the tile.
    pub(super) first: usize,
    /// Tokens in the row; tokens from `limit` on read as zeros.
    pub(super) limit: usize,
}

/// `position` of `count`, counted from the end.
#[cube]
fn from_the_end(position: u32, count: u32) -> usize {
    (count - position - 1) as usize
}

#[cube]
impl Run {
    /// The index of this lane's first pair of elements of `token`, in a tensor of pairs.
    pub(super) fn lane_pair(&self, token: usize) -> usize {
        self.base / 2 + token * (self.stride / 2) + (UNIT_POS % 4) as usize
    }
}

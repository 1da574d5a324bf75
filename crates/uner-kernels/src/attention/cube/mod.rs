//! Attention on the GPU. The kernels of this module are portable: they use shared memory and f32
//! arithmetic, no plane operations and no tensor cores, so they run wherever CubeCL runs. A device
//! that meets the requirements of [`mma`] runs those kernels instead.

mod backward;
mod forward;
mod mask;
pub(super) mod plan;
#[cfg(all(test, feature = "webgpu"))]
mod tests;
mod tile;

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use self::plan::plan;
use self::tile::{SIDE, Tiles, UNITS};
use super::{AttentionKernels, Saved, mma};
use crate::cube::{Floats, Ints, contiguous, dims, element, empty, vector_size};

/// The largest head whose gradients fit the registers of a cube.
const LARGEST_HEAD: usize = 256;

/// Elements of each head in shared memory at a time while scores are computed.
const CHUNK: usize = 16;

/// How a call is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// On tensor cores.
    TensorCores,
    /// By the kernels of this module, in tiles of `side` queries by `side` keys.
    Portable { side: usize },
}

/// The fastest path of the device for this element type and head; `None` if it has none.
pub(super) fn path(client: &Client, dtype: ElemType, head_dim: usize) -> Option<Path> {
    if mma::is_served(client, dtype, head_dim) {
        return Some(Path::TensorCores);
    }
    let properties = client.properties();
    let served = properties.supports_type(dtype) && (1..=LARGEST_HEAD).contains(&head_dim);
    let enough_units = properties.hardware.max_units_per_cube as usize >= UNITS;
    let fits = |side: &usize| {
        let tiles = Tiles { rows: *side, keys: *side, group: 1, width: head_dim, chunk: CHUNK };
        tiles.shared_memory(1) <= properties.hardware.max_shared_memory_size
    };
    let side = [64, 32].into_iter().find(fits)?;
    (served && enough_units).then_some(Path::Portable { side })
}

/// The path of a call.
///
/// # Panics
/// When the element types differ, or the device has no path for these tensors.
fn path_of([q, k, v]: [&Floats; 3]) -> Path {
    let dtypes = [q.dtype(), k.dtype(), v.dtype()];
    let (q_shape, k_shape) = (q.shape(), k.shape());
    assert!(
        dtypes.iter().all(|dtype| *dtype == dtypes[0]),
        "`q` {q_shape:?}, `k` {k_shape:?} and `v` differ in element type: {dtypes:?}"
    );
    let [_, _, _, head_dim] = dims(q);
    path(&q.client, element(q), head_dim).unwrap_or_else(|| {
        panic!(
            "attention of `q` {q_shape:?} and `k` {k_shape:?} in `{:?}` is not supported: heads need \
             1 to {LARGEST_HEAD} elements, in a float type of the device",
            dtypes[0]
        )
    })
}

/// A checked call: contiguous tensors, and its dimensions.
struct Call {
    q: Floats,
    k: Floats,
    v: Floats,
    plan: Ints,
    client: Client,
    rows: usize,
    queries: usize,
    keys: usize,
    kv_heads: usize,
    scale: f32,
    /// Elements per vector.
    vector: usize,
    tiles: Tiles,
    dtype: ElemType,
}

impl Call {
    /// `side` is that of [`Path::Portable`].
    fn new([q, k, v]: [Floats; 3], document: Ints, branch: Ints, side: usize) -> Self {
        let [rows, queries, heads, head_dim] = dims(&q);
        let [_, keys, kv_heads, _] = dims(&k);
        let (client, dtype) = (q.client.clone(), element(&q));
        let vector = vector_size(&q, head_dim).min(4);
        let group = heads / kv_heads;
        let tiles = Tiles {
            rows: side,
            keys: side,
            group,
            width: head_dim / vector,
            chunk: CHUNK / vector,
        };
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (q, k, v, plan) = (contiguous(q), contiguous(k), contiguous(v), plan(document, branch));
        Self { q, k, v, plan, client, rows, queries, keys, kv_heads, scale, vector, tiles, dtype }
    }

    /// One cube per tile of queries, key/value head and row.
    fn query_tiles(&self) -> CubeCount {
        self.count((self.queries * self.tiles.group).div_ceil(self.tiles.rows))
    }

    /// One cube per tile of keys, key/value head and row.
    fn key_tiles(&self) -> CubeCount {
        self.count(self.keys.div_ceil(self.tiles.keys))
    }

    fn count(&self, tiles: usize) -> CubeCount {
        CubeCount::Static(tiles as u32, self.kv_heads as u32, self.rows as u32)
    }

    /// The output and its log-sum-exp.
    fn forward(mut self) -> (Floats, Floats) {
        // A few rows, as in decoding, need only one row per unit.
        if self.queries * self.tiles.group <= SIDE {
            self.tiles.rows = SIDE;
        }
        let y = empty(&self.q, self.q.shape(), self.q.dtype());
        let heads = self.kv_heads * self.tiles.group;
        let lse = empty(&self.q, [self.rows, heads, self.queries], DType::F32);
        if self.rows * self.queries == 0 {
            return (y, lse);
        }
        forward::forward::launch(
            &self.client,
            self.query_tiles(),
            CubeDim::new_1d(UNITS as u32),
            self.vector,
            self.q.into_buffer_arg(),
            self.k.into_buffer_arg(),
            self.v.into_buffer_arg(),
            self.plan.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            lse.clone().into_buffer_arg(),
            self.queries,
            self.keys,
            self.scale,
            self.tiles,
            self.dtype,
        );
        (y, lse)
    }

    /// The log-sum-exp and `rowsum(dy ∘ y)` of each query, `[rows, heads, queries, 2]`.
    fn statistics(&self, y: Floats, lse: Floats, dy: Floats) -> Floats {
        let heads = self.kv_heads * self.tiles.group;
        let statistics = empty(&self.q, [self.rows, heads, self.queries, 2], DType::F32);
        backward::delta::launch(
            &self.client,
            CubeCount::Static(self.queries.div_ceil(SIDE) as u32, heads as u32, self.rows as u32),
            CubeDim::new_1d(UNITS as u32),
            self.vector,
            y.into_buffer_arg(),
            dy.into_buffer_arg(),
            lse.into_buffer_arg(),
            statistics.clone().into_buffer_arg(),
            self.queries,
            self.tiles.width,
            self.dtype,
        );
        statistics
    }

    /// The gradients of the keys and of the values.
    fn keys_and_values(&self, statistics: Floats, dy: Floats) -> [Floats; 2] {
        let dk = empty(&self.k, self.k.shape(), self.k.dtype());
        let dv = empty(&self.v, self.v.shape(), self.v.dtype());
        backward::keys_and_values::launch(
            &self.client,
            self.key_tiles(),
            CubeDim::new_1d(UNITS as u32),
            self.vector,
            self.q.clone().into_buffer_arg(),
            self.k.clone().into_buffer_arg(),
            self.v.clone().into_buffer_arg(),
            dy.into_buffer_arg(),
            statistics.into_buffer_arg(),
            self.plan.clone().into_buffer_arg(),
            dk.clone().into_buffer_arg(),
            dv.clone().into_buffer_arg(),
            self.queries,
            self.keys,
            self.scale,
            self.tiles,
            self.dtype,
        );
        [dk, dv]
    }

    /// The gradient of the queries.
    fn queries(self, statistics: Floats, dy: Floats) -> Floats {
        let dq = empty(&self.q, self.q.shape(), self.q.dtype());
        backward::queries::launch(
            &self.client,
            self.query_tiles(),
            CubeDim::new_1d(UNITS as u32),
            self.vector,
            self.q.into_buffer_arg(),
            self.k.into_buffer_arg(),
            self.v.into_buffer_arg(),
            dy.into_buffer_arg(),
            statistics.into_buffer_arg(),
            self.plan.into_buffer_arg(),
            dq.clone().into_buffer_arg(),
            self.queries,
            self.keys,
            self.scale,
            self.tiles,
            self.dtype,
        );
        dq
    }

    /// The gradients of the queries, keys and values.
    fn backward(self, y: Floats, lse: Floats, dy: Floats) -> [Floats; 3] {
        let (y, dy) = (contiguous(y), contiguous(dy));
        let statistics = self.statistics(y, lse, dy.clone());
        let [dk, dv] = self.keys_and_values(statistics.clone(), dy.clone());
        [self.queries(statistics, dy), dk, dv]
    }
}

impl AttentionKernels for Cube {
    fn attention_forward(
        q: Floats,
        k: Floats,
        v: Floats,
        document: Ints,
        branch: Ints,
    ) -> (Floats, Floats) {
        match path_of([&q, &k, &v]) {
            Path::TensorCores => mma::Call::new([q, k, v], document, branch).forward(),
            Path::Portable { side } => Call::new([q, k, v], document, branch, side).forward(),
        }
    }

    fn attention_backward(saved: Saved<Self>, dy: Floats) -> [Floats; 3] {
        let Saved { q, k, v, y, lse, document, branch } = saved;
        match path_of([&q, &k, &v]) {
            Path::TensorCores => mma::Call::new([q, k, v], document, branch).backward(y, &lse, dy),
            Path::Portable { side } => {
                Call::new([q, k, v], document, branch, side).backward(y, lse, dy)
            }
        }
    }
}

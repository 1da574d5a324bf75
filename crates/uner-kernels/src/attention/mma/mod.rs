//! Attention on the tensor cores of NVIDIA cards: bf16 in and out, sums in f32.
//!
//! FlashAttention-2 (Dao 2023) in `mma.sync`, `ldmatrix` and `cp.async`, written as inline PTX for
//! CubeCL's C++ compiler for CUDA. Weights and score gradients are rounded to the element type
//! before they are multiplied, as in FlashAttention-2 and cuDNN. A forward pass is three kernels:
//! two small ones tabulate which 64-token tiles see each other ([`mask_tables`]), then [`forward`]
//! runs. The backward pass tabulates again and runs [`backward::delta`], [`backward_keys`] and
//! [`backward_queries`]. Hopper has its own kernels (`warpgroup`); one replaces the last two.
//! [`cached`] reads keys and values from slots of a cache, on Hopper, too.
//!
//! # Limits
//! Besides the requirements on the device ([`is_served`]):
//! - The tokens of a document are contiguous, as [`Visibility`](crate::Visibility) guarantees.
//! - At most 65,535 rows, and as many tiles of 128 tokens per row; tensors of fewer than `2^32`
//!   elements.
//! - Buffers begin at multiples of 16 bytes: burn copies a slice that does not begin at a multiple
//!   of the device's alignment.

mod backward;
mod backward_keys;
mod backward_queries;
mod cached;
mod copy;
mod forward;
mod mask;
mod mask_tables;
mod product;
mod ptx;
mod softmax;
#[cfg(all(test, feature = "cuda"))]
mod tests;
mod tile;
// Only CubeCL's compiler for CUDA provides the address of a tensor map.
#[cfg(feature = "cuda")]
mod warpgroup;

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;

use self::backward::{DELTA_LANES, DELTA_UNITS, UpstreamLaunch};
use self::forward::InputsLaunch;
use self::mask_tables::MASK_TILE;
use self::tile::{Axis, PackingLaunch, SizesLaunch, Tiles};
use super::cube::plan::signed;
use crate::cube::{Floats, Ints, contiguous, dims, element, empty, zeros};

pub(crate) use self::cached::{CachePlaces, QUERIES, TILE, cached_attention};

/// The largest head whose gradients fit the registers of a plane.
const LARGEST_HEAD: usize = 128;
/// Bytes that one `cp.async` copies; both addresses are multiples of it.
const COPY: u64 = 16;

/// Whether this module supports the element type and head on the device: bf16, heads of a multiple
/// of 16 elements up to 128, and a card of compute capability 8.0 or later whose shared memory
/// holds the tiles (74 KiB for heads of 64 elements, 138 KiB for 128).
pub(crate) fn is_served(client: &Client, dtype: ElemType, head_dim: usize) -> bool {
    let properties = client.properties();
    let (matmul, hardware) = (&properties.features.matmul, &properties.hardware);
    let sums = ElemType::Float(FloatKind::F32);
    let product = MmaConfig { a_type: dtype, b_type: dtype, cd_type: sums, m: 16, n: 8, k: 16 };
    let has_instructions = matmul.mma.contains(&product)
        && matmul.ldmatrix.contains(&dtype)
        && properties.features.copy_async;
    let has_planes = (hardware.plane_size_min, hardware.plane_size_max) == (32, 32);
    let has_head = head_dim.is_multiple_of(16) && (16..=LARGEST_HEAD).contains(&head_dim);
    let has_alignment = properties.memory.alignment.is_multiple_of(COPY);
    let shared_memory = Forms::of(head_dim).shared_memory();
    dtype == ElemType::Float(FloatKind::BF16)
        && has_instructions
        && has_planes
        && has_head
        && has_alignment
        && shared_memory <= hardware.max_shared_memory_size
}

/// The tiles of the three kernels.
#[derive(Clone, Copy)]
struct Forms {
    forward: Tiles,
    queries: Tiles,
    keys: Tiles,
}

impl Forms {
    fn of(head_dim: usize) -> Self {
        let forward = Tiles {
            stationary: Axis::Queries,
            head_dim,
            planes: 4,
            per_plane: 2,
            columns: MASK_TILE,
        };
        let queries = Tiles { planes: 8, per_plane: 1, ..forward };
        Self { forward, queries, keys: Tiles { stationary: Axis::Keys, ..queries } }
    }

    /// Bytes of shared memory of the kernel that needs the most.
    fn shared_memory(self) -> usize {
        let queries = self.queries.backward_bytes(self.queries.stage_bytes());
        let keys = self.keys.backward_bytes(self.keys.query_stage_bytes());
        self.forward.forward_bytes().max(queries).max(keys)
    }
}

/// A checked call: contiguous tensors, and its dimensions.
pub(super) struct Call {
    q: Floats,
    k: Floats,
    v: Floats,
    document: Ints,
    branch: Ints,
    query_table: Ints,
    key_table: Ints,
    /// Bounds from [`mask_tables::tabulate_queries`] and [`mask_tables::tabulate_keys`].
    starts: Ints,
    ends: Ints,
    /// Counts the tiles that the cubes of a kernel have taken.
    next: Ints,
    rows: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    forms: Forms,
}

impl Call {
    /// # Panics
    /// When the call has more rows or tiles than a launch can have.
    pub(super) fn new([q, k, v]: [Floats; 3], document: Ints, branch: Ints) -> Self {
        let [rows, queries, heads, head_dim] = dims(&q);
        let [_, keys, kv_heads, _] = dims(&k);
        let (document, branch) = (signed(document), signed(branch));
        let table = |tokens: usize| {
            let shape = [rows, tokens.div_ceil(MASK_TILE), mask_tables::ENTRY].into();
            empty_device_contiguous_dtype(q.client.clone(), q.device.clone(), shape, DType::I32)
        };
        let (query_table, key_table) = (table(queries), table(keys));
        let bounds = |tokens: usize| {
            let shape = [rows, tokens].into();
            empty_device_contiguous_dtype(q.client.clone(), q.device.clone(), shape, DType::I32)
        };
        let (starts, ends) = (bounds(queries), bounds(keys));
        let next = empty(&q, [1], DType::I32);
        let forms = Forms::of(head_dim);
        let (_, most_rows, most_tiles) = q.client.properties().hardware.max_cube_count;
        assert!(
            rows <= most_rows as usize && keys.div_ceil(forms.keys.rows()) <= most_tiles as usize,
            "attention of `q` {:?} and `k` {:?} has too many rows or keys: at most {most_rows} rows \
             and {most_tiles} times {} keys are supported",
            q.shape(),
            k.shape(),
            forms.keys.rows()
        );
        let (q, k, v) = (contiguous(q), contiguous(k), contiguous(v));
        let call = Self {
            q,
            k,
            v,
            document,
            branch,
            query_table,
            key_table,
            starts,
            ends,
            next,
            rows,
            queries,
            keys,
            heads,
            kv_heads,
            forms,
        };
        call.tabulate();
        call
    }

    #[cfg(feature = "cuda")]
    fn has_warp_groups(&self) -> bool {
        let [_, _, _, head_dim] = dims(&self.q);
        warpgroup::is_served(&self.q.client, head_dim)
    }

    fn is_empty(&self) -> bool {
        self.rows * self.queries == 0
    }

    /// One cube per head, row and tile.
    fn count(&self, heads: usize, tokens: usize, tiles: Tiles) -> CubeCount {
        CubeCount::Static(heads as u32, self.rows as u32, tokens.div_ceil(tiles.rows()) as u32)
    }

    fn sizes(&self) -> SizesLaunch {
        SizesLaunch::new(self.queries, self.keys, self.heads, self.kv_heads)
    }

    fn inputs<E: Float>(&self) -> InputsLaunch<E> {
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|tensor| tensor.clone().into_buffer_arg());
        InputsLaunch::new(q, k, v)
    }

    fn packing(&self) -> PackingLaunch {
        let tensors = [&self.document, &self.branch, &self.query_table, &self.key_table];
        let [document, branch, query_table, key_table] =
            tensors.map(|tensor| tensor.clone().into_buffer_arg());
        PackingLaunch::new(document, branch, query_table, key_table, self.sizes())
    }

    /// Fills the tables of [`mask_tables`].
    fn tabulate(&self) {
        if self.is_empty() {
            return;
        }
        let count = |tokens: usize| {
            CubeCount::Static(tokens.div_ceil(MASK_TILE) as u32, self.rows as u32, 1)
        };
        let units = CubeDim::new_1d(mask_tables::UNITS as u32);
        mask_tables::tabulate_queries::launch(
            &self.q.client,
            count(self.queries),
            units,
            self.document.clone().into_buffer_arg(),
            self.query_table.clone().into_buffer_arg(),
            self.starts.clone().into_buffer_arg(),
            self.next.clone().into_buffer_arg(),
            self.sizes(),
        );
        mask_tables::tabulate_keys::launch(
            &self.q.client,
            count(self.keys),
            units,
            self.document.clone().into_buffer_arg(),
            self.branch.clone().into_buffer_arg(),
            self.key_table.clone().into_buffer_arg(),
            self.ends.clone().into_buffer_arg(),
            self.sizes(),
        );
    }

    /// The output and its log-sum-exp.
    pub(super) fn forward(self) -> (Floats, Floats) {
        #[cfg(feature = "cuda")]
        if self.has_warp_groups() {
            return warpgroup::forward(&self);
        }
        let y = empty(&self.q, self.q.shape(), self.q.dtype());
        let lse = empty(&self.q, [self.rows, self.heads, self.queries], DType::F32);
        let tiles = self.forms.forward;
        if !self.is_empty() {
            forward::forward::launch(
                &self.q.client,
                self.count(self.heads, self.queries, tiles),
                CubeDim::new_1d(tiles.units() as u32),
                self.inputs(),
                self.packing(),
                y.clone().into_buffer_arg(),
                lse.clone().into_buffer_arg(),
                tiles,
                element(&self.q),
            );
        }
        (y, lse)
    }

    /// The gradients of the queries, keys and values.
    pub(super) fn backward(self, y: Floats, lse: &Floats, dy: Floats) -> [Floats; 3] {
        if self.is_empty() {
            return [&self.q, &self.k, &self.v]
                .map(|tensor| zeros(tensor, tensor.shape(), tensor.dtype()));
        }
        let dy = contiguous(dy);
        let delta = self.delta(contiguous(y), dy.clone());
        let saved = [&dy, lse, &delta];
        #[cfg(feature = "cuda")]
        if self.has_warp_groups() {
            return warpgroup::backward(&self, saved);
        }
        let [dk, dv] = self.keys_and_values(saved);
        [self.queries(saved), dk, dv]
    }

    fn upstream<E: Float>(&self, saved: [&Floats; 3]) -> UpstreamLaunch<E> {
        let [dy, lse, delta] = saved.map(|tensor| tensor.clone().into_buffer_arg());
        UpstreamLaunch::new(self.inputs(), dy, lse, delta)
    }

    /// `rowsum(dy ∘ y)`, f32 `[rows, heads, queries]`.
    fn delta(&self, y: Floats, dy: Floats) -> Floats {
        let [_, _, _, head_dim] = dims(&y);
        let delta = empty(&self.q, [self.rows, self.heads, self.queries], DType::F32);
        let rows = self.rows * self.heads * self.queries;
        backward::delta::launch(
            &self.q.client,
            CubeCount::Static(rows.div_ceil(DELTA_UNITS / DELTA_LANES) as u32, 1, 1),
            CubeDim::new_1d(DELTA_UNITS as u32),
            y.into_buffer_arg(),
            dy.into_buffer_arg(),
            delta.clone().into_buffer_arg(),
            self.sizes(),
            head_dim / 8,
            element(&self.q),
        );
        delta
    }

    /// The gradients of the keys and of the values; `saved` are `dy`, `lse` and [`Self::delta`].
    fn keys_and_values(&self, saved: [&Floats; 3]) -> [Floats; 2] {
        let dk = empty(&self.k, self.k.shape(), self.k.dtype());
        let dv = empty(&self.v, self.v.shape(), self.v.dtype());
        let tiles = self.forms.keys;
        backward_keys::backward_keys::launch(
            &self.q.client,
            self.count(self.kv_heads, self.keys, tiles),
            CubeDim::new_1d(tiles.units() as u32),
            self.upstream(saved),
            self.packing(),
            dk.clone().into_buffer_arg(),
            dv.clone().into_buffer_arg(),
            tiles,
            element(&self.q),
        );
        [dk, dv]
    }

    /// The gradient of the queries; `saved` as in [`Self::keys_and_values`].
    fn queries(&self, saved: [&Floats; 3]) -> Floats {
        let dq = empty(&self.q, self.q.shape(), self.q.dtype());
        let tiles = self.forms.queries;
        backward_queries::backward_queries::launch(
            &self.q.client,
            self.count(self.heads, self.queries, tiles),
            CubeDim::new_1d(tiles.units() as u32),
            self.upstream(saved),
            self.packing(),
            dq.clone().into_buffer_arg(),
            tiles,
            element(&self.q),
        );
        dq
    }
}

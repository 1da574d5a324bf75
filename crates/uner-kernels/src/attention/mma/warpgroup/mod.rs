//! The kernels for Hopper (compute capability 9.0), after FlashAttention-3 (Shah et al. 2024). They
//! make the passes of [`mma`](super) with its tables. Warp groups multiply operands in shared
//! memory (`wgmma`), TMA copies the tiles, and one plane does nothing but start these copies.
//!
//! # Limits
//! Heads of 64 and 128 elements: rows of shared memory are 64 elements wide.

mod absorb;
mod backward;
mod exchange;
mod forward;
mod keys;
mod order;
mod output;
mod product;
mod ptx;
mod queries;
mod queue;
mod ring;
mod row_mask;
#[cfg(test)]
mod tests;
mod turns;

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use cubecl::features::Tma;
use cubecl::prelude::*;

use self::backward::UpstreamLaunch;
use self::exchange::PATCH;
use self::product::PANEL;
use self::queries::GATHER_UNITS;
use self::ring::{Ring, UNITS};
use super::Call;
use super::mask_tables::MASK_TILE;
use super::tile::Axis;
use crate::cube::{Floats, dims, element, elementwise, empty};

/// Whether these kernels support heads of this size on a device that supports [`mma`](super): cards
/// of compute capability 9.0. No other has `wgmma`, and CubeCL has no property for it, so this
/// compares the fingerprint.
pub(super) fn is_served(client: &Client, head_dim: usize) -> bool {
    let properties = client.properties();
    let hopper = properties.identity.fingerprint.ends_with("sm90");
    hopper
        && properties.features.tma.contains(Tma::Base)
        && [PANEL, 2 * PANEL].contains(&head_dim)
        && Forms::of(head_dim).shared_memory() <= properties.hardware.max_shared_memory_size
}

/// The layouts of the two kernels.
struct Forms {
    forward: Ring,
    backward: Ring,
}

impl Forms {
    fn of(head_dim: usize) -> Self {
        Self {
            forward: Ring::new(Axis::Queries, queue::BUFFERS, keys::COLUMNS, keys::WORDS, head_dim),
            backward: Ring::new(
                Axis::Keys,
                2,
                backward::columns(head_dim),
                backward::WORDS,
                head_dim,
            ),
        }
    }

    /// The layouts of a call.
    fn of_call(call: &Call) -> Self {
        let [_, _, _, head_dim] = dims(&call.q);
        Self::of(head_dim)
    }

    /// Bytes of shared memory of the kernel that needs the most.
    fn shared_memory(self) -> usize {
        queue::bytes(self.forward).max(self.backward.backward_bytes())
    }
}

/// Tensor map of boxes of `tokens` tokens, one head and one panel, of a contiguous tensor
/// `[rows, tokens, heads, head_dim]`.
#[expect(unsafe_code, reason = "a map is made of a shape and strides")]
fn map(tensor: &Floats, tokens: usize) -> TensorMapArg<Tiled> {
    let [rows, length, heads, head_dim] = dims(tensor);
    let strides = [length * heads * head_dim, heads * head_dim, head_dim, 1];
    let handle = tensor.handle.clone();
    // SAFETY: the tensor is contiguous, so these are its strides (its own may differ for dimensions
    // of 1).
    let tensor_arg = unsafe {
        TensorArg::from_raw_parts(handle, strides.into(), [rows, length, heads, head_dim].into())
    };
    let tile = TiledArgs { tile_size: [1, tokens, 1, PANEL].into() };
    TensorMapArg::new(tile, tensor_arg, element(tensor))
        .with_swizzle(TensorMapSwizzle::B128)
        .with_prefetch(TensorMapPrefetch::B256)
}

/// Number of the device's streaming multiprocessors.
fn processors(client: &Client) -> usize {
    let processors = client.properties().hardware.num_streaming_multiprocessors;
    processors.expect("CUDA reports how many processors a card has") as usize
}

/// The output and its log-sum-exp.
pub(super) fn forward(call: &Call) -> (Floats, Floats) {
    let ring = Forms::of_call(call).forward;
    let y = empty(&call.q, call.q.shape(), call.q.dtype());
    let lse = empty(&call.q, [call.rows, call.heads, call.queries], DType::F32);
    if !call.is_empty() {
        let (order, tiles) = order::order(call, ring.tiles.rows());
        forward::forward::launch(
            &call.q.client,
            CubeCount::new_1d(tiles.min(processors(&call.q.client)) as u32),
            CubeDim::new_1d(UNITS as u32),
            map(&call.q, ring.tiles.rows()),
            map(&call.k, ring.tiles.columns),
            map(&call.v, ring.tiles.columns),
            call.packing(),
            call.starts.clone().into_buffer_arg(),
            order,
            call.next.clone().into_buffer_arg(),
            y.clone().into_buffer_arg(),
            lse.clone().into_buffer_arg(),
            ring,
            element(&call.q),
        );
    }
    (y, lse)
}

/// The inputs of the backward kernel; `saved` are `dy`, the log-sum-exp and `rowsum(dy ∘ y)`.
fn upstream<E: Float>(
    call: &Call,
    [dy, lse, delta]: [&Floats; 3],
    ring: Ring,
) -> UpstreamLaunch<E> {
    let (keys, queries) = (ring.tiles.rows(), ring.tiles.columns);
    UpstreamLaunch::new(
        map(&call.q, queries),
        map(&call.k, keys),
        map(&call.v, keys),
        map(dy, queries),
        lse.clone().into_buffer_arg(),
        delta.clone().into_buffer_arg(),
        call.ends.clone().into_buffer_arg(),
    )
}

/// The gradients of the queries, keys and values; `saved` as in [`upstream`]. The gradient of the
/// queries is summed in an f32 buffer, for whole tiles of 64 queries.
pub(super) fn backward(call: &Call, saved: [&Floats; 3]) -> [Floats; 3] {
    let [dq, dk, dv] =
        [&call.q, &call.k, &call.v].map(|tensor| empty(tensor, tensor.shape(), tensor.dtype()));
    let ring = Forms::of_call(call).backward;
    let patches = call.rows * call.heads * call.queries.div_ceil(MASK_TILE) * ring.panels();
    let sums = empty(&call.q, [patches, PATCH], DType::F32);
    let turns = empty(&call.q, [1 + patches], DType::U32);
    let (cubes, units) = elementwise(1 + patches, &call.q.client);
    queries::clear::launch(&call.q.client, cubes, units, turns.clone().into_buffer_arg());
    backward::backward::launch(
        &call.q.client,
        call.count(call.kv_heads, call.keys, ring.tiles),
        CubeDim::new_1d(UNITS as u32),
        upstream(call, saved, ring),
        call.packing(),
        dk.clone().into_buffer_arg(),
        dv.clone().into_buffer_arg(),
        sums.clone().into_buffer_arg(),
        turns.clone().into_buffer_arg(),
        ring,
        element(&call.q),
    );
    queries::gather::launch(
        &call.q.client,
        CubeCount::Static(patches as u32, 1, 1),
        CubeDim::new_1d(GATHER_UNITS as u32),
        sums.into_buffer_arg(),
        turns.into_buffer_arg(),
        dq.clone().into_buffer_arg(),
        call.sizes(),
        ring.tiles,
        element(&call.q),
    );
    [dq, dk, dv]
}

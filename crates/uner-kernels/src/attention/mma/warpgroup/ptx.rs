//! The PTX instructions of compute capability 9.0 that these kernels add: mbarriers, bulk copies of
//! tiles, barriers of some planes, reallocation of registers. Products and turns have their own
//! files ([`product`](super::product), [`turns`](super::turns)).
//!
//! Addresses are 32-bit addresses of the shared window, as in [`ptx`](super::super::ptx).

use cubecl::prelude::*;
use cubecl_cpp::cuda::ptx::tensor_map_address;

use super::super::ptx::{Accumulator, value};

/// Makes a barrier whose phase ends when `count` units and the expected bytes have arrived.
#[cube]
pub(super) fn make_barrier(barrier: u32, #[comptime] count: usize) {
    gpu_asm!(
        "mbarrier.init.shared::cta.b64 [{barrier}], {count};",
        barrier = in(_) value::<u32>(barrier), count = const count, options(readonly),
    );
}

/// Makes this unit's new barriers visible to the copy hardware. Other units see them behind a
/// barrier of the cube.
#[cube]
pub(super) fn publish_barriers() {
    gpu_asm!("fence.mbarrier_init.release.cluster;", options(readonly));
    fence_for_products();
}

/// Orders writes to shared memory, by this unit or by others it has synchronised with, before later
/// accesses by tensor cores and bulk copies.
#[cube]
pub(super) fn fence_for_products() {
    gpu_asm!("fence.proxy.async.shared::cta;", options(readonly));
}

/// Arrives at a barrier.
#[cube]
pub(super) fn arrive(barrier: u32) {
    gpu_asm!(
        "mbarrier.arrive.shared::cta.b64 _, [{barrier}];",
        barrier = in(_) value::<u32>(barrier), options(readonly),
    );
}

/// Arrives at a barrier whose phase also waits for `bytes` of [`copy_tile`].
#[cube]
pub(super) fn arrive_expecting(barrier: u32, #[comptime] bytes: usize) {
    gpu_asm!(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [{barrier}], {bytes};",
        barrier = in(_) value::<u32>(barrier), bytes = const bytes, options(readonly),
    );
}

/// Arrives at a barrier once this unit's copies by [`copy_word`](super::super::ptx::copy_word) are
/// done.
#[cube]
pub(super) fn arrive_behind_copies(barrier: u32) {
    gpu_asm!(
        "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [{barrier}];",
        barrier = in(_) value::<u32>(barrier), options(readonly),
    );
}

/// Waits until the barrier's phase of this parity has ended: 0 for the first, third and so on. At a
/// new barrier, the phase before the first (of parity 1) has ended.
#[cube]
pub(super) fn wait(barrier: u32, parity: u32) {
    gpu_asm!(
        "{{ .reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, [{barrier}], {parity}; ",
        "@done bra ready; bra again; ready: }}",
        barrier = in(_) value::<u32>(barrier), parity = in(_) value::<u32>(parity), options(readonly),
    );
}

/// The start of a tile in a tensor `[rows, tokens, heads, head_dim]`.
#[derive(CubeType, Clone, Copy)]
pub(super) struct TmaCoord {
    pub(super) row: i32,
    pub(super) token: i32,
    pub(super) head: i32,
    pub(super) element: i32,
}

/// Starts the copy of a tile to shared memory at `target`, a multiple of 1024; `barrier` counts its
/// bytes. Elements outside the tensor read as zeros.
#[cube]
pub(super) fn copy_tile<E: Float>(
    target: u32,
    map: &TensorMap<E, Tiled>,
    at: &TmaCoord,
    barrier: u32,
) {
    let map = tensor_map_address::<E, Tiled>(map);
    gpu_asm!(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes ",
        "[{target}], [{map}, {{{element}, {head}, {token}, {row}}}], [{barrier}];",
        target = in(_) value::<u32>(target), map = in(_) map,
        element = in(_) value::<i32>(at.element), head = in(_) value::<i32>(at.head),
        token = in(_) value::<i32>(at.token), row = in(_) value::<i32>(at.row),
        barrier = in(_) value::<u32>(barrier), options(readonly),
    );
}

/// Waits until `units` units, this plane included, have arrived at barrier `number` (1 to 15) of
/// the cube.
#[cube]
pub(super) fn named_barrier_sync(number: u32, #[comptime] units: usize) {
    gpu_asm!(
        "bar.sync {number}, {units};",
        number = in(_) value::<u32>(number), units = const units, options(readonly),
    );
}

/// Arrives at barrier `number` of the cube without waiting for the others.
#[cube]
pub(super) fn named_barrier_arrive(number: u32, #[comptime] units: usize) {
    gpu_asm!(
        "bar.arrive {number}, {units};",
        number = in(_) value::<u32>(number), units = const units, options(readonly),
    );
}

/// [`UNIT_POS`], read at each use, so that values computed from it take no registers elsewhere.
#[cube]
pub(super) fn read_unit() -> u32 {
    let unit: u32;
    gpu_asm!("mov.u32 {unit}, %%tid.x;", unit = out(_) unit, options(nomem));
    unit
}

/// Waits for the lanes of the plane.
#[cube]
pub(super) fn sync_lanes() {
    gpu_asm!("bar.warp.sync 0xffffffff;", options(readonly));
}

/// Gives up registers above `count`, a multiple of 8. All four planes of a warp group call it.
#[cube]
pub(super) fn register_dealloc(#[comptime] count: usize) {
    gpu_asm!("setmaxnreg.dec.sync.aligned.u32 {count};", count = const count, options(readonly));
}

/// Takes registers up to `count`, once others have given up enough.
#[cube]
pub(super) fn register_alloc(#[comptime] count: usize) {
    gpu_asm!("setmaxnreg.inc.sync.aligned.u32 {count};", count = const count, options(readonly));
}

/// The value of the plane's first lane. The compiler then knows that it is uniform: values computed
/// from it take no registers of units. All lanes of the plane must take part.
#[cube]
pub(super) fn first_lane(own: u32) -> u32 {
    let first: u32;
    gpu_asm!(
        "shfl.sync.idx.b32 {first}, {own}, 0, 31, 0xffffffff;",
        first = out(_) first, own = in(_) value::<u32>(own), options(nomem),
    );
    first
}

/// Stores four 8x8 matrices of 16-bit elements; lane `l` names row `l % 8` of matrix `l / 8`.
#[cube]
pub(super) fn store_matrices(
    address: u32,
    #[comptime] offset: usize,
    words: &Array<u32>,
    #[comptime] first: usize,
) {
    gpu_asm!(
        "stmatrix.sync.aligned.m8n8.x4.shared.b16 [{address} + {offset}], {{{one}, {two}, {three}, {four}}};",
        address = in(_) value::<u32>(address),
        one = in(_) value::<u32>(words[first]), two = in(_) value::<u32>(words[first + 1]),
        three = in(_) value::<u32>(words[first + 2]), four = in(_) value::<u32>(words[first + 3]),
        offset = const offset, options(readonly),
    );
}

/// Stores the four numbers of an accumulator side by side.
#[cube]
pub(super) fn store_accumulator(address: u32, #[comptime] offset: usize, tile: Accumulator) {
    gpu_asm!(
        "st.shared.v4.f32 [{address} + {offset}], {{{one}, {two}, {three}, {four}}};",
        address = in(_) value::<u32>(address),
        one = in(_) tile.extract(0usize), two = in(_) tile.extract(1usize),
        three = in(_) tile.extract(2usize), four = in(_) tile.extract(3usize),
        offset = const offset, options(readonly),
    );
}

/// Stores two integers side by side.
#[cube]
pub(super) fn store_integers(address: u32, #[comptime] offset: usize, first: i32, second: i32) {
    gpu_asm!(
        "st.shared.v2.s32 [{address} + {offset}], {{{first}, {second}}};",
        address = in(_) value::<u32>(address), first = in(_) value::<i32>(first), second = in(_) value::<i32>(second),
        offset = const offset, options(readonly),
    );
}

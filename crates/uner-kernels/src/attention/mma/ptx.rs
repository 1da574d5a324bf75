//! The PTX instructions of the attention kernels, one `#[cube]` function each.
//!
//! These kernels access shared memory by 32-bit shared-window addresses, not by CubeCL slices:
//! `ldmatrix`, `cp.async` and `ld.shared` take such an address directly, and every tile offset
//! folds into the instruction's immediate. They need CubeCL's CUDA C++ compiler (no other lowers
//! `gpu_asm!`) and compute capability 8.0.
//!
//! Fragment layouts are those of `mma.m16n8k16` (PTX ISA, "Matrix Fragments for mma.m16n8k16"):
//! with `g = lane / 4` and `t = lane % 4`, an accumulator holds `(g, 2t)`, `(g, 2t + 1)`,
//! `(g + 8, 2t)`, `(g + 8, 2t + 1)`.
//!
//! `gpu_asm!` passes a mutable local by its address, so every operand goes through [`value`] or
//! `extract`.

#![expect(
    unsafe_code,
    reason = "instructions take addresses; the caller checks bounds, as everywhere in a kernel"
)]

use cubecl::prelude::*;

/// Four 32-bit registers of packed 16-bit elements: an A operand, or the B operands of two adjacent
/// tiles.
pub(super) type Fragment = Vector<u32, Const<4>>;
/// The f32 accumulator of one 16x8 tile.
pub(super) type Accumulator = Vector<f32, Const<4>>;

/// The value of a variable.
#[cube]
pub(super) fn value<T: Scalar>(variable: T) -> T {
    intrinsic!(|scope| { variable.read_value(scope).into() })
}

/// The shared-window address of the first element of `shared`, in bytes.
#[cube]
pub(super) fn shared_address<E: CubePrimitive>(shared: &[E]) -> u32 {
    let address: u32;
    gpu_asm!(
        "{{ .reg .u64 window; cvta.to.shared.u64 window, {pointer}; cvt.u32.u64 {address}, window; }}",
        address = out(_) address, pointer = in(_) unsafe { shared.as_ptr_unchecked() },
        options(pure, nomem),
    );
    address
}

/// `d = a · b + c` of bf16 for one 16x8 tile and 16 of the contracted axis.
///
/// `b` holds two tiles side by side; `side` (0 or 1) picks one.
#[cube]
pub(super) fn multiply_accumulate(
    a: Fragment,
    b: Fragment,
    #[comptime] side: usize,
    c: Accumulator,
) -> Accumulator {
    let d: Accumulator;
    gpu_asm!(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d}, {{{a0}, {a1}, {a2}, {a3}}}, ",
        "{{{b0}, {b1}}}, {{{c0}, {c1}, {c2}, {c3}}};",
        d = out(_) d,
        a0 = in(_) a.extract(0usize), a1 = in(_) a.extract(1usize),
        a2 = in(_) a.extract(2usize), a3 = in(_) a.extract(3usize),
        b0 = in(_) b.extract(comptime!(2 * side)), b1 = in(_) b.extract(comptime!(2 * side + 1)),
        c0 = in(_) c.extract(0usize), c1 = in(_) c.extract(1usize),
        c2 = in(_) c.extract(2usize), c3 = in(_) c.extract(3usize),
        options(nomem),
    );
    d
}

/// Four 8x8 matrices of 16-bit elements from shared memory; lane `l` names row `l % 8` of matrix
/// `l / 8`.
#[cube]
pub(super) fn load_matrices(address: u32, #[comptime] offset: usize) -> Fragment {
    let fragment: Fragment;
    gpu_asm!(
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {fragment}, [{address} + {offset}];",
        fragment = out(_) fragment, address = in(_) value::<u32>(address), offset = const offset, options(readonly),
    );
    fragment
}

/// [`load_matrices`], each matrix transposed.
#[cube]
pub(super) fn load_transposed(address: u32, #[comptime] offset: usize) -> Fragment {
    let fragment: Fragment;
    gpu_asm!(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {fragment}, [{address} + {offset}];",
        fragment = out(_) fragment, address = in(_) value::<u32>(address), offset = const offset, options(readonly),
    );
    fragment
}

/// Starts a copy of 16 bytes at `source[index]` to shared memory. Only the first `bytes` (0 or 16)
/// are read; the rest is zeros.
#[cube]
pub(super) fn copy_chunk<E: Float>(
    address: u32,
    #[comptime] offset: usize,
    source: &[E],
    index: usize,
    bytes: u32,
) {
    gpu_asm!(
        "cp.async.cg.shared.global [{address} + {offset}], [{pointer}], 16, {bytes};",
        address = in(_) value::<u32>(address),
        pointer = mem_in(_) unsafe { source.slice(index, index + 8).as_ptr_unchecked() },
        bytes = in(_) value::<u32>(bytes), offset = const offset, options(explicit_mem),
    );
}

/// Starts a copy of the 4-byte element `source[index]` to shared memory; `bytes` is 4, or 0 for a
/// zero.
#[cube]
pub(super) fn copy_word<T: Numeric>(address: u32, source: &[T], index: usize, bytes: u32) {
    gpu_asm!(
        "cp.async.ca.shared.global [{address}], [{pointer}], 4, {bytes};",
        address = in(_) value::<u32>(address),
        pointer = mem_in(_) unsafe { source.slice(index, index + 1).as_ptr_unchecked() },
        bytes = in(_) value::<u32>(bytes), options(explicit_mem),
    );
}

/// Closes the group of copies started so far.
#[cube]
pub(super) fn commit_copies() {
    gpu_asm!("cp.async.commit_group;", options(readonly));
}

/// Waits for the copies of this unit; a barrier makes those of the other units visible.
#[cube]
pub(super) fn wait_copies() {
    gpu_asm!("cp.async.wait_group 0;", options(readonly));
}

/// Adds 1 to a counter in global memory; returns the old value. It does not use `add`: the compiler
/// merges the `add`s of a plane and broadcasts the result at once, though it is needed much later.
#[cube]
pub(super) fn count_up(counter: &mut [i32]) -> u32 {
    let before: u32;
    gpu_asm!(
        "atom.relaxed.gpu.global.inc.u32 {before}, [{pointer}], 0x7fffffff;",
        before = out(_) before, pointer = mem_inout(_) unsafe { counter.as_mut_ptr_unchecked() }, options(explicit_mem),
    );
    before
}

/// Two adjacent f32 from shared memory.
#[cube]
pub(super) fn load_floats(address: u32, #[comptime] offset: usize) -> Vector<f32, Const<2>> {
    let pair: Vector<f32, Const<2>>;
    gpu_asm!(
        "ld.shared.v2.f32 {pair}, [{address} + {offset}];",
        pair = out(_) pair, address = in(_) value::<u32>(address), offset = const offset, options(readonly),
    );
    pair
}

/// Two adjacent i32 from shared memory.
#[cube]
pub(super) fn load_integers(address: u32, #[comptime] offset: usize) -> Vector<i32, Const<2>> {
    let pair: Vector<i32, Const<2>>;
    gpu_asm!(
        "ld.shared.v2.s32 {pair}, [{address} + {offset}];",
        pair = out(_) pair, address = in(_) value::<u32>(address), offset = const offset, options(readonly),
    );
    pair
}

/// `low` and `high` rounded to the nearest bf16, in one register.
#[cube]
pub(super) fn pack(low: f32, high: f32) -> u32 {
    let packed: u32;
    gpu_asm!(
        "cvt.rn.bf16x2.f32 {packed}, {high}, {low};",
        packed = out(_) packed, high = in(_) value::<f32>(high), low = in(_) value::<f32>(low),
        options(pure, nomem),
    );
    packed
}

/// `2^x` by the hardware's approximation (relative error about `2^-22`), `0` at negative infinity.
#[cube]
pub(super) fn exp2(x: f32) -> f32 {
    let y: f32;
    gpu_asm!("ex2.approx.ftz.f32 {y}, {x};", y = out(_) y, x = in(_) value::<f32>(x), options(pure, nomem));
    y
}

/// `own` of the lane whose number differs by `mask` (XOR). All lanes of the plane must take part.
#[cube]
pub(super) fn exchange(own: f32, #[comptime] mask: u32) -> f32 {
    let other: f32;
    gpu_asm!(
        "shfl.sync.bfly.b32 {other}, {value}, {mask}, 31, 0xffffffff;",
        other = out(_) other, value = in(_) value::<f32>(own), mask = const mask, options(nomem),
    );
    other
}

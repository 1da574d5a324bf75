//! Sums over many cubes in global memory, in a fixed order: each cube adds in its turn, so the bits
//! are the same on each run. The copy hardware adds (`cp.reduce.async.bulk`); a word for each sum
//! counts the turns.

#![expect(
    unsafe_code,
    reason = "instructions take addresses; the caller checks bounds, as everywhere in a kernel"
)]

use cubecl::prelude::*;

use super::super::ptx::value;

/// The number of cubes that took a number before this one. A cube that waits only for smaller
/// numbers waits for cubes that have started, in whichever order the card starts them.
#[cube]
pub(super) fn take_number(word: &mut [u32], index: usize) -> u32 {
    let number: u32;
    gpu_asm!(
        "atom.relaxed.gpu.global.add.u32 {number}, [{pointer}], 1;",
        number = out(_) number,
        pointer = mem_inout(_) unsafe { word.slice_mut(index, index + 1).as_mut_ptr_unchecked() },
        options(explicit_mem),
    );
    number
}

/// Waits until `turns[index]` is at least `turn`, and makes earlier writes visible to this unit's
/// bulk copies.
#[cube]
pub(super) fn await_turn(turns: &mut [u32], index: usize, turn: u32) {
    gpu_asm!(
        "{{ .reg .pred reached; .reg .b32 now; again: ld.acquire.gpu.global.u32 now, [{pointer}]; ",
        "setp.ge.u32 reached, now, {turn}; @reached bra ready; bra again; ready: }}",
        pointer = mem_inout(_) unsafe { turns.slice_mut(index, index + 1).as_mut_ptr_unchecked() },
        turn = in(_) value::<u32>(turn), options(explicit_mem),
    );
    gpu_asm!("fence.proxy.async.global;", options(readonly));
}

/// Raises `turns[index]` to `turn`. A unit that reads it also sees this unit's earlier writes.
#[cube]
pub(super) fn end_turn(turns: &mut [u32], index: usize, turn: u32) {
    gpu_asm!(
        "red.release.gpu.global.max.u32 [{pointer}], {turn};",
        pointer = mem_inout(_) unsafe { turns.slice_mut(index, index + 1).as_mut_ptr_unchecked() },
        turn = in(_) value::<u32>(turn), options(explicit_mem),
    );
}

/// Starts the copy of `bytes` bytes at the shared address `source` to `target`, from `index` on.
#[cube]
pub(super) fn write(target: &mut [f32], index: usize, source: u32, #[comptime] bytes: usize) {
    gpu_asm!(
        "cp.async.bulk.global.shared::cta.bulk_group [{pointer}], [{source}], {bytes};",
        pointer = mem_inout(_) unsafe { target.slice_mut(index, index + 1).as_mut_ptr_unchecked() },
        source = in(_) value::<u32>(source), bytes = const bytes, options(explicit_mem),
    );
}

/// [`write()`], but adds to the values in `target`.
#[cube]
pub(super) fn add(target: &mut [f32], index: usize, source: u32, #[comptime] bytes: usize) {
    gpu_asm!(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [{pointer}], [{source}], {bytes};",
        pointer = mem_inout(_) unsafe { target.slice_mut(index, index + 1).as_mut_ptr_unchecked() },
        source = in(_) value::<u32>(source), bytes = const bytes, options(explicit_mem),
    );
}

/// Waits until the copies that this unit started have read their sources.
#[cube]
pub(super) fn wait_read() {
    gpu_asm!("cp.async.bulk.commit_group;", options(readonly));
    gpu_asm!("cp.async.bulk.wait_group.read 0;", options(readonly));
}

/// Waits until the copies of [`wait_read`] are done.
#[cube]
pub(super) fn wait_written() {
    gpu_asm!("cp.async.bulk.wait_group 0;", options(readonly));
}

//! The kernels for Hopper on the emulator, with the checks of the tests of [`mma`](super::super).

use super::super::tests::{Packing, Shape, check, check_all};
use crate::offline::emulator::{Change, Emulator};
use crate::offline::recorder::Card::{Hopper, Part};

#[test]
fn heads_of_64_equal_the_reference() {
    check_all(Part, 64, &[1, 65, 130, 200]);
}

#[test]
fn heads_of_128_equal_the_reference() {
    check_all(Part, 128, &[127, 300]);
}

/// Lengths of the ignored tests, as in [`mma`](super::super).
const LENGTHS: [usize; 8] = [1, 7, 33, 63, 129, 255, 400, 515];

#[test]
#[ignore = "takes minutes"]
fn every_length_of_heads_of_64_equals_the_reference() {
    check_all(Part, 64, &LENGTHS);
}

#[test]
#[ignore = "takes minutes"]
fn every_length_of_heads_of_128_equals_the_reference() {
    check_all(Part, 128, &LENGTHS);
}

/// A fault: its description, the kernel, the change.
type Fault = (&'static str, &'static str, Change);

const NO_WAIT: Change =
    |text| text.replace("wgmma.wait_group.sync.aligned 0", "wgmma.wait_group.sync.aligned 1");
const EARLY: Change =
    |text| text.replace("wgmma.wait_group.sync.aligned 1", "wgmma.wait_group.sync.aligned 2");

#[test]
fn the_emulator_finds_faults_of_forward() {
    find([
        ("a barrier counts too few", "forward", |text| text.replace("[%0], 33;", "[%0], 32;")),
        ("a turn is passed to too few", "forward", |text| {
            text.replacen("bar.arrive %0, 256", "bar.arrive %0, 128", 1)
        }),
        ("no wait for a product", "forward", NO_WAIT),
        ("a tile is given back too early", "forward", EARLY),
        ("no transposition", "forward", |text| text.replace("adds, 1, 1, 1;", "adds, 1, 1, 0;")),
        ("another operand", "forward", |text| {
            text.replacen("add.s32 low, %64, 2;", "add.s32 low, %64, 4;", 1)
        }),
    ]);
}

/// The text without the first fence behind the last `what`.
fn without_fence_behind(text: &str, what: &str) -> String {
    let (before, behind) = text.rsplit_once(what).expect("the kernel has it");
    format!(
        "{before}{what}{}",
        behind.replacen("fence.proxy.async.shared::cta;", "bar.warp.sync 0xffffffff;", 1)
    )
}

#[test]
fn the_emulator_finds_faults_of_backward() {
    find([
        ("no wait for a product", "backward", NO_WAIT),
        ("a patch is put away too early", "backward", EARLY),
        ("no transposition", "backward", |text| {
            text.replace("adds, 1, 1, 1, 1;", "adds, 1, 1, 0, 1;")
        }),
        ("score gradients without a fence", "backward", |text| {
            without_fence_behind(text, "stmatrix")
        }),
        ("score gradients are read before all are there", "backward", |text| {
            text.replacen("[%0], 8;", "[%0], 4;", 1)
        }),
        ("a patch without a fence", "backward", |text| without_fence_behind(text, "st.shared.v4")),
        ("a patch is overwritten while it is fetched", "backward", |text| {
            text.replace("cp.async.bulk.wait_group.read 0;", "cp.async.bulk.commit_group;")
        }),
    ]);
}

#[test]
fn the_emulator_finds_faults_of_turns() {
    find([
        ("a turn that is not awaited", "backward", |text| {
            text.replace("ld.acquire.gpu", "ld.relaxed.gpu")
        }),
        ("no fence behind a turn", "backward", |text| {
            text.replace("fence.proxy.async.global;", "fence.proxy.async.shared::cta;")
        }),
        ("a turn ends too early", "backward", |text| {
            text.replace("cp.async.bulk.wait_group 0;", "cp.async.bulk.commit_group;")
        }),
    ]);
}

/// Checks that each fault makes a check fail that passes without it.
fn find<const N: usize>(faults: [Fault; N]) {
    // Two query heads per key head, so that the backward kernel reuses its buffers.
    let shape = Shape { rows: 1, queries: 300, keys: 300, heads: 2, kv_heads: 1, head_dim: 64 };
    let Some(mut emulator) = Emulator::open(Hopper) else { return };
    check(&mut emulator, shape, Packing::Branches).unwrap_or_else(|error| panic!("{error}"));
    for (what, kernel, change) in faults {
        emulator.set_fault(kernel, change);
        let found = check(&mut emulator, shape, Packing::Branches);
        assert!(found.is_err(), "{what} in `{kernel}` is not found");
    }
}

#[test]
fn the_emulator_finds_faults_between_query_tiles() {
    let faults: [(&str, Change); 3] = [
        ("queries are given back by too few", |text| text.replacen("[%0], 8;", "[%0], 1;", 1)),
        ("queries wait for too many", |text| text.replacen("[%0], 1;", "[%0], 2;", 1)),
        ("lanes exchange the same word twice", |text| text.replace("%1, 2, 31,", "%1, 1, 31,")),
    ];
    // 20 query tiles.
    let shape = Shape { rows: 1, queries: 130, keys: 130, heads: 10, kv_heads: 1, head_dim: 64 };
    let Some(mut emulator) = Emulator::open(Part) else { return };
    for (what, change) in faults {
        emulator.set_fault("forward", change);
        let found = check(&mut emulator, shape, Packing::Causal);
        assert!(found.is_err(), "{what}: not found");
    }
}

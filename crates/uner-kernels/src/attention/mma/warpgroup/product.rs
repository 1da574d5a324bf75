//! Products of a warp group (`wgmma`): 64 rows times up to 128 columns. The operands lie in shared
//! memory; the left one may also lie in registers.
//!
//! Operands in shared memory are panels: rows of 64 elements (128 bytes) in the 128-byte swizzle,
//! as bulk copies write them. A wider matrix is several panels, one behind the other. A product may
//! contract along the rows of a panel or down them. The accumulator of a plane is a row of
//! `mma.m16n8k16` accumulators side by side, so the softmax of [`mma`](super::super) works on it.
//!
//! A product runs on while the planes go on. Its registers pass through [`finish`], which waits;
//! nothing else may touch them before. Each product is one piece of text, so the compiler cannot
//! insert anything.

#![expect(clippy::needless_pass_by_value, reason = "text and registers are named at compile time")]

use std::fmt::Write as _;

use cubecl::ir::dialect::vector::CompositeExtractOp;
use cubecl::ir::dialect::{InlineAsmOp, InputKind, InputSpec, MemoryClobbers, RegSpec};
use cubecl::ir::types::VectorType;
use cubecl::prelude::*;

use super::super::ptx::{Accumulator, pack};

/// Elements per row of a panel.
pub(super) const PANEL: usize = 64;
/// Bytes per row of a panel.
pub(super) const PANEL_BYTES: usize = 128;
/// Upper half of a descriptor: eight rows of a panel take 1024 bytes; the 128-byte swizzle.
const DESCRIPTOR: u32 = 1 << 30 | 1024 >> 4;

/// How an operand in shared memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Operand {
    /// Rows of each of its panels.
    pub(super) rows: usize,
    /// Whether the contraction goes down the rows of the panels, not along them.
    pub(super) down: bool,
}

impl Operand {
    /// Units of 16 bytes from the operand's address to the elements of a step (16 of the contracted
    /// axis).
    const fn offset(self, step: usize) -> usize {
        let bytes = if self.down {
            step * 16 * PANEL_BYTES
        } else {
            let steps = PANEL / 16;
            step / steps * self.rows * PANEL_BYTES + step % steps * 32
        };
        bytes / 16
    }
    /// The lower half of a descriptor without the address: the distance from one panel to the next,
    /// unless steps go from panel to panel.
    const fn leading(self) -> u32 {
        let bytes = if self.down { self.rows * PANEL_BYTES } else { 16 };
        (bytes as u32 / 16) << 16
    }
}

/// The lower half of the descriptor of an operand at a shared address.
#[cube]
fn descriptor(address: u32, #[comptime] operand: Operand) -> u32 {
    address / 16 + comptime!(operand.leading())
}

/// The operands of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Factors {
    /// The left operand, 64 rows; `None` if it lies in registers.
    pub(super) a: Option<Operand>,
    /// The right operand.
    pub(super) b: Operand,
    /// Columns: a multiple of 8, at most 128.
    pub(super) columns: usize,
    /// Steps of 16 along the contracted axis.
    pub(super) steps: usize,
}

/// The PTX of a product. Its operands: the new sums; if it `adds`, the old sums; the words of A
/// (registers or descriptor); the word of B's descriptor.
fn text(factors: Factors, adds: bool) -> String {
    let Factors { a, b, columns, steps } = factors;
    let sums = columns / 2;
    let first = if adds { sums + 1 } else { 1 };
    let last = first + if a.is_some() { 1 } else { 4 * steps };
    let mut text = String::from("{ .reg .pred adds; .reg .b32 low, high; .reg .b64 a, b; ");
    let mut add =
        |arguments: std::fmt::Arguments| text.write_fmt(arguments).expect("memory takes any text");
    for sum in 0..if adds { sums } else { 0 } {
        add(format_args!("mov.f32 %{sum}, ${}; ", sum + 1));
    }
    add(format_args!("mov.b32 high, {DESCRIPTOR}; wgmma.fence.sync.aligned; "));
    for step in 0..steps {
        if step < 2 {
            add(format_args!("setp.ne.b32 adds, {}, 0; ", u32::from(adds || step > 0)));
        }
        if let Some(a) = a {
            add(format_args!(
                "add.s32 low, ${first}, {}; mov.b64 a, {{low, high}}; ",
                a.offset(step)
            ));
        }
        add(format_args!("add.s32 low, ${last}, {}; mov.b64 b, {{low, high}}; ", b.offset(step)));
        add(format_args!("wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.bf16.bf16 $0, "));
        let down = u32::from(b.down);
        if let Some(a) = a {
            add(format_args!("a, b, adds, 1, 1, {}, {down}; ", u32::from(a.down)));
        } else {
            let [one, two, three, four] = std::array::from_fn(|n| first + 4 * step + n);
            add(format_args!("{{${one}, ${two}, ${three}, ${four}}}, b, adds, 1, 1, {down}; "));
        }
    }
    text + "wgmma.commit_group.sync.aligned; }"
}

/// The PTX of [`finish`]. Its operands: the sums' new registers, then the old ones.
fn wait_text(sums: usize, left: usize) -> String {
    let mut text = format!("{{ wgmma.wait_group.sync.aligned {left}; ");
    for sum in 0..sums {
        write!(text, "mov.f32 %{sum}, ${}; ", sum + 1).expect("memory takes any text");
    }
    // The text must name every operand.
    text + "/* $0 */ }"
}

/// Inline PTX with `results` f32 results. Operands are numbered in order: all results as one,
/// floats, words.
#[cube]
fn assembly(
    #[comptime] text: String,
    #[comptime] results: usize,
    floats: Sequence<f32>,
    words: Sequence<u32>,
) -> Sequence<f32> {
    intrinsic!(|scope| {
        let floats = floats.into_iter().map(|float| float.read_value(scope));
        let words = words.into_iter().map(|word| word.read_value(scope));
        let inputs: Vec<_> = floats.chain(words).collect();
        let specs =
            inputs.iter().map(|_| InputSpec::new(InputKind::In, RegSpec::Inferred)).collect();
        let float = f32::__expand_as_type(scope);
        let result = VectorType::get(scope.ctx_mut(), float, results).into();
        let clobbers = MemoryClobbers::Readonly;
        let op = InlineAsmOp::new(
            scope.ctx_mut(),
            vec![result],
            vec![RegSpec::Inferred],
            text,
            clobbers,
            inputs,
            specs,
        );
        scope.register(&op);
        let vector = op.results(scope.ctx())[0];
        let mut values = Sequence::<f32>::__expand_new(scope);
        for index in 0..results {
            let op = CompositeExtractOp::new(scope.ctx_mut(), vector, index);
            values.__expand_push_method(scope, scope.register_with_result(&op).into());
        }
        values
    })
}

/// The registers of accumulators.
#[cube]
fn registers(sums: &mut Array<Accumulator>, #[comptime] count: usize) -> Sequence<f32> {
    let mut floats = Sequence::<f32>::new();
    #[unroll]
    for i in 0..comptime!(count / 4) {
        let tile = sums[i];
        floats.push(tile.extract(0usize));
        floats.push(tile.extract(1usize));
        floats.push(tile.extract(2usize));
        floats.push(tile.extract(3usize));
    }
    floats
}

/// Sets accumulators from registers.
#[cube]
fn set(sums: &mut Array<Accumulator>, registers: &Sequence<f32>, #[comptime] count: usize) {
    #[unroll]
    for i in 0..comptime!(count / 4) {
        let mut tile = Accumulator::new(*registers.index(comptime!(4 * i)));
        tile.insert(1usize, *registers.index(comptime!(4 * i + 1)));
        tile.insert(2usize, *registers.index(comptime!(4 * i + 2)));
        tile.insert(3usize, *registers.index(comptime!(4 * i + 3)));
        sums[i] = tile;
    }
}

/// Starts `sums = a · b`, or `sums += a · b` if it `adds`; `a` and `b` are shared addresses.
#[cube]
pub(super) fn multiply(
    sums: &mut Array<Accumulator>,
    a: u32,
    b: u32,
    #[comptime] factors: Factors,
    #[comptime] adds: bool,
) {
    let left = comptime!(factors.a.expect("the left operand lies in shared memory"));
    let count = comptime!(factors.columns / 2);
    let mut words = Sequence::<u32>::new();
    words.push(descriptor(a, left));
    words.push(descriptor(b, comptime!(factors.b)));
    let before = registers(sums, comptime!(if adds { count } else { 0 }));
    let results = assembly(comptime!(text(factors, adds)), count, before, words);
    set(sums, &results, count);
}

/// Starts `sums += weights · b`; `b` is a shared address.
#[cube]
pub(super) fn multiply_weights(
    sums: &mut Array<Accumulator>,
    weights: &Array<u32>,
    b: u32,
    #[comptime] factors: Factors,
) {
    let mut words = Sequence::<u32>::new();
    #[unroll]
    for i in 0..comptime!(4 * factors.steps) {
        words.push(weights[i]);
    }
    words.push(descriptor(b, comptime!(factors.b)));
    let count = comptime!(factors.columns / 2);
    let results = assembly(comptime!(text(factors, true)), count, registers(sums, count), words);
    set(sums, &results, count);
}

/// Waits for the product of `sums`: until at most `left` products, started later, still run.
#[cube]
pub(super) fn finish(
    sums: &mut Array<Accumulator>,
    #[comptime] count: usize,
    #[comptime] left: usize,
) {
    let words = Sequence::<u32>::new();
    let results = assembly(comptime!(wait_text(count, left)), count, registers(sums, count), words);
    set(sums, &results, count);
}

/// Rounds accumulators of `columns` columns to the left operand of a product that contracts over
/// these columns.
#[cube]
pub(super) fn operand(sums: &Array<Accumulator>, #[comptime] columns: usize) -> Array<u32> {
    let mut words = Array::<u32>::new(comptime!(columns / 4));
    #[unroll]
    for i in 0..comptime!(columns / 8) {
        let tile = sums[i];
        words[2 * i] = pack(tile.extract(0usize), tile.extract(1usize));
        words[2 * i + 1] = pack(tile.extract(2usize), tile.extract(3usize));
    }
    words
}

//! Chooses the layout of a step: rows of a micro-batch, recomputed blocks, sharding.
//!
//! A block that keeps its activations is not recomputed in the backward pass. A larger micro-batch
//! adds to the gradients of all parameters less often, and its matrix products run at a higher rate
//! ([`Rates::matmul`]). Both take memory. For each power of two of rows, as few blocks are
//! recomputed as memory allows; the fastest of these layouts is chosen by
//!
//! ```text
//! seconds = operations of a step, recomputed ones included / matmul rate of a micro-batch
//!         + (micro-batches - 1) · 3 · bytes of all gradients / memory rate
//!         + micro-batches · bytes of sharded blocks that are sent / link rate
//! ```
//!
//! (an addition reads the sum and a term, and writes the sum). Of equally fast layouts, the one
//! with the smallest micro-batch is chosen. Blocks are sharded (ZeRO-3) only if nothing else fits.

use std::num::NonZeroUsize;

use uner_model::Size;
use uner_trainer::MicroBatchRows;

use super::{Layout, Memory, Sharding, TokenFlops, Workload, is_sharded};
use crate::machine::Rates;

/// Most rows of a micro-batch: more rows gain nothing.
const MOST_ROWS: usize = 64;

/// Factor between the rows of two candidates.
const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");

/// Bytes a second that a rank sends to others. Assumed: the rate of a GPU through host memory;
/// linked GPUs are faster.
const LINK: f64 = 25e9;

/// A layout and its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The layout.
    pub layout: Layout,
    /// The memory that it takes.
    pub memory: Memory,
}

impl Choice {
    fn new(work: &Workload, layout: Layout) -> Self {
        Self { layout, memory: Memory::of(work, layout) }
    }

    /// The layout with these rows that takes the least memory.
    pub(super) fn smallest(work: &Workload, micro_batch_rows: NonZeroUsize) -> Self {
        let recomputed_blocks = work.model.num_hidden_layers;
        let of = |sharding| Layout { micro_batch_rows, recomputed_blocks, sharding };
        let choices = shardings(work).iter().map(|&sharding| Self::new(work, of(sharding)));
        choices.min_by_key(|choice| choice.memory.total()).expect("there is always a sharding")
    }
}

/// Chooses the fastest layout among those that take at most `available` bytes.
///
/// # Errors
/// The layout that takes the least memory, if none fits.
pub fn choose(
    work: &Workload,
    rows: MicroBatchRows,
    rates: &Rates,
    available: u64,
) -> Result<Choice, Choice> {
    let candidates: Vec<NonZeroUsize> = match rows {
        MicroBatchRows::Fixed(rows) => vec![rows],
        MicroBatchRows::Auto => {
            let most = work.step_rows.clamp(1, MOST_ROWS).next_power_of_two();
            std::iter::successors(NonZeroUsize::new(1), |rows| rows.checked_mul(TWO))
                .take_while(|rows| rows.get() <= most)
                .collect()
        }
    };
    let best = shardings(work).iter().find_map(|&sharding| {
        let of_rows = |&rows: &NonZeroUsize| fewest_recomputed(work, rows, sharding, available);
        let fitting = candidates.iter().filter_map(of_rows);
        let seconds = |choice: &Choice| seconds(work, choice.layout, rates);
        fitting.min_by(|a, b| seconds(a).total_cmp(&seconds(b)))
    });
    best.ok_or_else(|| Choice::smallest(work, candidates[0]))
}

/// How the state can be sharded, the fastest first. The base of an adapter is not sharded.
fn shardings(work: &Workload) -> &'static [Sharding] {
    match work {
        Workload { ranks: 1, .. } => &[Sharding::None],
        Workload { adapter: Some(_), .. } => &[Sharding::Zero1],
        Workload { must_shard: true, .. } => &[Sharding::Zero3],
        _ => &[Sharding::Zero1, Sharding::Zero3],
    }
}

/// Of the layouts with these rows that fit, the one with the fewest recomputed blocks.
fn fewest_recomputed(
    work: &Workload,
    micro_batch_rows: NonZeroUsize,
    sharding: Sharding,
    available: u64,
) -> Option<Choice> {
    let layouts = (0..=work.model.num_hidden_layers).map(|recomputed_blocks| Layout {
        micro_batch_rows,
        recomputed_blocks,
        sharding,
    });
    layouts
        .map(|layout| Choice::new(work, layout))
        .find(|choice| choice.memory.total() <= available)
}

/// Seconds of a step, by the formula above.
pub(super) fn seconds(work: &Workload, layout: Layout, rates: &Rates) -> f64 {
    let size = work.size();
    let flops = TokenFlops::new(work, layout, 0.0);
    let tokens = (work.step_rows * work.row_length) as f64;
    let micro_batches = work.step_rows.div_ceil(layout.micro_batch_rows.get()).max(1);
    let added = (micro_batches - 1) as f64 * 3.0 * work.storage.gradient * size.trained() as f64;
    let rows = layout.micro_batch_rows.get().min(work.step_rows) * work.row_length;
    flops.executed * tokens / rates.matmul(rows)
        + added / rates.memory
        + micro_batches as f64 * sent(work, &size, layout) / LINK
}

/// Bytes that a rank sends in a micro-batch; 0 unless blocks are sharded. They are its shards of
/// the weights (twice for recomputed blocks), and the gradients of the other ranks' shards.
fn sent(work: &Workload, size: &Size, layout: Layout) -> f64 {
    if !is_sharded(layout) {
        return 0.0;
    }
    let Workload { storage, ranks, .. } = *work;
    let gathered = (size.blocks + layout.recomputed_blocks as u64) as f64 * storage.parameter;
    let reduced = size.blocks as f64 * storage.gradient;
    (gathered + reduced) * size.block() as f64 * (1.0 - 1.0 / ranks as f64)
}

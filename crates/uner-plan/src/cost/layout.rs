//! Which layout a step gets: how many rows a micro-batch has and how many blocks keep their graph.
//!
//! Both take memory and save time. A block that keeps its graph is not run again in the backward
//! pass; a larger micro-batch adds to the gradients of all parameters less often. For each power of
//! two of rows the most kept blocks that fit are taken, and of these layouts the one that loses the
//! least time, where
//!
//! ```text
//! lost = recomputed blocks · 2 · parameters of a block · tokens of a step / matmul rate
//!      + (micro-batches - 1) · 3 · bytes of all gradients / memory rate
//!      + micro-batches · bytes of divided blocks that are sent / link rate
//! ```
//!
//! (a sum is read, a term is read, a sum is written). Of equal ones the smallest micro-batch is
//! taken. That a product over more tokens runs at a higher rate is left out: the rate is measured
//! at one size. Blocks are divided among the ranks only where nothing else fits.

use uner_model::Size;

use super::{Layout, Memory, Setup};

/// Rows of a micro-batch, at most: beyond this nothing is gained.
const MOST_ROWS: usize = 64;

/// Bytes a second that a rank sends to others, assumed: what a GPU reaches through the host's
/// memory. Between linked GPUs it is more.
const LINK: f64 = 25e9;

/// How fast a device is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Floating-point operations of a matrix product, a second.
    pub matmul: f64,
    /// Bytes read and written by an addition, a second.
    pub memory: f64,
}

/// What a recipe says of the rows of a micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// So many.
    Fixed(usize),
    /// What the plan chooses.
    Auto,
}

/// A layout and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The layout.
    pub layout: Layout,
    /// Its memory.
    pub memory: Memory,
}

impl Choice {
    fn new(setup: &Setup, layout: Layout) -> Self {
        Self { layout, memory: Memory::of(setup, layout) }
    }

    /// The layout of these rows that takes the least.
    pub(super) fn smallest(setup: &Setup, micro_batch_rows: usize) -> Self {
        let of = |divided| Self::new(setup, Layout { micro_batch_rows, kept_blocks: 0, divided });
        let choices = divisions(setup).iter().copied().map(of);
        choices
            .min_by_key(|choice| choice.memory.total())
            .expect("a model can always be held whole")
    }
}

/// The layout that loses the least time among those that take at most `available` bytes.
///
/// # Errors
/// Where none fits, the one that takes the least.
pub fn choose(setup: &Setup, rows: Rows, rates: Rates, available: u64) -> Result<Choice, Choice> {
    let candidates: Vec<usize> = match rows {
        Rows::Fixed(rows) => vec![rows],
        Rows::Auto => {
            let most = setup.step_rows.clamp(1, MOST_ROWS).next_power_of_two();
            std::iter::successors(Some(1), |rows| Some(rows * 2))
                .take_while(|rows| *rows <= most)
                .collect()
        }
    };
    let best = divisions(setup).iter().find_map(|&divided| {
        let fitting =
            candidates.iter().filter_map(|&rows| most_kept(setup, rows, divided, available));
        fitting.min_by(|a, b| lost(setup, a.layout, rates).total_cmp(&lost(setup, b.layout, rates)))
    });
    best.ok_or_else(|| Choice::smallest(setup, candidates[0]))
}

/// Whether blocks can be divided, what is better first: there have to be others, and the base of an
/// adapter stays whole.
fn divisions(setup: &Setup) -> &'static [bool] {
    match setup {
        Setup { ranks: 1, .. } | Setup { adapter: Some(_), .. } => &[false],
        Setup { divided: true, .. } => &[true],
        _ => &[false, true],
    }
}

/// The layout of these rows with the most kept blocks that fit.
fn most_kept(
    setup: &Setup,
    micro_batch_rows: usize,
    divided: bool,
    available: u64,
) -> Option<Choice> {
    let layouts = (0..=setup.model.num_hidden_layers).rev().map(|kept_blocks| Layout {
        micro_batch_rows,
        kept_blocks,
        divided,
    });
    layouts
        .map(|layout| Choice::new(setup, layout))
        .find(|choice| choice.memory.total() <= available)
}

/// Seconds of a step that a layout with all the memory in the world would not need.
pub(super) fn lost(setup: &Setup, layout: Layout, rates: Rates) -> f64 {
    let size = setup.size();
    let recomputed = setup.model.num_hidden_layers - layout.kept_blocks;
    let tokens = (setup.step_rows * setup.row_length) as f64;
    let again = recomputed as f64 * 2.0 * size.block_matrices as f64 * tokens;
    let micro_batches = setup.step_rows.div_ceil(layout.micro_batch_rows).max(1);
    let added = (micro_batches - 1) as f64 * 3.0 * setup.storage.gradient * size.trained() as f64;
    again / rates.matmul
        + added / rates.memory
        + micro_batches as f64 * sent(setup, &size, layout) / LINK
}

/// Bytes that a rank sends in a micro-batch where blocks are divided: its shares of their weights,
/// once more for those that run again, and the gradients of the others' shares.
fn sent(setup: &Setup, size: &Size, layout: Layout) -> f64 {
    if !layout.divided {
        return 0.0;
    }
    let Setup { storage, ranks, model, .. } = *setup;
    let gathered = (2 * model.num_hidden_layers - layout.kept_blocks) as f64 * storage.parameter;
    let reduced = size.blocks as f64 * storage.gradient;
    (gathered + reduced) * size.block() as f64 * (1.0 - 1.0 / ranks as f64)
}

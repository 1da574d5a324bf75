//! Changes that make a plan fit that is too large.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::LazyLock;

use uner_model::{AdapterConfig, BaseFormat};
use uner_trainer::{MicroBatchRows, MomentFormat, PrecisionConfig, Rounding};

use super::{Choice, OnFrozen, Workload};

/// The adapter that is proposed: a usual one on every layer.
static ADAPTER: LazyLock<AdapterConfig> = LazyLock::new(AdapterConfig::default);
/// Tokens by which rows are shortened step by step, and their shortest length: a passage with a
/// question has more.
const SHORTEST: usize = 128;
/// Most devices that are proposed.
const MOST_DEVICES: usize = 64;

/// A change to a run, from cheap to expensive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Micro-batches of this many rows: the same result, a little slower.
    MicroBatchRows(usize),
    /// Moments in 8 bits, and then also bf16 parameters without masters: nearly the same result.
    Precision(PrecisionConfig),
    /// Rows of this many tokens: longer conversations lose queries.
    MaxSeqLen(usize),
    /// An adapter of the usual rank on every layer of a frozen model, which is stored in this
    /// format or, for `None`, in the type that it is computed with.
    Adapter(Option<BaseFormat>),
    /// This many devices, over which master weights and moments are sharded (ZeRO-1), and the
    /// blocks too if needed (ZeRO-3).
    Devices(usize),
}

/// A change, and the memory of a device that the run would then need in its smallest layout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The change.
    pub change: Change,
    /// Bytes.
    pub needed: u64,
}

/// Lists the changes that each make a run fit into `available` bytes of a device, from cheap to
/// expensive.
pub fn changes(work: &Workload, rows: MicroBatchRows, available: u64) -> Vec<Outcome> {
    let fits = |(change, work): (Change, Workload)| {
        let needed = Choice::smallest(&work, NonZeroUsize::MIN).memory.total();
        (needed <= available).then_some(Outcome { change, needed })
    };
    let fewer = fewer_rows(work, rows, available);
    let mut shorter = (1..work.row_length.div_ceil(SHORTEST)).rev().map(|steps| {
        let row_length = steps * SHORTEST;
        (Change::MaxSeqLen(row_length), Workload { row_length, ..*work })
    });
    let shorter = shorter.find_map(fits);
    let counts = std::iter::successors(Some(2 * work.ranks), |count| Some(2 * count))
        .take_while(|c| *c <= MOST_DEVICES);
    let mut sharded =
        counts.map(|count| (Change::Devices(count), Workload { ranks: count, ..*work }));
    let precision = fewer_bits(work).into_iter().filter_map(fits);
    let others = other_storage(work).into_iter().filter_map(fits);
    let devices = sharded.find_map(fits);
    fewer.into_iter().chain(precision).chain(shorter).chain(others).chain(devices).collect()
}

/// The most rows of a micro-batch that fit, fewer than the recipe sets.
fn fewer_rows(work: &Workload, rows: MicroBatchRows, available: u64) -> Option<Outcome> {
    let MicroBatchRows::Fixed(rows) = rows else { return None };
    let needed = |rows| Choice::smallest(work, rows).memory.total();
    // Bisection, since more rows take more memory: `fit` rows fit, `rows` do not.
    let (mut fit, mut rows) = (0, rows.get());
    while rows - fit > 1 {
        let middle = NonZeroUsize::new(fit.midpoint(rows))?;
        if needed(middle) <= available { fit = middle.get() } else { rows = middle.get() }
    }
    let fit = NonZeroUsize::new(fit)?;
    Some(Outcome { change: Change::MicroBatchRows(fit.get()), needed: needed(fit) })
}

/// The same run with its state stored in fewer bits, the mildest change first, without changes that
/// are already made.
fn fewer_bits<'a>(work: &Workload<'a>) -> Vec<(Change, Workload<'a>)> {
    let short = |rounding| PrecisionConfig { moments: MomentFormat::EightBit, rounding };
    let mut found: Vec<(Change, Workload)> = Vec::new();
    for config in [Rounding::Nearest, Rounding::Stochastic].map(short) {
        let storage = work.storage.with(config);
        let last = found.last().map_or(work.storage, |(_, work)| work.storage);
        if storage != last {
            found.push((Change::Precision(config), Workload { storage, ..*work }));
        }
    }
    found
}

/// The same run with an adapter on a frozen model, in fewer and fewer bits.
fn other_storage<'a>(work: &Workload<'a>) -> Vec<(Change, Workload<'a>)> {
    if work.adapter.is_some() {
        return Vec::new();
    }
    let on = |base| {
        let adapter = Some(OnFrozen { adapter: &ADAPTER, base });
        (Change::Adapter(base), Workload { adapter, ..*work })
    };
    [None, Some(BaseFormat::EightBit), Some(BaseFormat::FourBit)].map(on).to_vec()
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MicroBatchRows(rows) => {
                write!(out, "`train.micro_batch_rows` = {rows}, or \"auto\"")
            }
            Self::Precision(PrecisionConfig { moments, rounding }) => {
                write!(
                    out,
                    "`[train.precision]` with `moments = \"{moments}\"` and `rounding = \"{rounding}\"`"
                )
            }
            Self::MaxSeqLen(length) => {
                write!(out, "`train.max_seq_len` = {length} (longer conversations lose queries)")
            }
            Self::Adapter(base) => {
                let base = match base {
                    None => "",
                    Some(BaseFormat::EightBit) => " in 8 bits",
                    Some(BaseFormat::FourBit) => " in 4 bits",
                };
                write!(
                    out,
                    "an adapter of rank {} on every layer, the model frozen{base}",
                    ADAPTER.rank
                )
            }
            Self::Devices(devices) => {
                write!(out, "{devices} devices (ZeRO-1, or ZeRO-3 where that does not fit)")
            }
        }
    }
}

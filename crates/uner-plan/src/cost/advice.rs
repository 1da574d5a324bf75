//! What makes a plan fit that does not.

use std::fmt;

use std::sync::LazyLock;

use uner_model::{AdapterConfig, BaseForm};
use uner_trainer::{MomentForm, PrecisionConfig, Rounding};

use super::{Choice, OnFrozen, Rows, Setup};

/// The adapter that is proposed, a usual one on every layer.
static ADAPTER: LazyLock<AdapterConfig> = LazyLock::new(AdapterConfig::default);
/// Rows are shortened in steps of so many tokens, and not below them: a passage with a question has
/// more.
const SHORTEST: usize = 128;
/// Devices that are proposed, at most.
const MOST_DEVICES: usize = 64;

/// A change to a run, from cheap to expensive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Micro-batches of so many rows: the same result, a little slower.
    MicroBatchRows(usize),
    /// Moments, and then parameters and their masters too, in fewer bits: nearly the same result.
    Precision(PrecisionConfig),
    /// Rows of so many tokens: longer conversations lose queries.
    MaxSeqLen(usize),
    /// An adapter of the usual rank on every layer of a model that is frozen in so many bits, or as
    /// it is computed with.
    Adapter(Option<BaseForm>),
    /// So many devices, which share master weights and moments, and the blocks too where that is
    /// needed.
    Devices(usize),
}

/// A change and what the run would then take on a device, laid out to take the least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The change.
    pub change: Change,
    /// Bytes.
    pub needed: u64,
}

/// What could be changed so that a run fits in `available` bytes of a device, from cheap to
/// expensive; only what does make it fit, each by itself.
pub fn changes(setup: &Setup, rows: Rows, available: u64) -> Vec<Outcome> {
    let fits = |(change, setup): (Change, Setup)| {
        let needed = Choice::smallest(&setup, 1).memory.total();
        (needed <= available).then_some(Outcome { change, needed })
    };
    let fewer = fewer_rows(setup, rows, available);
    let mut shorter = (1..setup.row_length.div_ceil(SHORTEST)).rev().map(|steps| {
        let row_length = steps * SHORTEST;
        (Change::MaxSeqLen(row_length), Setup { row_length, ..*setup })
    });
    let shorter = shorter.find_map(fits);
    let counts = std::iter::successors(Some(2 * setup.ranks), |count| Some(2 * count))
        .take_while(|c| *c <= MOST_DEVICES);
    let mut sharded =
        counts.map(|count| (Change::Devices(count), Setup { ranks: count, ..*setup }));
    let precision = fewer_bits(setup).into_iter().filter_map(fits);
    let others = other_storage(setup).into_iter().filter_map(fits);
    let devices = sharded.find_map(fits);
    fewer.into_iter().chain(precision).chain(shorter).chain(others).chain(devices).collect()
}

/// The most rows of a micro-batch that fit, fewer than the recipe says.
fn fewer_rows(setup: &Setup, rows: Rows, available: u64) -> Option<Outcome> {
    let Rows::Fixed(rows) = rows else { return None };
    let needed = |rows| Choice::smallest(setup, rows).memory.total();
    // More rows take more: the border is halved towards. `fit` rows do, `rows` do not.
    let (mut fit, mut rows) = (0, rows);
    while rows - fit > 1 {
        let middle = fit.midpoint(rows);
        if needed(middle) <= available { fit = middle } else { rows = middle }
    }
    (fit > 0).then(|| Outcome { change: Change::MicroBatchRows(fit), needed: needed(fit) })
}

/// The same run with its state stored in fewer bits, the mildest first; only what is not done
/// already.
fn fewer_bits<'a>(setup: &Setup<'a>) -> Vec<(Change, Setup<'a>)> {
    let short = |rounding| PrecisionConfig { moments: MomentForm::EightBit, rounding };
    let mut found: Vec<(Change, Setup)> = Vec::new();
    for config in [Rounding::Nearest, Rounding::Stochastic].map(short) {
        let storage = setup.storage.with(config);
        let last = found.last().map_or(setup.storage, |(_, setup)| setup.storage);
        if storage != last {
            found.push((Change::Precision(config), Setup { storage, ..*setup }));
        }
    }
    found
}

/// The same run with its numbers stored otherwise.
fn other_storage<'a>(setup: &Setup<'a>) -> Vec<(Change, Setup<'a>)> {
    if setup.adapter.is_some() {
        return Vec::new();
    }
    let on = |base| {
        let adapter = Some(OnFrozen { adapter: &ADAPTER, base });
        (Change::Adapter(base), Setup { adapter, ..*setup })
    };
    [None, Some(BaseForm::EightBit), Some(BaseForm::FourBit)].map(on).to_vec()
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
                    Some(BaseForm::EightBit) => " in 8 bits",
                    Some(BaseForm::FourBit) => " in 4 bits",
                };
                write!(
                    out,
                    "an adapter of rank {} on every layer, the model frozen{base}",
                    ADAPTER.rank
                )
            }
            Self::Devices(devices) => {
                write!(
                    out,
                    "{devices} devices, which share the optimizer's state and, where needed, the blocks"
                )
            }
        }
    }
}

//! Visibility reduced to ranges, so that the kernels visit only live tiles (with a visible pair).
//!
//! The tokens of a document are contiguous, so query *i* sees keys in `start[i]..=i`, and key *j*
//! is seen by queries in `j..end[j]`. Both bounds grow along the row: the first entry of a tile of
//! queries and the last of a tile of keys bound the whole tile. Branches cut holes into these
//! ranges. The kernels find them by the lowest and highest branch of every [`SUMMARY_TOKENS`]
//! tokens.
//!
//! One row of the plan: `start[keys]`, `end[keys]`, `branch[keys]`, `lowest[summaries]`,
//! `highest[summaries]`. For padding, `start` is the start of the next document and `end` the end
//! of the one before: the ranges are empty, and both bounds still grow.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::prelude::*;

use crate::attention::PADDING;
use crate::cube::Ints;

/// Tokens that share one summary of their branches.
pub(super) const SUMMARY_TOKENS: usize = 64;

/// Units of the cube that plans one row.
const UNITS: usize = 256;

/// Plans `document` and `branch`, both `[rows, keys]`; returns `[rows, plan_width(keys)]`.
pub(super) fn plan(document: Ints, branch: Ints) -> Ints {
    let [rows, keys] = document.shape().dims();
    let (document, branch) = (signed(document), signed(branch));
    let (client, device) = (document.client.clone(), document.device.clone());
    let plan = empty_device_contiguous_dtype(
        client.clone(),
        device,
        [rows, plan_width(keys)].into(),
        DType::I32,
    );
    write_plan::launch(
        &client,
        CubeCount::Static(rows as u32, 1, 1),
        CubeDim::new_1d(UNITS as u32),
        document.into_buffer_arg(),
        branch.into_buffer_arg(),
        plan.clone().into_buffer_arg(),
        keys,
    );
    plan
}

/// The documents or branches of a call, contiguous.
///
/// # Panics
/// When `tensor` is not I32.
pub(in crate::attention) fn signed(tensor: Ints) -> Ints {
    let (dtype, shape) = (tensor.dtype(), tensor.shape());
    assert_eq!(dtype, DType::I32, "documents and branches {shape:?} must be I32 on a GPU");
    into_contiguous(tensor)
}

/// Entries of a plan's row.
#[cube]
pub(super) fn plan_width(keys: usize) -> usize {
    3 * keys + 2 * keys.div_ceil(SUMMARY_TOKENS)
}

/// Whether a document or a stretch of padding starts at `token`; the row's end counts as a start.
#[cube]
fn starts(document: &[i32], row: usize, token: usize, keys: usize) -> bool {
    let mut starts = token == 0 || token == keys;
    if !starts {
        starts = document[row * keys + token] != document[row * keys + token - 1];
    }
    starts
}

/// One cube per row. Each unit plans a stretch of tokens. The results of the other units say where
/// the stretch's first document started and where its last one ends.
#[cube(launch)]
fn write_plan(document: &[i32], branch: &[i32], plan: &mut [i32], keys: usize) {
    let (row, unit) = (CUBE_POS_X as usize, UNIT_POS as usize);
    let from_row = row * plan_width(keys);
    let stretch = keys.div_ceil(UNITS);
    let from = (unit * stretch).min(keys);
    let to = (from + stretch).min(keys);

    // The first and the last start in each stretch; `keys` and 0 if it has none.
    let mut first = Shared::<[u32]>::new_slice(UNITS);
    let mut last = Shared::<[u32]>::new_slice(UNITS);
    let mut first_start = keys;
    let mut last_start = 0usize;
    for token in from..to {
        if starts(document, row, token, keys) {
            first_start = first_start.min(token);
            last_start = token;
        }
    }
    first[unit] = first_start as u32;
    last[unit] = last_start as u32;
    sync_cube();

    let mut start = 0usize;
    for other in 0..unit {
        start = start.max(last[other] as usize);
    }
    let mut end = keys;
    for other in unit + 1..UNITS {
        end = end.min(first[other] as usize);
    }
    for back in from..to {
        let token = from + to - 1 - back;
        plan[from_row + keys + token] = end as i32;
        if starts(document, row, token, keys) {
            end = token;
        }
    }
    for token in from..to {
        if starts(document, row, token, keys) {
            start = token;
        }
        plan[from_row + token] = start as i32;
        if document[row * keys + token] == PADDING {
            plan[from_row + token] = plan[from_row + keys + token];
            plan[from_row + keys + token] = start as i32;
        }
        plan[from_row + 2 * keys + token] = branch[row * keys + token];
    }
    summarize_branches(document, branch, plan, keys);
}

/// Writes the lowest and the highest branch of every [`SUMMARY_TOKENS`] tokens, without padding.
#[cube]
fn summarize_branches(document: &[i32], branch: &[i32], plan: &mut [i32], keys: usize) {
    let from_row = CUBE_POS_X as usize * plan_width(keys) + 3 * keys;
    let summaries = keys.div_ceil(SUMMARY_TOKENS);
    for summary in range_stepped(UNIT_POS as usize, summaries, UNITS) {
        let mut lowest = i32::MAX.runtime();
        let mut highest = i32::MIN.runtime();
        for token in summary * SUMMARY_TOKENS..((summary + 1) * SUMMARY_TOKENS).min(keys) {
            let at = CUBE_POS_X as usize * keys + token;
            if document[at] != PADDING {
                lowest = lowest.min(branch[at]);
                highest = highest.max(branch[at]);
            }
        }
        plan[from_row + summary] = lowest;
        plan[from_row + summaries + summary] = highest;
    }
}

/// Reads the plan of one row.
#[derive(CubeType, Clone, Copy)]
#[expand(derive(Clone, Copy))]
pub(super) struct Plan {
    /// Offset of the row's plan.
    from: usize,
    /// Keys of the row.
    keys: usize,
}

/// No pair of a tile is visible.
pub(super) const NOTHING: u32 = 0;
/// Some pairs of a tile may be visible.
pub(super) const SOMETHING: u32 = 1;
/// Every pair of a tile is visible.
pub(super) const EVERYTHING: u32 = 2;

#[cube]
impl Plan {
    pub(super) fn of_row(row: usize, keys: usize) -> Plan {
        Plan { from: row * plan_width(keys), keys }
    }

    /// The first key that the query at `token` sees; behind `token` if it sees none.
    pub(super) fn start(&self, plan: &[i32], token: usize) -> usize {
        plan[self.from + token] as usize
    }

    /// The end of the queries that see the key at `token`; at most `token` if none does.
    pub(super) fn end(&self, plan: &[i32], token: usize) -> usize {
        plan[self.from + self.keys + token] as usize
    }

    pub(super) fn branch(&self, plan: &[i32], token: usize) -> i32 {
        plan[self.from + 2 * self.keys + token]
    }

    /// A lower bound of the branches of the tokens `first..=last`, from whole summaries.
    fn lowest(&self, plan: &[i32], first: usize, last: usize) -> i32 {
        let summaries = self.from + 3 * self.keys;
        plan[summaries + first / SUMMARY_TOKENS].min(plan[summaries + last / SUMMARY_TOKENS])
    }

    /// An upper bound of the branches of the tokens `first..=last`.
    fn highest(&self, plan: &[i32], first: usize, last: usize) -> i32 {
        let summaries = self.from + 3 * self.keys + self.keys.div_ceil(SUMMARY_TOKENS);
        plan[summaries + first / SUMMARY_TOKENS].max(plan[summaries + last / SUMMARY_TOKENS])
    }

    /// How much the queries `first..=last` see of the tile of `count` keys from `key` on. Both are
    /// at most [`SUMMARY_TOKENS`] tokens and lie within each other's range.
    pub(super) fn visible(
        &self,
        plan: &[i32],
        key: usize,
        #[comptime] count: usize,
        first: usize,
        last: usize,
    ) -> u32 {
        let last_key = (key + count - 1).min(self.keys - 1);
        let lowest = self.lowest(plan, key, last_key);
        let highest = self.highest(plan, key, last_key);
        let mut visible = SOMETHING.runtime();
        if lowest == 0 && highest == 0 {
            if key + count - 1 <= first && self.start(plan, last) <= key {
                visible = EVERYTHING.runtime();
            }
        } else if lowest > 0 || highest < 0 {
            // No key is in the trunk (branch 0), so a query sees only keys of its own branch.
            if highest < self.lowest(plan, first, last) || self.highest(plan, first, last) < lowest
            {
                visible = NOTHING.runtime();
            }
        }
        visible
    }
}

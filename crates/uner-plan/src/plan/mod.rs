//! The arithmetic of a run.

use burn::tensor::DType;
use uner_kernels::device::DeviceName;
use uner_kernels::linear_cross_entropy::{CPU_LOGITS_BYTES, GPU_LOGITS_BYTES};
use uner_model::Size;
use uner_trainer::TrainConfig;
use uner_trainer::config::AUTO;
use uner_trainer::data::store::Summary;
use uner_trainer::step::precision;
use uner_trainer::step::schedule::warmup_updates;

use super::Plan;
use crate::cost::{Choice, OnFrozen, Outcome, Rows, Setup, Storage, TokenFlops, changes, choose};
use crate::machine::{Budget, Place, Speed};

/// How much there is to train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSize {
    /// Encoded and counted.
    Counted {
        /// Conversations.
        conversations: usize,
        /// Their tokens.
        tokens: u64,
        /// Those that carry loss.
        trained_tokens: u64,
    },
    /// The files are not there; the recipe says how many conversations they give.
    Expected(usize),
    /// The files are not there, and the recipe says nothing.
    Unknown,
}

impl From<&Summary> for DataSize {
    fn from(summary: &Summary) -> Self {
        let Summary { conversations, tokens, trained_tokens, .. } = *summary;
        Self::Counted { conversations, tokens, trained_tokens }
    }
}

/// Where a run is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The device, or each of them.
    pub place: Place,
    /// How fast it is.
    pub speed: Speed,
    /// The ranks that share the work.
    pub ranks: RankCount,
}

/// The ranks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankCount {
    /// On all machines.
    pub all: usize,
    /// On this one.
    pub here: usize,
    /// Whether blocks are divided among them already, in a run that goes on.
    pub divided: bool,
}

impl RankCount {
    /// Those of one process: one for each device that the recipe names.
    pub fn of_one_process(plan: &Plan) -> Self {
        let count = plan.recipe.run.device.count();
        Self { all: count, here: count, divided: false }
    }
}

/// Every derived number.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// How much there is to train on.
    pub data: DataSize,
    /// Parameters of the model.
    pub size: Size,
    /// Steps and what they see; `None` where the size of the data is unknown.
    pub steps: Option<Steps>,
    /// Where it runs.
    pub place: Place,
    /// What it may take there.
    pub budget: Budget,
    /// How fast it is there.
    pub speed: Speed,
    /// Ranks that share the work.
    pub ranks: usize,
    /// The layout and what it takes; where nothing fits, the one that takes the least.
    pub choice: Choice,
    /// Where nothing fits, what would: the cheapest change first. `None` where it fits.
    pub too_much: Option<Vec<Outcome>>,
    /// Operations of a token.
    pub flops: TokenFlops,
}

/// The length of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// Optimizer steps of one pass over the data.
    pub per_epoch: u64,
    /// Of the run.
    pub total: u64,
    /// Of those, how many with a rising learning rate.
    pub warmup: u64,
    /// Tokens of a step, padding not counted: the mean where the data were counted, else the most
    /// there can be.
    pub tokens: f64,
}

impl Numbers {
    /// The arithmetic of a plan, on this machine, whose device is measured for a fraction of a
    /// second where it is there.
    pub fn new(plan: &Plan, data: DataSize, ranks: RankCount) -> Self {
        let name = plan.recipe.run.device.first();
        let speed = name.open().map_or(Speed::ASSUMED, |device| {
            Speed::measure(name, &device, &plan.model.config, plan.recipe.train.max_seq_len)
        });
        let mut place = Place::look(name);
        if name.is_host() {
            // The ranks of a machine share its memory.
            place.available = place.available.map(|bytes| bytes / ranks.here as u64);
        }
        Self::on(plan, data, Machine { place, speed, ranks })
    }

    /// The arithmetic of a plan on a machine.
    pub fn on(plan: &Plan, data: DataSize, machine: Machine) -> Self {
        let Machine { place, speed, ranks } = machine;
        let limit = plan.recipe.run.memory.map(|memory| memory.limit_gib);
        let budget = Budget::new(place.name, place.available, limit);
        let steps = steps(&plan.recipe.train, data);
        let setup = setup(plan, data, steps, ranks);
        let rows = rows(&plan.recipe.train);
        let chosen = choose(&setup, rows, speed.rates, budget.usable());
        let too_much = chosen.is_err().then(|| changes(&setup, rows, budget.usable()));
        let choice = chosen.unwrap_or_else(|smallest| smallest);
        let flops = TokenFlops::new(&setup, choice.layout, visible(&plan.recipe.train, data));
        let size = setup.size();
        Self { data, size, steps, place, budget, speed, ranks: ranks.all, choice, too_much, flops }
    }

    /// Floating-point operations of the run, what is computed twice included.
    pub fn operations(&self) -> Option<f64> {
        let steps = self.steps?;
        Some(self.flops.executed * steps.total as f64 * steps.tokens)
    }

    /// Seconds of the run if it did nothing but matrix products.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.operations()? / self.speed.rates.matmul / self.ranks as f64)
    }
}

/// What memory depends on: what is trained, stored as the device computes.
fn setup(plan: &Plan, data: DataSize, steps: Option<Steps>, ranks: RankCount) -> Setup<'_> {
    let train = &plan.recipe.train;
    let is_host = plan.recipe.run.device.first().is_host();
    let rows = steps.map_or(train.global_batch_size, |steps| {
        (steps.tokens / train.max_seq_len as f64).ceil() as usize
    });
    let trained_share = match data {
        DataSize::Counted { tokens, trained_tokens, .. } => trained_tokens as f64 / tokens as f64,
        DataSize::Expected(_) | DataSize::Unknown => 1.0,
    };
    let storage = storage(plan.recipe.run.device.first()).with(train.precision.unwrap_or_default());
    Setup {
        model: &plan.model.config,
        storage,
        adapter: adapter(plan),
        ranks: ranks.all,
        divided: ranks.divided,
        row_length: train.max_seq_len,
        step_rows: rows.div_ceil(ranks.all).max(1),
        trained_share,
        logits_limit: if is_host { CPU_LOGITS_BYTES } else { GPU_LOGITS_BYTES },
    }
}

/// How a device stores what is trained on it where the recipe does not say otherwise; a GPU that is
/// not here is one with bf16.
fn storage(name: DeviceName) -> Storage {
    let is_short =
        name.open().map_or(!name.is_host(), |device| precision::parameters(&device) != DType::F32);
    match (is_short, name.is_host()) {
        (true, _) => Storage::MIXED,
        (false, true) => Storage::F32,
        // Checkpoints are written from the host's memory.
        (false, false) => Storage { snapshot: 0.0, ..Storage::F32 },
    }
}

/// The adapter that is trained, and what its frozen model is stored in.
fn adapter(plan: &Plan) -> Option<OnFrozen<'_>> {
    let model = &plan.recipe.model;
    Some(OnFrozen { adapter: model.adapter.as_ref()?, base: model.base })
}

fn rows(train: &TrainConfig) -> Rows {
    if train.micro_batch_rows == AUTO { Rows::Auto } else { Rows::Fixed(train.micro_batch_rows) }
}

/// Tokens that a token sees on average, itself included: half of its conversation.
fn visible(train: &TrainConfig, data: DataSize) -> f64 {
    let length = match data {
        DataSize::Counted { conversations, tokens, .. } => tokens as f64 / conversations as f64,
        DataSize::Expected(_) | DataSize::Unknown => train.max_seq_len as f64,
    };
    length.min(train.max_seq_len as f64).midpoint(1.0)
}

fn steps(train: &TrainConfig, data: DataSize) -> Option<Steps> {
    let (conversations, mean_tokens) = match data {
        DataSize::Counted { conversations, tokens, .. } => {
            // Longer ones lose queries before each epoch.
            (conversations, (tokens as f64 / conversations as f64).min(train.max_seq_len as f64))
        }
        DataSize::Expected(conversations) => (conversations, train.max_seq_len as f64),
        DataSize::Unknown => return None,
    };
    let total = train.total_steps(conversations);
    Some(Steps {
        per_epoch: train.steps_per_epoch(conversations),
        total,
        warmup: warmup_updates(train.warmup_ratio, total),
        tokens: mean_tokens * train.global_batch_size.min(conversations) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_released_run_has_525_updates() {
        let recipe = crate::builtin::recipe("zero-shot").unwrap();
        let recipe: crate::recipe::Recipe = toml::from_str(recipe).unwrap();
        // The released script trains on 98 % of the 45,889 passages.
        let steps = steps(&recipe.train, DataSize::Expected(44_971)).unwrap();
        assert_eq!((steps.per_epoch, steps.total, steps.warmup), (175, 525, 21));
    }
}

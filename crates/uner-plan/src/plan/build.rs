//! Builds a plan from sources.

use std::path::{Path, PathBuf};

use uner_data::{Dataset, Member};
use uner_model::LlamaConfig;
use uner_trainer::step::schedule::warmup_updates;
use uner_trainer::{Layout, MicroBatchRows, Sharding, TrainConfig};

use super::{Data, DataSize, Plan, Prompt, Split, SplitFile, Steps};
use crate::cost::{Choice, OnFrozen, Outcome, Storage, TokenFlops, Workload, changes, choose};
use crate::machine::Machine;
use crate::recipe::Recipe;
use crate::sources::Sources;

impl Plan {
    /// Plans a run over data of this size on a machine. A resumed run passes the layout that it
    /// `had`: it keeps the rows of a micro-batch (unless the recipe sets them), and its blocks stay
    /// sharded, so that it computes the same as the uninterrupted run.
    pub fn new(sources: &Sources, size: DataSize, machine: Machine, had: Option<Layout>) -> Self {
        let Sources { recipe, template, model, .. } = sources;
        let steps = steps(&recipe.train, size);
        let must_shard = had.is_some_and(|had| had.sharding == Sharding::Zero3);
        let rows = match (recipe.train.micro_batch_rows, had) {
            (MicroBatchRows::Auto, Some(had)) => MicroBatchRows::Fixed(had.micro_batch_rows),
            (rows, _) => rows,
        };
        let storage =
            Storage::on(recipe.run.device.first()).with(recipe.train.precision.unwrap_or_default());
        let work = Workload {
            must_shard,
            ..workload(recipe, &model.config, size, steps, machine.ranks, storage)
        };
        let chosen = choose(&work, rows, &machine.rates, machine.memory.usable);
        let Choice { layout, memory } = chosen.unwrap_or_else(|smallest| smallest);
        let flops = TokenFlops::new(&work, layout, visible(&recipe.train, size));
        Self {
            data: data(sources, size),
            steps,
            layout,
            precision: storage,
            memory,
            flops,
            prompt: Prompt {
                template: template.fingerprint(),
                tokenizer: model.tokenizer.as_ref().map(|file| file.to_string_lossy().into_owned()),
            },
            parameters: work.size(),
            model: model.config.clone(),
            machine,
            recipe: recipe.clone(),
        }
    }

    /// Changes that would each make a plan fit that is too large, the cheapest first.
    pub(super) fn changes(&self) -> Vec<Outcome> {
        let Self { recipe, model, data, steps, machine, precision, .. } = self;
        let work = workload(recipe, model, data.size, *steps, machine.ranks, *precision);
        // A resumed run keeps its rows, even if the recipe leaves them to the plan.
        let rows = MicroBatchRows::Fixed(self.layout.micro_batch_rows);
        changes(&work, rows, machine.memory.usable)
    }
}

/// Everything that memory depends on, except the layout.
fn workload<'a>(
    recipe: &'a Recipe,
    model: &'a LlamaConfig,
    size: DataSize,
    steps: Option<Steps>,
    ranks: usize,
    storage: Storage,
) -> Workload<'a> {
    let train = &recipe.train;
    let rows = steps.map_or(train.global_batch_size, |steps| {
        (steps.tokens / train.max_seq_len as f64).ceil() as usize
    });
    let trained_share = match size {
        DataSize::Counted { tokens, trained_tokens, .. } => trained_tokens as f64 / tokens as f64,
        DataSize::Expected { .. } | DataSize::Unknown => 1.0,
    };
    let adapter = recipe.model.adapter.as_ref();
    Workload {
        storage,
        adapter: adapter.map(|adapter| OnFrozen { adapter, base: recipe.model.base }),
        ranks,
        step_rows: rows.div_ceil(ranks).max(1),
        trained_share,
        ..Workload::on(recipe.run.device.first(), model, train.max_seq_len)
    }
}

/// Tokens that a token sees on average, itself included: half of its conversation.
fn visible(train: &TrainConfig, size: DataSize) -> f64 {
    let length = match size {
        DataSize::Counted { conversations, tokens, .. } => tokens as f64 / conversations as f64,
        DataSize::Expected { .. } | DataSize::Unknown => train.max_seq_len as f64,
    };
    length.min(train.max_seq_len as f64).midpoint(1.0)
}

fn steps(train: &TrainConfig, size: DataSize) -> Option<Steps> {
    let (conversations, mean_tokens) = match size {
        DataSize::Counted { conversations, tokens, .. } => {
            // A conversation longer than a row loses queries before each epoch.
            (conversations, (tokens as f64 / conversations as f64).min(train.max_seq_len as f64))
        }
        DataSize::Expected { conversations } => (conversations, train.max_seq_len as f64),
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

fn data(sources: &Sources, size: DataSize) -> Data {
    let Sources { recipe, train, validation, benchmarks, .. } = sources;
    let members = |datasets: &[Dataset], members: &[Member]| -> Vec<Split> {
        let pairs = datasets.iter().zip(members);
        pairs.map(|(dataset, member)| split(dataset, &member.split, &recipe.data.root)).collect()
    };
    let measured = benchmarks.iter().zip(&recipe.eval.benchmarks);
    Data {
        size,
        train: members(train, &recipe.data.train),
        validation: members(validation, &recipe.data.validation),
        benchmarks: measured
            .map(|(dataset, benchmark)| split(dataset, &benchmark.split, &recipe.data.root))
            .collect(),
    }
}

fn split(dataset: &Dataset, split: &str, root: &Path) -> Split {
    let file = |path: PathBuf| SplitFile {
        path: path.to_string_lossy().into_owned(),
        bytes: path.metadata().map_or(0, |about| about.len()),
    };
    let files = dataset.files(split, root).unwrap_or_default();
    Split {
        dataset: dataset.name.clone(),
        split: split.to_owned(),
        files: files.into_iter().map(file).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_released_run_has_525_updates() {
        let recipe = crate::builtin::recipe("zero-shot").unwrap();
        let recipe: Recipe = toml::from_str(recipe).unwrap();
        // The released script trains on 98 % of the 45,889 passages.
        let size = DataSize::Expected { conversations: 44_971 };
        let steps = steps(&recipe.train, size).unwrap();
        assert_eq!((steps.per_epoch, steps.total, steps.warmup), (175, 525, 21));
    }
}

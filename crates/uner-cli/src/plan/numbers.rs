//! The arithmetic of a run.

use uner_model::LlamaConfig;
use uner_trainer::TrainConfig;
use uner_trainer::schedule::warmup_updates;
use uner_trainer::store::Summary;

use super::Plan;
use super::memory::Memory;
use super::place::Place;

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

/// Every derived number.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// How much there is to train on.
    pub data: DataSize,
    /// Trainable numbers of the model.
    pub num_parameters: u64,
    /// Steps and what they see; `None` where the size of the data is unknown.
    pub steps: Option<Steps>,
    /// Where it runs.
    pub place: Place,
    /// Memory.
    pub memory: Memory,
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
    /// Tokens of a step, padding not counted: the mean where the data were counted, else the most there can be.
    pub tokens: f64,
}

impl Numbers {
    /// The arithmetic of a plan, on this machine.
    pub fn new(plan: &Plan, data: DataSize) -> Self {
        let (train, config) = (&plan.recipe.train, &plan.model.config);
        let num_parameters = num_parameters(config);
        let place = Place::look(plan.recipe.run.device.first());
        let memory = Memory::estimate(
            config,
            num_parameters,
            train.micro_batch_rows,
            train.max_seq_len,
            place.available,
        );
        Self { data, num_parameters, steps: steps(train, data), place, memory }
    }

    /// Floating-point operations of the run: 6 for each parameter and token (Kaplan et al. 2020), attention left out.
    pub fn floating_point_operations(&self) -> Option<f64> {
        let steps = self.steps?;
        Some(6.0 * self.num_parameters as f64 * steps.total as f64 * steps.tokens)
    }
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

/// Embedding, blocks, final norm, and the head where it is not the embedding.
fn num_parameters(config: &LlamaConfig) -> u64 {
    let LlamaConfig { hidden_size: h, intermediate_size: i, vocab_size, num_hidden_layers, .. } = *config;
    let queries = config.num_attention_heads * config.head_dim;
    let keys = config.num_key_value_heads * config.head_dim;
    let block = 2 * h * (queries + keys) + 3 * h * i + 2 * h;
    let embeddings = if config.tie_word_embeddings { 1 } else { 2 };
    (embeddings * vocab_size * h + num_hidden_layers * block + h) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str) -> LlamaConfig {
        toml::from_str(crate::builtin::model(name).unwrap()).unwrap()
    }

    #[test]
    fn parameters_are_those_published() {
        assert_eq!(num_parameters(&config("llama-7b")), 6_738_415_616);
        assert_eq!(num_parameters(&config("llama-13b")), 13_015_864_320);
    }

    #[test]
    fn the_released_run_has_525_updates() {
        let recipe = crate::builtin::recipe("zero-shot").unwrap();
        let recipe: crate::recipe::Recipe = toml::from_str(recipe).unwrap();
        // The released script trains on 98 % of the 45,889 passages.
        let steps = steps(&recipe.train, DataSize::Expected(44_971)).unwrap();
        assert_eq!((steps.per_epoch, steps.total, steps.warmup), (175, 525, 21));
    }
}

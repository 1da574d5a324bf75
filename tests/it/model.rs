//! Small models and batches for the equality tests.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use serde_json::Value;
use uner_kernels::attention::PADDING;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_model::weights::random;
use uner_model::{Llama, LlamaConfig};
use uner_prompt::Tokens;
use uner_trainer::{Batch, Layout, MicroBatchRows, Schedule, TrainConfig};

/// Three blocks with grouped-query attention, and weights large enough for sizeable gradients.
pub(crate) fn small_config() -> LlamaConfig {
    let text = r#"{"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 61, "max_position_embeddings": 256, "initializer_range": 0.15}"#;
    serde_json::from_str(text).unwrap()
}

/// Returns a random model of [`small_config`] on the CPU.
pub(crate) fn small_model(seed: u64) -> Llama {
    random(&small_config(), seed, &Device::flex())
}

/// A configuration with a plain value for every setting.
pub(crate) fn train_config() -> TrainConfig {
    TrainConfig {
        epochs: 1.0,
        max_steps: None,
        global_batch_size: 4,
        max_seq_len: 64,
        micro_batch_rows: MicroBatchRows::Auto,
        lr: 1e-3,
        schedule: Schedule::Constant,
        warmup_ratio: 0.0,
        weight_decay: 0.0,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        max_grad_norm: 1.0,
        save_every: 1000,
        keep_last: 2,
        validate_every: 0,
        checkpoint: None,
        best: None,
        guards: None,
        precision: None,
    }
}

/// Micro-batches of so many rows, with the activations of so many blocks recomputed.
pub(crate) fn layout(rows: usize, recomputed_blocks: usize) -> Layout {
    let micro_batch_rows = NonZeroUsize::new(rows).unwrap();
    Layout { micro_batch_rows, recomputed_blocks, ..Layout::default() }
}

/// Conversations of pseudo-random ids: a passage and `queries` exchanges, of lengths that depend on
/// `number`; every third token of an exchange is trained.
pub(crate) fn conversation(number: u32, queries: u32) -> Tokens {
    let mut tokens = Tokens { ids: vec![1], loss_mask: vec![false], exchanges: Vec::new() };
    let push = |count: u32, trains: bool, tokens: &mut Tokens| {
        for place in 0..count {
            tokens.ids.push(3 + (number * 131 + place * 37 + tokens.ids.len() as u32 * 11) % 58);
            tokens.loss_mask.push(trains && place % 3 == 2);
        }
        tokens.exchanges.push(tokens.ids.len());
    };
    push(4 + number % 7, false, &mut tokens);
    for query in 0..queries {
        push(3 + (number + query) % 5, true, &mut tokens);
    }
    tokens
}

/// Builds the batch of a golden case: rows of `input_ids` with `labels`, and either an
/// `attention_mask` or `position_ids` and `segment_ids`.
pub(crate) fn batch_of_case(case: &Value) -> Batch {
    let rows =
        |key: &str| -> Option<Vec<Vec<i32>>> { serde_json::from_value(case[key].clone()).ok() };
    let [ids, labels] = ["input_ids", "labels"].map(|key| rows(key).unwrap());
    let length = ids[0].len() as i32;
    let positions =
        rows("position_ids").unwrap_or_else(|| ids.iter().map(|_| (0..length).collect()).collect());
    let document = rows("segment_ids").unwrap_or_else(|| {
        let document = |real: i32| if real == 0 { PADDING } else { 0 };
        let mask = rows("attention_mask").unwrap();
        mask.into_iter().map(|row| row.into_iter().map(document).collect()).collect()
    });
    Batch {
        rows: ids.len(),
        positions: positions.concat(),
        ids: ids.concat(),
        document: document.concat(),
        labels: labels
            .iter()
            .flat_map(|row| row[1..].iter().copied().chain([IGNORE_INDEX]))
            .collect(),
        spans: None,
        dropout_key: None,
    }
}

//! Shared code of the benchmarks, which are the other targets of this package.

pub mod measure;
mod memory;
pub mod preset;
pub mod random;

pub use memory::peak_rss_mib;

use uner_trainer::{MicroBatchRows, Schedule, TrainConfig};

/// The settings of the zero-shot recipe with another global batch size and sequence length.
pub fn train_config(global_batch_size: usize, max_seq_len: usize) -> TrainConfig {
    TrainConfig {
        epochs: 1.0,
        max_steps: None,
        global_batch_size,
        max_seq_len,
        micro_batch_rows: MicroBatchRows::Auto,
        lr: 2e-5,
        schedule: Schedule::Cosine,
        warmup_ratio: 0.04,
        weight_decay: 0.0,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        max_grad_norm: 1.0,
        save_every: 1,
        keep_last: 1,
        validate_every: 0,
        checkpoint: None,
        best: None,
        guards: None,
        precision: None,
    }
}

/// Returns the value of the argument `name`.
pub fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

//! Learning-rate schedules.

use crate::config::{Schedule, TrainConfig};

/// The learning rate of step `step` (from 0) of a run over `conversations`.
pub fn lr_at(config: &TrainConfig, step: u64, conversations: usize) -> f64 {
    let total = config.total_steps(conversations);
    config.lr * factor(config.schedule, step, warmup_updates(config.warmup_ratio, total), total)
}

/// The factor on the peak learning rate at update `update` (from 0) of `total`, after a linear rise
/// over the first `warmup` updates. Update 0 of a run with warm-up has the rate 0, as in
/// transformers.
pub fn factor(schedule: Schedule, update: u64, warmup: u64, total: u64) -> f64 {
    if update < warmup {
        return update as f64 / warmup as f64;
    }
    let progress = (update - warmup) as f64 / (total.saturating_sub(warmup)).max(1) as f64;
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => (1.0 - progress).max(0.0),
        Schedule::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0),
    }
}

/// Updates of the warm-up: the fraction `ratio` of all updates, rounded up, as in transformers.
pub fn warmup_updates(ratio: f64, total: u64) -> u64 {
    (ratio * total as f64).ceil() as u64
}

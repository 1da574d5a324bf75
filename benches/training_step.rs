//! Measures the training step (forward, loss, backward, clipping, AdamW) of a 24 M-parameter LLaMA
//! on the CPU, for comparison with `pytorch_step.py` on the same shapes.
//!
//! ```text
//! cargo bench -p uner-benches --bench training_step -- [--mask mask.json] [--steps N]
//!     [--recompute]
//! ```
//! prints one line of JSON; the median step counts. `mask.json` holds `[rows][positions]` of 0 and
//! 1.

use std::time::Instant;

use burn::tensor::Device;
use uner_benches::{argument, peak_rss_mib, train_config};
use uner_model::LlamaConfig;
use uner_model::weights::random;
use uner_prompt::Tokens;
use uner_trainer::step::forward_backward::{accumulate, on_worker_thread};
use uner_trainer::step::optimizer::{Update, clip_factor};
use uner_trainer::{AdamW, Batch, Gradients, Group};

/// The binaries' allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 4;
const LENGTH: usize = 512;
const WARM_UP: usize = 3;

fn model_config() -> LlamaConfig {
    let text = r#"{"hidden_size": 288, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6,
        "vocab_size": 32000, "max_position_embeddings": 512}"#;
    serde_json::from_str(text).expect("valid")
}

/// Builds rows of pseudo-random ids, one document each, trained where the mask is 1.
fn batch(mask: Option<&[Vec<u8>]>) -> Batch {
    let row = |row: usize| {
        let id = |place: usize| (3 + (row * LENGTH + place) * 7919 % 31_997) as u32;
        let trained = |place: usize| mask.is_none_or(|mask| mask[row][place] == 1);
        vec![Tokens {
            ids: (0..LENGTH).map(id).collect(),
            loss_mask: (0..LENGTH).map(trained).collect(),
            exchanges: vec![LENGTH],
        }]
    };
    Batch::new(&(0..ROWS).map(row).collect::<Vec<_>>())
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    uner_cli::allocator::keep_freed_memory();
    let mask: Option<Vec<Vec<u8>>> = argument("--mask").map(|path| {
        let text = fs_err::read_to_string(path).expect("the mask");
        serde_json::from_str(&text).expect("rows of 0 and 1")
    });
    let steps: usize = argument("--steps").map_or(10, |steps| steps.parse().expect("a number"));
    let (config, train) = (model_config(), train_config(ROWS, LENGTH));
    let recomputed =
        if std::env::args().any(|a| a == "--recompute") { config.num_hidden_layers } else { 0 };
    let device = Device::flex();
    let mut model = random(&config, 0, &device);
    let batch = batch(mask.as_deref());
    let trained = batch.num_trained() as f64;
    let mut optimizer = AdamW::default();
    let mut times: Vec<f64> = Vec::new();
    let mut loss = 0.0;
    for step in 1..=(WARM_UP + steps) as u64 {
        let start = Instant::now();
        (model, loss) = on_worker_thread(&device, || {
            let mut gradients = Gradients::default();
            let sum = accumulate(&model, &config, &batch, recomputed, &mut gradients);
            let loss = f64::from(sum.into_scalar::<f32>()) / trained;
            let grad_scale =
                clip_factor(gradients.squared_norm().sqrt() / trained, train.max_grad_norm)
                    / trained;
            (
                optimizer
                    .step(
                        model,
                        gradients,
                        &train,
                        Update { lr: train.lr, step, grad_scale },
                        &Group::single(),
                    )
                    .expect("a group of one"),
                loss,
            )
        });
        times.push(start.elapsed().as_secs_f64());
    }
    let mut timed = times.split_off(WARM_UP);
    timed.sort_by(f64::total_cmp);
    let median = timed[timed.len() / 2];
    println!(
        "{}",
        serde_json::json!({
            "tokens_per_second": (ROWS * LENGTH) as f64 / median,
            "step_ms": median * 1e3,
            "peak_rss_mb": peak_rss_mib(),
            "trained_tokens": trained,
            "last_loss": loss,
        })
    );
}

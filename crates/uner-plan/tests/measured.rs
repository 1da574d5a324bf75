//! Compares the estimate with the memory that steps allocate: the test counts every byte that is
//! requested from the allocator.
//!
//! Each shape is measured in a process of its own, so that only the step is counted. Memory that an
//! allocator keeps after it was freed is not counted: it depends on the program, not on the plan.

// Clippy allows `unwrap` in the helpers of tests only under this attribute.
#![cfg(test)]

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use uner_kernels::attention::PADDING;
use uner_kernels::device::DeviceName;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_model::LlamaConfig;
use uner_model::span_head::OUTSIDE;
use uner_model::weights::random;

use uner_plan::cost::{Layout, Memory, Sharding, Storage, Workload};
use uner_trainer::data::batch::SpanTags;
use uner_trainer::step::forward_backward::accumulate_on_rank;
use uner_trainer::step::optimizer::Update;
use uner_trainer::{AdamW, Batch, Gradients, Group, RankModel, TrainConfig, TrainError};
use uner_trainer::{MomentFormat, Precision, PrecisionConfig, Rounding};

/// How far the estimate may be off.
const TOLERANCE: f64 = 0.1;
/// Names the shape that a process measures.
const SHAPE: &str = "UNER_MEASURED_SHAPE";
/// One of this many tokens carries loss.
const TRAINED_ONE_OF: usize = 8;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: passes every call on to the system's allocator.
#[expect(unsafe_code, reason = "an allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: MemoryLayout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A model and the layout of its step.
struct Shape {
    name: &'static str,
    /// `qwen3` has biases and norms of heads here.
    model_type: &'static str,
    /// hidden, intermediate, layers, heads, key/value heads, vocabulary
    model: [usize; 6],
    tied: bool,
    length: usize,
    rows: usize,
    /// Blocks that keep their activations.
    not_recomputed: usize,
    micro_batches: usize,
    precision: PrecisionConfig,
    /// Ranks of one process, which then has the memory of all; several ranks shard the blocks.
    ranks: usize,
    /// Whether the model has a span head, for which half of the tokens are tagged.
    reads: bool,
}

/// 5 to 35 million parameters, except for the shape with a large micro-batch.
const SHAPES: [Shape; 15] = [
    shape("wide vocabulary", [256, 512, 2, 4, 4, 32_000], (256, 2, 2, 2)),
    shape("deep, kept", [256, 704, 12, 4, 4, 2_048], (512, 2, 12, 2)),
    shape("deep, recomputed", [256, 704, 12, 4, 4, 2_048], (512, 2, 0, 2)),
    shape("deep, half kept", [256, 704, 12, 4, 4, 2_048], (512, 2, 6, 2)),
    shape("grouped heads, long rows", [512, 1_408, 4, 8, 2, 4_096], (1_024, 1, 1, 2)),
    shape("large micro-batch", [192, 512, 4, 6, 6, 1_024], (256, 8, 4, 2)),
    shape("mostly weights", [512, 1_408, 8, 8, 8, 4_096], (128, 1, 8, 2)),
    Shape {
        model_type: "qwen3",
        ..shape("biases and norms of heads", [256, 704, 12, 4, 4, 2_048], (512, 2, 12, 2))
    },
    Shape {
        tied: true,
        ..shape("one micro-batch, tied", [256, 512, 4, 4, 4, 16_000], (256, 4, 2, 1))
    },
    Shape {
        ranks: 2,
        ..shape("sharded over two, recomputed", [256, 704, 16, 4, 4, 1_024], (256, 1, 0, 2))
    },
    Shape {
        ranks: 3,
        ..shape("sharded over three, half kept", [256, 704, 16, 4, 4, 1_024], (256, 1, 8, 2))
    },
    Shape {
        precision: PrecisionConfig { moments: MomentFormat::EightBit, rounding: Rounding::Nearest },
        ..shape("mostly weights, moments of 8 bits", [512, 1_408, 8, 8, 8, 4_096], (128, 1, 8, 2))
    },
    Shape {
        precision: PrecisionConfig {
            moments: MomentFormat::EightBit,
            rounding: Rounding::Stochastic,
        },
        ..shape("mostly weights, all of it short", [512, 1_408, 8, 8, 8, 4_096], (128, 1, 8, 2))
    },
    Shape {
        reads: true,
        ..shape("span head, recomputed", [256, 704, 12, 4, 4, 2_048], (512, 2, 0, 2))
    },
    Shape { reads: true, ..shape("span head, kept", [256, 704, 4, 4, 4, 8_192], (256, 4, 4, 2)) },
];

const fn shape(
    name: &'static str,
    model: [usize; 6],
    (length, rows, not_recomputed, micro_batches): (usize, usize, usize, usize),
) -> Shape {
    let precision = PrecisionConfig { moments: MomentFormat::Float, rounding: Rounding::Nearest };
    Shape {
        name,
        model_type: "llama",
        model,
        tied: false,
        length,
        rows,
        not_recomputed,
        micro_batches,
        precision,
        ranks: 1,
        reads: false,
    }
}

#[test]
fn the_estimate_is_what_steps_allocate() {
    if let Ok(index) = std::env::var(SHAPE) {
        let peak = measure(&SHAPES[index.parse::<usize>().unwrap()]);
        println!("peak={peak}");
        return;
    }
    let mut off = Vec::new();
    for (index, shape) in SHAPES.iter().enumerate() {
        let model = config(shape);
        let planned = (shape.ranks as u64 * estimate(shape, &model)) as f64;
        let measured = in_its_own_process(index) as f64;
        let line = format!(
            "{}: planned {:.1} MiB, measured {:.1} MiB ({:+.1} %)",
            shape.name,
            planned / f64::from(1 << 20),
            measured / f64::from(1 << 20),
            100.0 * (planned / measured - 1.0)
        );
        println!("{line}");
        if (planned / measured - 1.0).abs() > TOLERANCE {
            off.push(line);
        }
    }
    assert!(off.is_empty(), "{off:#?}");
}

fn in_its_own_process(index: usize) -> usize {
    let test = "the_estimate_is_what_steps_allocate";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", test, "--nocapture"])
        .env(SHAPE, index.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().find_map(|line| line.split_once("peak=")?.1.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn config(shape: &Shape) -> LlamaConfig {
    let [hidden_size, intermediate_size, layers, heads, key_value_heads, vocab_size] = shape.model;
    let json = serde_json::json!({
        "model_type": shape.model_type, "attention_bias": shape.model_type == "qwen3",
        "head_dim": hidden_size / heads, "max_position_embeddings": 2_048,
        "hidden_size": hidden_size, "intermediate_size": intermediate_size, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": key_value_heads, "vocab_size": vocab_size,
        "tie_word_embeddings": shape.tied,
    });
    let config: LlamaConfig = serde_json::from_value(json).unwrap();
    if shape.reads { config.with_span_head() } else { config }
}

fn estimate(shape: &Shape, model: &LlamaConfig) -> u64 {
    let work = Workload {
        storage: Storage { snapshot: 0.0, ..Storage::F32.with(shape.precision) },
        ranks: shape.ranks,
        step_rows: shape.rows * shape.micro_batches,
        trained_share: if shape.reads { 0.5 } else { 1.0 / TRAINED_ONE_OF as f64 },
        ..Workload::on(DeviceName::Flex, model, shape.length)
    };
    let layout = Layout {
        micro_batch_rows: NonZeroUsize::new(shape.rows).unwrap(),
        recomputed_blocks: model.num_hidden_layers - shape.not_recomputed,
        sharding: if shape.ranks > 1 { Sharding::Zero3 } else { Sharding::None },
    };
    Memory::of(&work, layout).total()
}

/// Bytes at the peak of two steps, the model included; the second step starts with moments.
fn measure(shape: &Shape) -> usize {
    let config = config(shape);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for group in Group::of_process(shape.ranks, None) {
            let config = &config;
            scope.spawn(move || group.guarded(|| steps(shape, config, &group)).unwrap());
        }
    });
    PEAK.load(Ordering::Relaxed) - before
}

/// Two steps of a rank.
fn steps(shape: &Shape, config: &LlamaConfig, group: &Group) -> Result<(), TrainError> {
    let batch = batch(shape);
    let train: TrainConfig = serde_json::from_value(serde_json::json!({
        "epochs": 1.0, "global_batch_size": 1, "max_seq_len": shape.length, "micro_batch_rows": shape.rows, "lr": 1e-3,
        "schedule": "constant", "warmup_ratio": 0.0, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
        "max_grad_norm": 1.0, "save_every": 1, "keep_last": 1, "validate_every": 0,
    }))
    .unwrap();
    let precision = Precision::new(Some(shape.precision), &Device::flex())?;
    let (model, mut optimizer) = AdamW::new(random(config, 1, &Device::flex()), precision, group);
    let mut model = RankModel::from(model).shard(config, group);
    let recomputed = config.num_hidden_layers - shape.not_recomputed;
    for step in 1..=2 {
        let mut gradients = Gradients::default();
        for _ in 0..shape.micro_batches {
            let loss =
                accumulate_on_rank((&model, group), config, &batch, recomputed, &mut gradients)?;
            assert!(loss.into_scalar::<f32>().is_finite());
        }
        let gradients = gradients.reduce(group)?;
        assert!(gradients.squared_norm().is_finite());
        let update = Update { lr: 1e-3, step, grad_scale: 1e-3 };
        model = model.updated(&mut optimizer, gradients, &train, update, group)?;
    }
    // An evaluation gathers the model too.
    model.gathered(group)?;
    Ok(())
}

/// The tags of half of the tokens for as many types as the estimate assumes.
fn tags(tokens: usize) -> SpanTags {
    const TYPES: usize = 32;
    let tagged: Vec<i32> = (0..tokens as i32).step_by(2).collect();
    let tags = vec![OUTSIDE; tagged.len() * TYPES];
    SpanTags { tokens: tagged, types: (0..TYPES as i32).collect(), tags }
}

/// Full rows of conversations of 128 tokens.
fn batch(shape: &Shape) -> Batch {
    let tokens = shape.rows * shape.length;
    let vocabulary = shape.model[5];
    let column = |index: usize| index % shape.length;
    let label = |index: usize| {
        if index % TRAINED_ONE_OF == 0 { (index % vocabulary) as i32 } else { IGNORE_INDEX }
    };
    let document: Vec<i32> = (0..tokens).map(|index| (column(index) / 128) as i32).collect();
    assert!(!document.contains(&PADDING));
    Batch {
        dropout_key: None,
        rows: shape.rows,
        ids: (0..tokens).map(|index| (index * 31 % vocabulary) as i32).collect(),
        positions: (0..tokens).map(|index| (column(index) % 128) as i32).collect(),
        document,
        labels: (0..tokens).map(label).collect(),
        spans: shape.reads.then(|| tags(tokens)),
    }
}

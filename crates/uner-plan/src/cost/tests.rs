//! Layouts, categories and advice for models of known size. `tests/measured.rs` and
//! `crates/uner-cli/tests/cli/memory.rs` compare the estimate with the memory of real steps.

use std::num::NonZeroUsize;

use uner_model::{AdapterConfig, BaseFormat};
use uner_trainer::{MicroBatchRows, MomentFormat, PrecisionConfig, Rounding};

use super::*;
use crate::machine::{Product, Rates};

const GIB: u64 = 1 << 30;
const RATES: Rates = Rates {
    products: [
        Product { shape: [2048, 4096, 8192], flops: 4e14 },
        Product { shape: [8192, 4096, 8192], flops: 4e14 },
    ],
    memory: 2e12,
    measured: true,
};

pub(crate) fn llama(
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
) -> LlamaConfig {
    let text = format!(
        r#"{{"hidden_size": {hidden}, "intermediate_size": {intermediate}, "num_hidden_layers": {layers},
        "num_attention_heads": {heads}, "vocab_size": 32000, "tie_word_embeddings": false}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn layout_of(rows: usize, recomputed_blocks: usize, sharding: Sharding) -> Layout {
    Layout { micro_batch_rows: NonZeroUsize::new(rows).unwrap(), recomputed_blocks, sharding }
}

fn fixed(rows: usize) -> MicroBatchRows {
    MicroBatchRows::Fixed(NonZeroUsize::new(rows).unwrap())
}

pub(crate) fn llama_7b() -> LlamaConfig {
    llama(4096, 11008, 32, 32)
}

fn work(model: &LlamaConfig) -> Workload<'_> {
    Workload {
        model,
        storage: Storage::MIXED,
        adapter: None,
        ranks: 1,
        must_shard: false,
        row_length: 1024,
        step_rows: 64,
        trained_share: 0.2,
        logits_limit: 256 << 20,
    }
}

#[test]
fn bytes_of_a_parameter_are_16_in_mixed_precision() {
    let model = llama_7b();
    let memory = Memory::of(&work(&model), layout_of(1, 32, Sharding::None));
    let parameters = 6_738_415_616;
    assert_eq!(
        [memory.weights, memory.master, memory.moments],
        [2, 2, 8].map(|bytes| bytes * parameters)
    );
    // At the peak, the gradients of one block, or of the head, exist beside their sum.
    assert!((4 * parameters..5 * parameters).contains(&memory.gradients), "{memory:?}");
    // 32 inputs of 1,024 tokens in bf16.
    assert!(memory.inputs <= 32 * 1024 * 4096 * 2, "{memory:?}");
    let all: u64 = memory.categories().into_iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(all, memory.total());
}

fn precision(rounding: Rounding) -> PrecisionConfig {
    PrecisionConfig { moments: MomentFormat::EightBit, rounding }
}

/// 8-bit moments have a word of 32 bits for each granule of 256 in addition to their codes.
#[test]
fn fewer_bits_are_fewer_bytes() {
    let bytes =
        |storage: Storage| [storage.parameter, storage.master, storage.moments, storage.snapshot];
    let [masters, alone] = [Rounding::Nearest, Rounding::Stochastic].map(precision);
    assert_eq!(bytes(Storage::MIXED.with(PrecisionConfig::default())), bytes(Storage::MIXED));
    assert_eq!(bytes(Storage::MIXED.with(masters)), [2.0, 2.0, 2.015_625, 0.0]);
    assert_eq!(bytes(Storage::MIXED.with(alone)), [2.0, 0.0, 2.015_625, 0.0]);
    assert_eq!(bytes(Storage::F32.with(masters)), [4.0, 0.0, 2.015_625, 6.015_625]);
    assert_eq!(bytes(Storage::F32.with(alone)), [2.0, 0.0, 2.015_625, 4.015_625]);
}

#[test]
fn eight_bit_moments_are_enough_where_little_is_missing() {
    let model = llama_7b();
    let work = work(&model);
    let found = changes(&work, MicroBatchRows::Auto, 80 * GIB)[0];
    assert_eq!(found.change, Change::Precision(precision(Rounding::Nearest)), "{found:?}");
    let done = Workload { storage: work.storage.with(precision(Rounding::Stochastic)), ..work };
    let others = changes(&done, MicroBatchRows::Auto, 10 * GIB);
    assert!(
        others.iter().all(|outcome| !matches!(outcome.change, Change::Precision(_))),
        "{others:?}"
    );
}

#[test]
fn a_graph_has_what_the_backward_pass_reads() {
    let model = llama_7b();
    let work = Workload { storage: Storage::F32, ..work(&model) };
    let (h, i, n) = (4096, 11008, 32);
    let per_token = 4 * (h + 4 * h + 2 * i + n);
    assert_eq!(BlockCost::new(&work, 2).graph() as usize, 2048 * per_token);
    // The inputs of projections are not kept, whether these are trained or frozen; adapters keep
    // the inputs of their second factors.
    let target_modules = [Target::QProj, Target::VProj].into();
    let adapter = AdapterConfig { rank: 8, target_modules, ..AdapterConfig::default() };
    let frozen = Workload { adapter: Some(OnFrozen { adapter: &adapter, base: None }), ..work };
    let per_token = 4 * (h + 4 * h + 2 * i + 2 * 8 + n);
    assert_eq!(BlockCost::new(&frozen, 2).graph() as usize, 2048 * per_token);
}

#[test]
fn more_memory_keeps_more_blocks_and_never_takes_more_than_there_is() {
    let model = llama_7b();
    let work = work(&model);
    let mut seconds_before = f64::INFINITY;
    for gib in [140, 160, 180, 220, 400] {
        let choice = choose(&work, MicroBatchRows::Auto, &RATES, gib * GIB).unwrap();
        assert!(choice.memory.total() <= gib * GIB, "{gib}: {choice:?}");
        let seconds = layout::seconds(&work, choice.layout, &RATES);
        assert!(seconds <= seconds_before, "{gib}: {choice:?}");
        seconds_before = seconds;
    }
    let all = choose(&work, MicroBatchRows::Auto, &RATES, 4000 * GIB).unwrap();
    assert_eq!(all.layout, layout_of(64, 0, Sharding::None));
    let fixed = choose(&work, fixed(2), &RATES, 4000 * GIB).unwrap();
    assert_eq!(fixed.layout, layout_of(2, 0, Sharding::None));
}

/// Rows of a micro-batch and recomputed blocks, first if masters repeated the parameters' 16 bits,
/// then as they are. With the former, full fine-tuning of 7B does not fit an 80 GB card.
#[test]
fn what_masters_do_not_repeat_buys_rows_and_graphs() {
    let model = llama_7b();
    let work = Workload { row_length: 2048, trained_share: 1.0, ..work(&model) };
    let layout = |storage, memory: u64| {
        let choice =
            choose(&Workload { storage, ..work }, MicroBatchRows::Auto, &RATES, memory / 10 * 9)
                .ok()?;
        let Layout { micro_batch_rows, recomputed_blocks, .. } = choice.layout;
        Some((micro_batch_rows.get(), recomputed_blocks))
    };
    let both = |storage: Storage, memory| {
        [layout(Storage { master: 4.0, ..storage }, memory), layout(storage, memory)]
    };
    let (float, eight_bit) = (work.storage, work.storage.with(precision(Rounding::Nearest)));
    let (h200, h100) = (150_754_820_096, 85_014_347_776);
    let found = [both(float, h200), both(eight_bit, h200), both(eight_bit, h100)];
    assert_eq!(
        found,
        [[Some((2, 0)), Some((4, 0))], [Some((8, 0)), Some((8, 0))], [None, Some((1, 0))]]
    );
}

#[test]
fn shards_shrink_as_computed() {
    let model = llama_7b();
    let of = |ranks, sharding| {
        let layout = layout_of(1, 32, sharding);
        Memory::of(&Workload { ranks, ..work(&model) }, layout)
    };
    let (whole, zero, owned) =
        (of(1, Sharding::None), of(8, Sharding::Zero1), of(8, Sharding::Zero3));
    assert_eq!((zero.master, zero.moments), (whole.master / 8, whole.moments / 8));
    assert_eq!((zero.weights, zero.gradients), (whole.weights, whole.gradients));
    let size = Size::new(&model, None);
    let gathered = 2 * (size.block() * 4 + size.block());
    assert_eq!(owned.weights, gathered + 2 * (2 * size.embedding + size.norm));
    assert!(owned.gradients < whole.gradients / 3, "{owned:?}");
}

#[test]
fn what_makes_it_fit_is_listed_from_cheap_to_expensive() {
    let model = llama_7b();
    let work = work(&model);
    assert!(choose(&work, fixed(64), &RATES, 80 * GIB).is_err());
    let found = changes(&work, fixed(64), 80 * GIB);
    let changes: Vec<Change> = found.iter().map(|outcome| outcome.change).collect();
    assert_eq!(
        changes,
        [
            Change::Precision(precision(Rounding::Nearest)),
            Change::Precision(precision(Rounding::Stochastic)),
            Change::Adapter(None),
            Change::Adapter(Some(BaseFormat::EightBit)),
            Change::Adapter(Some(BaseFormat::FourBit)),
            Change::Devices(2),
        ],
        "{found:?}"
    );
    assert!(found.iter().all(|outcome| outcome.needed <= 80 * GIB));
    // If only the activations are too much, the cheapest change is the one that costs nothing.
    let room = Choice::smallest(&work, NonZeroUsize::new(8).unwrap()).memory.total();
    let first = super::changes(&work, fixed(64), room)[0];
    assert_eq!((first.change, first.needed), (Change::MicroBatchRows(8), room));
}

//! The span head: the layout of a step does not change loss and gradients, block by block equals
//! the whole graph, a resumed run is bitwise the uninterrupted one, and an adapter with its head is
//! the same model when it is merged.
//!
//! Tolerances are those of `step.rs`, for the same reason.

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use uner_model::adapter::{Adapter, Base, Target, attach, files};
use uner_model::export::{self, Export};
use uner_model::parameters::{map, take_gradients, visit};
use uner_model::weights::random;
use uner_model::{AdapterConfig, Llama, LlamaConfig, load_adapted};
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::data::micro_batches::micro_batches;
use uner_trainer::data::sequence::{AskedType, Sequence, SpanSequence};
use uner_trainer::data::store::StoreWriter;
use uner_trainer::step::forward_backward::{accumulate, loss};
use uner_trainer::{
    Batch, Event, Gradients, Group, Run, TokenStore, TrainConfig, TrainState, train,
};

use crate::devices::{cpu, devices};
use crate::model::{layout, small_config, train_config};
use crate::step::{Values, assert_same, values};

fn spans_config() -> LlamaConfig {
    small_config().with_span_head()
}

/// A model whose head is as after some training, so that no gradient is zero.
fn model(seed: u64, device: &Device) -> Llama {
    trained(random(&spans_config(), seed, device))
}

fn trained(model: Llama) -> Llama {
    map(model, "", |name, _, values| {
        if !(name.starts_with("span_head.type_proj") || name.contains("lora_B")) {
            return values;
        }
        let wave = Tensor::arange(1..values.dims()[0] as i64 + 1, &values.device());
        wave.float().cast(DType::F32).mul_scalar(0.7).sin().mul_scalar(0.1)
    })
}

/// A passage of pseudo-random ids that is read twice, and two to four of five types.
fn passage(number: u32) -> (Vec<u32>, SpanSequence) {
    let length = 3 + number % 6;
    let once: Vec<u32> = (0..length).map(|place| 5 + (number * 17 + place * 29) % 50).collect();
    let ids = [&[1], &once[..], &[2], &once].concat();
    let asked = |kind: u32| AskedType {
        ids: vec![1, 55 + kind, 7],
        entities: if (number + kind).is_multiple_of(2) { vec![0..1, 1..3] } else { Vec::new() },
    };
    let types = (0..2 + number % 3).map(|index| asked((number + index) % 5)).collect();
    let second = ids.len() - once.len();
    (ids, SpanSequence { second, types })
}

fn passages() -> Vec<Sequence> {
    (0..9).map(passage).map(|(ids, spans)| Sequence::of_spans(ids, spans)).collect()
}

fn run(model: &Llama, batches: &[Batch], recomputed_blocks: usize) -> (f64, Values) {
    let mut gradients = Gradients::default();
    let config = spans_config();
    let sums = batches.iter().map(|batch| {
        let loss = accumulate(model, &config, batch, recomputed_blocks, &mut gradients);
        f64::from(loss.into_scalar::<f32>())
    });
    (sums.sum(), values(&gradients))
}

#[test]
fn packed_passages_with_common_types_equal_separate_ones() {
    let (model, tolerance) = (model(1, &Device::flex()), cpu().tolerance);
    let separate: Vec<Batch> =
        passages().into_iter().flat_map(|one| micro_batches(vec![one], 64, 1)).collect();
    let expected = run(&model, &separate, 0);
    assert_eq!(separate.len(), 9);
    for (length, rows) in [(64, 1), (40, 2), (100, 9)] {
        let batches = micro_batches(passages(), length, rows);
        let tokens: usize = batches.iter().map(Batch::num_tokens).sum();
        assert!(tokens < separate.iter().map(Batch::num_tokens).sum(), "common types");
        let got = run(&model, &batches, 0);
        assert_same(&format!("{rows} rows of {length}"), &got, &expected, &tolerance);
    }
}

#[test]
fn block_by_block_equals_the_whole_graph() {
    let [batch] = &micro_batches(passages(), 256, 1)[..] else { panic!("one micro-batch") };
    for setup in devices() {
        let model = model(3, &setup.device);
        let config = spans_config();
        let trained = model.clone().train();
        let hidden = trained.hidden(&batch.ids, &batch.context(&config, &setup.device), None);
        let labels = batch.span_labels(&setup.device).unwrap();
        let whole = trained.span_head.as_ref().unwrap().loss(hidden, &labels);
        let mut graph = whole.clone().backward();
        let mut gradients = Gradients::default();
        take_gradients(&trained, "", &mut graph, |name, gradient| gradients.add(name, gradient));
        let expected = (f64::from(whole.into_scalar::<f32>()), values(&gradients));
        for recomputed_blocks in [0, 3] {
            let got = run(&model, std::slice::from_ref(batch), recomputed_blocks);
            let what = format!("{recomputed_blocks} recomputed on {setup}");
            assert_same(&what, &got, &expected, &setup.tolerance);
        }
        let validation = f64::from(loss(&model, &config, batch).into_scalar::<f32>());
        assert!((validation / expected.0 - 1.0).abs() < setup.tolerance.loss, "on {setup}");
    }
}

fn settings() -> TrainConfig {
    TrainConfig { epochs: 4.0, max_steps: Some(6), save_every: 2, lr: 1e-2, ..train_config() }
}

fn store(folder: &Path) -> TokenStore {
    let mut writer = StoreWriter::new(folder, settings().max_seq_len).unwrap();
    (0..13).map(passage).for_each(|(ids, spans)| writer.push_spans(&ids, &spans).unwrap());
    writer.finish().unwrap()
}

/// Trains until the end or step `stop_after`; returns the state and the losses.
fn train_spans(
    folder: &Path,
    state: TrainState,
    stop_after: Option<u64>,
) -> (TrainState, Vec<f64>) {
    let (config, model_config) = (settings(), spans_config());
    let (store, group) = (store(folder), Group::single());
    let run = Run {
        seed: 7,
        layout: layout(2, 1),
        ..Run::new((&config, &model_config), &store, folder, &group)
    };
    let mut losses = Vec::new();
    let state = train(&run, state, &mut |event| {
        let Event::Step(metrics) = event else { return Ok(ControlFlow::Continue(())) };
        losses.push(metrics.loss);
        let stops = stop_after == Some(metrics.step);
        Ok(if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    (state.unwrap(), losses)
}

/// A base without a span head, and a new adapter with one.
fn adapted(base: &Path) -> Llama {
    let model = random(&small_config(), 5, &Device::flex());
    uner_model::save(&model, &small_config(), base, usize::MAX).unwrap();
    let config =
        AdapterConfig { rank: 4, alpha: 8.0, dropout: 0.1, target_modules: Target::ALL.into() };
    let model = model.with_span_head(&small_config(), 7);
    attach(model, Adapter { config, base: Base::of(base).unwrap() }, 7)
}

/// Every bit of the weights, and of the moments of those that are trained.
fn bits(state: &TrainState) -> Vec<(String, Vec<u32>)> {
    let bits = |values: Tensor<1>| -> Vec<u32> {
        let values: Vec<f32> = values.try_into_vec_as().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    let mut all = Vec::new();
    visit(state.model.local(), "", |parameter| {
        let moments = state.optimizer.moments(&parameter.name);
        for moments in moments.into_iter().flat_map(|(first, second)| [first, second]) {
            all.push((format!("moments of {}", parameter.name), bits(moments.clone())));
        }
        all.push((parameter.name, bits(parameter.values)));
    });
    assert!(all.iter().any(|(name, _)| name == "moments of span_head.bias"));
    all
}

fn resumed_equals_whole(start: impl Fn() -> Llama) {
    let (whole, half) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, losses) =
        train_spans(whole.path(), TrainState::new(start(), &Group::single()), None);
    assert!(losses[5] < losses[0], "{losses:?}");
    drop(train_spans(half.path(), TrainState::new(start(), &Group::single()), Some(3)));
    let saved = latest(half.path()).unwrap().unwrap();
    let found = checkpoint::load(&saved, &Group::single(), &Device::flex()).unwrap();
    assert!(found.config.span_head && found.model.lm_head.is_none());
    let (state, rest) = train_spans(half.path(), found.into(), None);
    assert_eq!(rest, losses[3..]);
    assert_eq!(bits(&state), bits(&expected));
}

#[test]
fn a_resumed_run_is_bitwise_the_uninterrupted_one() {
    resumed_equals_whole(|| random(&spans_config(), 2, &Device::flex()));
}

#[test]
fn a_resumed_adapter_has_the_same_head() {
    let base = tempfile::tempdir().unwrap();
    resumed_equals_whole(|| adapted(base.path()));
}

#[test]
fn an_adapter_read_or_merged_is_the_same_model() {
    let [base, folder, merged] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let model = trained(adapted(base.path()));
    files(&model).unwrap().write(folder.path()).unwrap();
    let [batch] = &micro_batches(passages(), 256, 1)[..] else { panic!("one micro-batch") };
    let sum = |model: &Llama| loss(model, &spans_config(), batch).into_scalar::<f32>();
    let expected = sum(&model);

    let (config, read) =
        load_adapted(folder.path(), Some(base.path()), None, &Device::flex()).unwrap();
    assert_eq!(config, spans_config());
    assert_eq!(sum(&read), expected);

    let adapter = Some(folder.path());
    let export = Export { model: base.path(), adapter, dtype: None, max_shard_bytes: usize::MAX };
    export::model(&export, merged.path()).unwrap();
    let (config, whole) = uner_model::load(merged.path(), &Device::flex()).unwrap();
    assert!(config.span_head && whole.lm_head.is_none());
    // The product of the factors is added to the weights, and rounded, before the inputs are.
    let got = sum(&whole);
    assert!((got / expected - 1.0).abs() < 1e-5, "{got} is not {expected}");
}

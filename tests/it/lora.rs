//! Training of adapters. Steps equal PEFT's with PyTorch's AdamW, and only the adapter changes.
//! Dropout does not depend on how a step is computed. A run that is stopped and resumed is bitwise
//! the uninterrupted one. An adapter merged into the weights is the same model.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{DType, Device};
use uner_model::adapter::{Adapter, Base, Target, attach, files};
use uner_model::export::{self, Export};
use uner_model::parameters::{map, visit};
use uner_model::{AdapterConfig, BaseFormat, Llama, load_adapted, load_adapter, load_frozen};
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::data::dropout_keys;
use uner_trainer::data::pack::pack_tokens;
use uner_trainer::data::sequence::Sequence;
use uner_trainer::data::store::StoreWriter;
use uner_trainer::step::forward_backward::{accumulate, loss};
use uner_trainer::step::optimizer::{Update, clip_factor};
use uner_trainer::{
    AdamW, Batch, Event, Gradients, Group, Run, TokenStore, TrainConfig, TrainState, train,
};

use crate::devices::{cpu, devices};
use crate::golden::{assert_close, assert_relative, folders, json, tensors};
use crate::model::{batch_of_case, conversation, layout, small_config, small_model, train_config};
use crate::shared::shared;

/// Returns every parameter by name.
fn values(model: &Llama) -> BTreeMap<String, Vec<f32>> {
    let mut all = BTreeMap::new();
    visit(model, "", |parameter| {
        all.insert(parameter.name, parameter.values.try_into_vec_as().unwrap());
    });
    all
}

/// Three steps through the training step on each recorded adapter, on every device. Adam's first
/// steps are lr · sign(gradient), so some entries whose gradient is of rounding size may differ
/// (see the README of the golden values).
#[test]
fn three_adamw_steps_equal_peft() {
    let Some(root) = shared("golden") else { return };
    for folder in folders(&root, "lora") {
        for setup in devices().into_iter().filter(crate::devices::Setup::is_exact) {
            let what = format!("{} on {setup}", folder.display());
            let case = json(&folder.join("case.json"));
            let base = root.join(case["base"].as_str().unwrap());
            let (config, model) = uner_model::load(&base, &setup.device).unwrap();
            let mut model = load_adapter(model, &folder, &setup.device).unwrap();
            let batch = batch_of_case(&json(&root.join(case["inputs"].as_str().unwrap())));
            let expected = tensors(&folder.join("adamw.safetensors"));
            let (trained, before) = (batch.num_trained() as f64, values(&model));
            let mut optimizer = AdamW::default();
            for (step, number) in case["adamw"]["steps"].as_array().unwrap().iter().zip(1..) {
                let what = format!("{what}, step {number}");
                let mut gradients = Gradients::default();
                let loss =
                    accumulate(&model, &config, &batch, 1, &mut gradients).into_scalar::<f32>();
                assert_relative(
                    &what,
                    f64::from(loss),
                    &step["sum_loss_before"],
                    setup.tolerance.loss * 10.0,
                );
                let norm = gradients.squared_norm().sqrt() / trained;
                assert_relative(&what, norm, &step["grad_norm_before_clip"], setup.tolerance.norm);
                let grad_scale = clip_factor(norm, 1.0) / trained;
                let update = Update { lr: step["lr"].as_f64().unwrap(), step: number, grad_scale };
                model = optimizer
                    .step(model, gradients, &train_config(), update, &Group::single())
                    .unwrap();
                assert_step(&what, &values(&model), &before, &expected, number);
            }
        }
    }
}

/// At most 2 % of the factors' entries differ from the recorded ones; all else is unchanged.
fn assert_step(
    what: &str,
    got: &BTreeMap<String, Vec<f32>>,
    before: &BTreeMap<String, Vec<f32>>,
    expected: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    number: u64,
) {
    for (name, got) in got {
        if !name.contains("lora_") {
            assert!(got == &before[name], "{what}: {name} was frozen");
            continue;
        }
        let expected = &expected[&format!("step{number}.base_model.model.{name}")].1;
        let off = got
            .iter()
            .zip(expected)
            .filter(|(got, expected)| (*got - *expected).abs() > 1e-4)
            .count();
        assert!(
            off as f64 <= 0.02 * got.len() as f64,
            "{what}: {off} of {} entries of {name}",
            got.len()
        );
    }
}

/// Merged on disk, in shards, the weights equal the recorded ones and the logits the adapter's.
#[test]
fn merged_folders_equal_peft() {
    let Some(root) = shared("golden") else { return };
    for folder in folders(&root, "lora") {
        let what = folder.display();
        let case = json(&folder.join("case.json"));
        let base = root.join(case["base"].as_str().unwrap());
        let out = tempfile::tempdir().unwrap();
        let merged =
            Export { model: &base, adapter: Some(&folder), dtype: None, max_shard_bytes: 100_000 };
        export::model(&merged, out.path()).unwrap();
        assert!(out.path().join("model.safetensors.index.json").exists(), "{what}");
        let (config, model) = uner_model::load(out.path(), &Device::flex()).unwrap();
        let (got, unmerged) =
            (values(&model), values(&uner_model::load(&base, &Device::flex()).unwrap().1));
        let expected = tensors(&folder.join("merged.safetensors"));
        for (name, got) in &got {
            match expected.get(name) {
                Some((_, expected)) => assert_close(&format!("{what} {name}"), got, expected, 1e-6),
                None => assert!(got == &unmerged[name], "{what}: {name} has no adapter"),
            }
        }
        let batch = batch_of_case(&json(&root.join(case["inputs"].as_str().unwrap())));
        let sum = f64::from(loss(&model, &config, &batch).into_scalar::<f32>());
        assert_relative(&format!("{what}: loss"), sum, &case["sum_loss"], cpu().tolerance.loss);
    }
}

fn settings(dropout: f64) -> AdapterConfig {
    AdapterConfig { rank: 4, alpha: 8.0, dropout, target_modules: Target::ALL.into() }
}

/// Saves a small model to `base` and returns it with a new adapter on all its layers.
fn adapted(base: &Path, dropout: f64) -> Llama {
    let model = small_model(5);
    uner_model::save(&model, &small_config(), base, usize::MAX).unwrap();
    attach(model, Adapter { config: settings(dropout), base: Base::of(base).unwrap() }, 7)
}

/// The same with factors as after some training, so that no gradient is zero.
fn trained(base: &Path, dropout: f64) -> Llama {
    map(adapted(base, dropout), "", |name, _, values| {
        if name.contains("lora_B") {
            let wave =
                burn::tensor::Tensor::arange(1..values.dims()[0] as i64 + 1, &values.device());
            wave.float().cast(DType::F32).mul_scalar(0.7).sin().mul_scalar(0.1)
        } else {
            values
        }
    })
}

fn rows() -> Vec<Vec<Sequence>> {
    pack_tokens((0..9).map(|number| conversation(number, 1 + number % 5)).collect(), 48)
}

/// Computes summed loss and gradients over rows, `size` rows at a time, with a step's dropout keys.
fn gradients(
    model: &Llama,
    rows: &[Vec<Sequence>],
    size: usize,
    recomputed: usize,
) -> (f32, BTreeMap<String, Vec<f32>>) {
    let mut gradients = Gradients::default();
    let mut sum = 0.0;
    for rows in rows.chunks(size) {
        let batch = Batch { dropout_key: Some(dropout_keys::of_step(3, 4)), ..Batch::new(rows) };
        sum += accumulate(model, &small_config(), &batch, recomputed, &mut gradients)
            .into_scalar::<f32>();
    }
    let values = gradients
        .iter()
        .map(|(name, values)| (name.to_owned(), values.clone().try_into_vec_as().unwrap()));
    (sum, values.collect())
}

#[test]
fn only_the_adapter_has_gradients() {
    let base = tempfile::tempdir().unwrap();
    let (_, found) = gradients(&trained(base.path(), 0.0), &rows(), 2, 1);
    assert_eq!(found.len(), 3 * 7 * 2);
    assert!(found.keys().all(|name| name.contains(".lora_")), "{:?}", found.keys());
    assert!(found.iter().all(|(_, values)| values.iter().any(|value| *value != 0.0)));
}

#[test]
fn dropout_is_the_same_however_a_step_is_computed() {
    let base = tempfile::tempdir().unwrap();
    let (model, rows) = (trained(base.path(), 0.3), rows());
    let recomputed = gradients(&model, &rows, 2, 3);
    // Bitwise: the same operations on the same masks.
    assert!(
        gradients(&model, &rows, 2, 0) == recomputed,
        "kept graphs differ from recomputed ones"
    );
    let without = gradients(&trained(base.path(), 0.0), &rows, 2, 0);
    assert!((without.0 / recomputed.0 - 1.0).abs() > 1e-4, "nothing was dropped");
    // Other micro-batches and other rows add the same terms in another order.
    let alone: Vec<Vec<Sequence>> =
        rows.iter().flatten().rev().map(|tokens| vec![tokens.clone()]).collect();
    for (what, got) in [
        ("one row at a time", gradients(&model, &rows, 1, 0)),
        ("not packed", gradients(&model, &alone, 3, 0)),
    ] {
        assert!(
            (got.0 / recomputed.0 - 1.0).abs() < 1e-6,
            "{what}: {} is not {}",
            got.0,
            recomputed.0
        );
        for (name, expected) in &recomputed.1 {
            let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert_close(
                &format!("{what}: {name}"),
                &got.1[name],
                expected,
                cpu().tolerance.op * largest,
            );
        }
    }
}

#[test]
fn another_step_drops_others_and_validation_drops_nothing() {
    let base = tempfile::tempdir().unwrap();
    let (model, rows) = (trained(base.path(), 0.3), rows());
    let loss_with = |dropout_key| {
        let batch = Batch { dropout_key, ..Batch::new(&rows) };
        accumulate(&model, &small_config(), &batch, 0, &mut Gradients::default())
            .into_scalar::<f32>()
    };
    assert_ne!(loss_with(Some(1)), loss_with(Some(2)));
    let whole = trained(base.path(), 0.0);
    let batch = Batch::new(&rows);
    assert_eq!(loss_with(None), loss(&whole, &small_config(), &batch).into_scalar::<f32>());
    let noisy = Batch { dropout_key: Some(1), ..batch };
    assert_eq!(loss(&model, &small_config(), &noisy).into_scalar::<f32>(), loss_with(None));
}

fn config() -> TrainConfig {
    TrainConfig {
        epochs: 4.0,
        max_steps: Some(10),
        lr: 1e-2,
        weight_decay: 0.1,
        save_every: 3,
        keep_last: 3,
        validate_every: 4,
        ..train_config()
    }
}

fn store(folder: &Path) -> TokenStore {
    let mut writer = StoreWriter::new(folder, config().max_seq_len).unwrap();
    (0..17).for_each(|number| writer.push(&conversation(number, 2 + number % 4)).unwrap());
    writer.finish().unwrap()
}

/// Trains to the end or to a step, and returns the losses.
fn run(folder: &Path, state: TrainState, stop_after: Option<u64>) -> (TrainState, Vec<f64>) {
    let (config, model_config, store) = (config(), small_config(), store(folder));
    let group = Group::single();
    let run = Run {
        seed: 7,
        validation: Some(&store),
        layout: layout(2, 2),
        ..Run::new((&config, &model_config), &store, folder, &group)
    };
    let mut losses = Vec::new();
    let state = train(&run, state, &mut |event| {
        match event {
            Event::Step(metrics) => {
                losses.push(metrics.loss);
                if stop_after == Some(metrics.step) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Event::Validated { loss, .. } => losses.push(*loss),
            _ => (),
        }
        Ok(ControlFlow::Continue(()))
    });
    (state.unwrap(), losses)
}

fn start(base: &Path) -> TrainState {
    TrainState::new(adapted(base, 0.2), &Group::single())
}

/// Every bit of the adapter and of its moments.
fn bits(state: &TrainState) -> Vec<(String, Vec<u32>)> {
    let to_bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
    let mut all = Vec::new();
    for (name, values) in values(state.model.local()) {
        if let Some((first, second)) = state.optimizer.moments(&name) {
            for (kind, moment) in [("first", first), ("second", second)] {
                all.push((
                    format!("{kind} {name}"),
                    to_bits(moment.clone().try_into_vec_as().unwrap()),
                ));
            }
        }
        all.push((name, to_bits(values)));
    }
    all
}

#[test]
fn stopped_and_resumed_is_bitwise_uninterrupted() {
    let (base, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, expected_losses) = run(whole.path(), start(base.path()), None);
    assert_eq!(expected.step, 10);
    assert!(
        expected_losses.last().unwrap() < &expected_losses[0],
        "nothing was learnt: {expected_losses:?}"
    );
    assert_eq!(
        bits(&expected).iter().filter(|(name, _)| name.starts_with("first")).count(),
        3 * 7 * 2
    );
    for stop_after in [1, 4, 7] {
        let parts = tempfile::tempdir().unwrap();
        let (_, first) = run(parts.path(), start(base.path()), Some(stop_after));
        let folder = latest(parts.path()).unwrap().unwrap();
        assert!(!folder.join("model.safetensors").exists(), "the base was copied");
        let state = checkpoint::load(&folder, &Group::single(), &Device::flex()).unwrap().into();
        let (second, losses) = run(parts.path(), state, None);
        assert_eq!([first, losses].concat(), expected_losses, "stopped after {stop_after}");
        assert!(bits(&second) == bits(&expected), "stopped after {stop_after}");
    }
}

/// Losses of ten steps and of validations on a quantised base are within 1 % (8 bits) and 5 % (4
/// bits) of those on the f32 base at every step. The total decrease agrees to a fifth. The weights
/// are normally distributed: quantisation errors are 0.6 % (8 bits) and 9 % (4 bits).
#[test]
fn a_base_in_fewer_bits_learns_alike_and_resumes_bitwise() {
    let base = tempfile::tempdir().unwrap();
    let plain = adapted(base.path(), 0.0);
    let start = |form: Option<BaseFormat>| {
        let (_, model) = load_frozen(base.path(), form, &Device::flex()).unwrap();
        let adapter = Adapter {
            config: settings(0.0),
            base: Base { form, ..Base::of(base.path()).unwrap() },
        };
        TrainState::new(attach(model, adapter, 7), &Group::single())
    };
    let folder = tempfile::tempdir().unwrap();
    let begin = TrainState::new(plain, &Group::single());
    let (_, expected) = run(folder.path(), begin, None);
    let learnt = expected[0] - expected.last().unwrap();
    for (form, allowed) in [(BaseFormat::EightBit, 0.01), (BaseFormat::FourBit, 0.05)] {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (end, losses) = run(whole.path(), start(Some(form)), None);
        let worst =
            losses.iter().zip(&expected).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
        assert!(worst <= allowed, "{form:?}: losses {losses:?} are off {expected:?} by {worst}");
        let share = (losses[0] - losses.last().unwrap()) / learnt;
        assert!((share - 1.0).abs() < 0.2, "{form:?}: {share} of {learnt} was learnt");
        assert!(losses != expected, "{form:?}: nothing was quantised");
        let (_, first) = run(parts.path(), start(Some(form)), Some(5));
        let saved = latest(parts.path()).unwrap().unwrap();
        let state = checkpoint::load(&saved, &Group::single(), &Device::flex()).unwrap().into();
        let (again, rest) = run(parts.path(), state, None);
        assert_eq!([first, rest].concat(), losses, "{form:?}");
        assert!(bits(&again) == bits(&end), "{form:?}");
    }
}

#[test]
fn a_base_in_fewer_bits_is_the_same_on_every_device() {
    let base = tempfile::tempdir().unwrap();
    uner_model::save(&small_model(5), &small_config(), base.path(), usize::MAX).unwrap();
    let batch = Batch::new(&rows());
    for form in [BaseFormat::EightBit, BaseFormat::FourBit] {
        let of = |device: &Device| {
            let (config, model) = load_frozen(base.path(), Some(form), device).unwrap();
            let adapter = Adapter { config: settings(0.0), base: Base::of(base.path()).unwrap() };
            let model = attach(model, adapter, 7);
            let mut gradients = Gradients::default();
            let loss = accumulate(&model, &config, &batch, 1, &mut gradients).into_scalar::<f32>();
            (f64::from(loss), gradients.squared_norm().sqrt())
        };
        let expected = of(&Device::flex());
        for setup in devices() {
            let got = of(&setup.device);
            let off = |got: f64, expected: f64| (got / expected - 1.0).abs();
            assert!(
                off(got.0, expected.0) <= setup.tolerance.loss,
                "{form:?} on {setup}: {got:?}, {expected:?}"
            );
            assert!(
                off(got.1, expected.1) <= setup.tolerance.norm,
                "{form:?} on {setup}: {got:?}, {expected:?}"
            );
        }
    }
}

/// The logits agree within a model's tolerance, and so does the loss.
#[test]
fn a_trained_adapter_written_read_and_merged_is_the_same_model() {
    let [base, written, merged] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let model = trained(base.path(), 0.0);
    files(&model).unwrap().write(written.path()).unwrap();
    let (_, read) = load_adapted(written.path(), None, None, &Device::flex()).unwrap();
    assert!(values(&read) == values(&model));
    let export = Export {
        model: base.path(),
        adapter: Some(written.path()),
        dtype: None,
        max_shard_bytes: usize::MAX,
    };
    export::model(&export, merged.path()).unwrap();
    let (config, folded) = uner_model::load(merged.path(), &Device::flex()).unwrap();
    let batch = Batch::new(&rows());
    let logits = |model: &Llama| -> Vec<f32> {
        let hidden = model.hidden(&batch.ids, &batch.context(&config, &Device::flex()), None);
        model.logits(hidden).try_into_vec_as().unwrap()
    };
    let (expected, plain) = (logits(&model), logits(&small_model(5)));
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let moved = expected.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(moved > 0.01 * largest, "the adapter does nothing: {moved} of {largest}");
    assert_close("merged logits", &logits(&folded), &expected, cpu().tolerance.forward * largest);
}

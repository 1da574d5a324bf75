//! Five AdamW steps through the training step equal PyTorch's, on every device. The learning rates
//! equal those of transformers.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use uner_model::Llama;
use uner_model::parameters::visit;
use uner_trainer::step::forward_backward::accumulate;
use uner_trainer::step::optimizer::{Update, clip_factor};
use uner_trainer::step::schedule::{factor, warmup_updates};
use uner_trainer::{AdamW, Gradients, Group, Schedule};

use crate::devices::{Setup, devices};
use crate::golden::{assert_close, assert_relative, folders, json, roots, tensors};
use crate::model::{batch_of_case, train_config};
use crate::shared::shared;

/// Largest allowed differences of parameters and moments.
struct Tolerance {
    /// Absolute, for sampled parameters after any step.
    parameter: f32,
    /// Root mean square over all parameters after the last step.
    rms: f64,
    /// As a share of a moment's largest entry.
    moment: f32,
}

const F32: Tolerance = Tolerance { parameter: 1e-5, rms: 5e-6, moment: 1e-3 };
/// For products with TF32's 10 bits of mantissa: 1.5 times the error of PyTorch on a CPU when it
/// rounds the factors of every product like that (at worst 2.0e-3 for a parameter whose first
/// gradient changes its sign, rms 6.7e-5, moments 9.5e-3). Five steps at this learning rate move a
/// parameter by up to 5e-3.
const TF32: Tolerance = Tolerance { parameter: 3e-3, rms: 1e-4, moment: 1.5e-2 };

fn values(model: &Llama) -> BTreeMap<String, Vec<f32>> {
    let mut all = BTreeMap::new();
    visit(model, "", |parameter| {
        all.insert(parameter.name, parameter.values.try_into_vec_as().unwrap());
    });
    all
}

/// Repeats the steps of a recorded run and compares the sampled parameters after each.
fn assert_run(setup: &Setup, (root, folder): (&Path, &Path), run: &str, max_grad_norm: f64) {
    let tolerance = if setup.is_exact() { F32 } else { TF32 };
    let steps = json(&folder.join("steps.json"));
    let expected = tensors(&folder.join("params.safetensors"));
    let indices = indices(&folder.join("params.safetensors"));
    let base = root.join(steps["base"].as_str().unwrap());
    let (config, mut model) = uner_model::load(&base, &setup.device).unwrap();
    let batch = batch_of_case(&json(&base.join("case.json")));
    let trained = batch.num_trained() as f64;
    let train = uner_trainer::TrainConfig { weight_decay: 0.1, max_grad_norm, ..train_config() };
    let mut optimizer = AdamW::default();
    for (step, number) in steps[run]["steps"].as_array().unwrap().iter().zip(1..) {
        let what = format!("{} {run} step {number} on {setup}", folder.display());
        let mut gradients = Gradients::default();
        let loss = accumulate(&model, &config, &batch, 0, &mut gradients).into_scalar::<f32>();
        let loss = f64::from(loss);
        assert_relative(
            &format!("{what}: loss"),
            loss,
            &step["sum_loss_before"],
            setup.tolerance.loss,
        );
        let norm = gradients.squared_norm().sqrt() / trained;
        assert_relative(
            &format!("{what}: norm"),
            norm,
            &step["grad_norm_before_clip"],
            setup.tolerance.norm,
        );
        let lr = step["lr"].as_f64().unwrap();
        let update =
            Update { lr, step: number, grad_scale: clip_factor(norm, max_grad_norm) / trained };
        model = optimizer.step(model, gradients, &train, update, &Group::single()).unwrap();
        for (name, got) in values(&model) {
            let at = &indices[&name];
            let sampled: Vec<f32> = at.iter().map(|&index| got[index]).collect();
            let rows = &expected[&format!("{run}.{name}")].1;
            let row = &rows[(number as usize - 1) * at.len()..][..at.len()];
            assert_close(&format!("{what} {name}"), &sampled, row, tolerance.parameter);
        }
    }
    if run == "constant" {
        let what = format!("{} on {setup}", folder.display());
        assert_moments(&what, &optimizer, &indices, &expected, &tolerance);
        assert_whole(&what, &values(&model), &expected, &tolerance);
    }
}

/// Compares all parameters after the last step: the root mean square of the differences, and that
/// at most one entry in a thousand exceeds the tolerance of sampled ones. Single entries may:
/// Adam's first steps follow the sign of a gradient even if it is of rounding size.
fn assert_whole(
    what: &str,
    got: &BTreeMap<String, Vec<f32>>,
    expected: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    tolerance: &Tolerance,
) {
    let pairs =
        got.iter().flat_map(|(name, got)| got.iter().zip(&expected[&format!("full.{name}")].1));
    let differences: Vec<f64> =
        pairs.map(|(got, expected)| f64::from((got - expected).abs())).collect();
    let count = differences.len() as f64;
    let rms =
        (differences.iter().map(|difference| difference * difference).sum::<f64>() / count).sqrt();
    let limit = f64::from(tolerance.parameter);
    let far = differences.iter().filter(|difference| **difference > limit).count() as f64 / count;
    assert!(
        rms <= tolerance.rms && far <= 1e-3,
        "{what}: rms {rms:e}, {far} of the entries far off"
    );
}

fn assert_moments(
    what: &str,
    optimizer: &AdamW,
    indices: &BTreeMap<String, Vec<usize>>,
    expected: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    tolerance: &Tolerance,
) {
    for (name, at) in indices {
        let (first, second) = optimizer.moments(name).unwrap();
        for (moment, got) in [("exp_avg", first), ("exp_avg_sq", second)] {
            let got: Vec<f32> = got.clone().try_into_vec_as().unwrap();
            let sampled: Vec<f32> = at.iter().map(|&index| got[index]).collect();
            let expected = &expected[&format!("{moment}.{name}")].1;
            let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert_close(
                &format!("{what} {moment} {name}"),
                &sampled,
                expected,
                tolerance.moment * largest,
            );
        }
    }
}

/// The sampled flat indices of every parameter.
fn indices(path: &Path) -> BTreeMap<String, Vec<usize>> {
    let bytes = fs_err::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .filter_map(|(name, view)| {
            let name = name.strip_prefix("index.")?.to_owned();
            let words: Vec<usize> = match view.dtype() {
                safetensors::Dtype::I64 => view
                    .data()
                    .chunks_exact(8)
                    .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize)
                    .collect(),
                _ => view
                    .data()
                    .chunks_exact(4)
                    .map(|b| i32::from_le_bytes(b.try_into().unwrap()) as usize)
                    .collect(),
            };
            Some((name, words))
        })
        .collect()
}

#[test]
fn five_steps_equal_pytorch() {
    for root in roots() {
        for folder in folders(&root, "adamw") {
            if folder.is_dir() {
                for setup in devices() {
                    for (run, max_grad_norm) in
                        [("constant", 1.0), ("cosine", 1.0), ("noclip", f64::INFINITY)]
                    {
                        assert_run(&setup, (&root, &folder), run, max_grad_norm);
                    }
                }
            }
        }
    }
}

#[test]
fn learning_rates_equal_transformers() {
    let Some(path) = shared("golden/adamw/schedules.json") else { return };
    let file = json(&path);
    for (name, schedule) in [("cosine", Schedule::Cosine), ("linear", Schedule::Linear)] {
        for case in file[name].as_array().unwrap() {
            assert_schedule(schedule, case);
        }
    }
}

fn assert_schedule(schedule: Schedule, case: &Value) {
    let (warmup, total) = (case["warmup"].as_u64().unwrap(), case["total"].as_u64().unwrap());
    let peak = case["peak"].as_f64().unwrap();
    if let Some(ratio) = case["warmup_ratio"].as_f64() {
        assert_eq!(warmup_updates(ratio, total), warmup);
    }
    for (update, lr) in (0..total).zip(case["lr"].as_array().unwrap()) {
        let got = peak * factor(schedule, update, warmup, total);
        assert!(
            (got - lr.as_f64().unwrap()).abs() < 1e-12,
            "{schedule:?} update {update}: {got} is not {lr}"
        );
    }
}

#[test]
fn the_first_updates_of_a_schedule_by_hand() {
    let rates = |schedule| (0..5).map(|update| factor(schedule, update, 2, 6)).collect::<Vec<_>>();
    assert_eq!(rates(Schedule::Constant), [0.0, 0.5, 1.0, 1.0, 1.0]);
    assert_eq!(rates(Schedule::Linear), [0.0, 0.5, 1.0, 0.75, 0.5]);
    let cosine = rates(Schedule::Cosine);
    assert!((cosine[4] - 0.5).abs() < 1e-12 && cosine[2] == 1.0, "{cosine:?}");
}

//! Five AdamW steps through the training step equal PyTorch's, and the learning rates those of transformers.

use burn::tensor::Device;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use uner_model::Llama;
use uner_model::parameters::visit;
use uner_trainer::optimizer::{Update, clip_factor};
use uner_trainer::schedule::{factor, warmup_updates};
use uner_trainer::step::accumulate;
use uner_trainer::{AdamW, Gradients, Schedule};

use crate::golden::{assert_close, folders, json, roots, tensors};
use crate::model::{batch_of_case, train_config};
use crate::shared::shared;

/// Absolute, on sampled parameters after any step.
const PARAMETER: f32 = 1e-5;
/// Of a moment's largest entry.
const MOMENT: f32 = 1e-3;

fn values(model: &Llama) -> BTreeMap<String, Vec<f32>> {
    let mut all = BTreeMap::new();
    visit(model, "", |parameter| {
        all.insert(parameter.name, parameter.values.try_into_vec_as().unwrap());
    });
    all
}

/// Runs the steps of one of the recorded runs and compares the sampled parameters after each.
fn assert_run(root: &Path, folder: &Path, run: &str, max_grad_norm: f64) {
    let steps = json(&folder.join("steps.json"));
    let expected = tensors(&folder.join("params.safetensors"));
    let indices = indices(&folder.join("params.safetensors"));
    let base = root.join(steps["base"].as_str().unwrap());
    let (config, mut model) = uner_model::load(&base, &Device::flex()).unwrap();
    let batch = batch_of_case(&json(&base.join("case.json")));
    let trained = batch.num_trained() as f64;
    let train = uner_trainer::TrainConfig { weight_decay: 0.1, max_grad_norm, ..train_config() };
    let mut optimizer = AdamW::default();
    for (step, number) in steps[run]["steps"].as_array().unwrap().iter().zip(1..) {
        let what = format!("{} {run} step {number}", folder.display());
        let mut gradients = Gradients::default();
        let loss = accumulate(&model, &config, &batch, 0, &mut gradients).into_scalar::<f32>();
        assert!(
            (f64::from(loss) - step["sum_loss_before"].as_f64().unwrap()).abs() < 1e-3,
            "{what}: loss {loss}"
        );
        let norm = gradients.norm() / trained;
        assert!(
            (norm / step["grad_norm_before_clip"].as_f64().unwrap() - 1.0).abs() < 1e-4,
            "{what}: norm {norm}"
        );
        let lr = step["lr"].as_f64().unwrap();
        let update = Update { lr, step: number, grad_scale: clip_factor(norm, max_grad_norm) / trained };
        model = optimizer.step(model, gradients, &train, update);
        for (name, got) in values(&model) {
            let at = &indices[&name];
            let sampled: Vec<f32> = at.iter().map(|&index| got[index]).collect();
            let rows = &expected[&format!("{run}.{name}")].1;
            let row = &rows[(number as usize - 1) * at.len()..][..at.len()];
            assert_close(&format!("{what} {name}"), &sampled, row, PARAMETER);
        }
    }
    if run == "constant" {
        assert_moments(folder, &optimizer, &indices, &expected);
        assert_whole(folder, &values(&model), &expected);
    }
}

/// All parameters after the last step: root mean square 5e-6, and at most one entry in a thousand off by more than 1e-5.
/// Where a gradient is of rounding size, Adam's first steps are its sign, so single entries may differ.
fn assert_whole(
    folder: &Path,
    got: &BTreeMap<String, Vec<f32>>,
    expected: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) {
    let pairs = got.iter().flat_map(|(name, got)| got.iter().zip(&expected[&format!("full.{name}")].1));
    let differences: Vec<f64> = pairs.map(|(got, expected)| f64::from((got - expected).abs())).collect();
    let count = differences.len() as f64;
    let rms = (differences.iter().map(|difference| difference * difference).sum::<f64>() / count).sqrt();
    let far = differences.iter().filter(|difference| **difference > 1e-5).count() as f64 / count;
    assert!(rms <= 5e-6 && far <= 1e-3, "{}: rms {rms:e}, {far} of the entries far off", folder.display());
}

fn assert_moments(
    folder: &Path,
    optimizer: &AdamW,
    indices: &BTreeMap<String, Vec<usize>>,
    expected: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) {
    for (name, at) in indices {
        let (first, second) = optimizer.moments(name).unwrap();
        for (moment, got) in [("exp_avg", first), ("exp_avg_sq", second)] {
            let got: Vec<f32> = got.clone().try_into_vec_as().unwrap();
            let sampled: Vec<f32> = at.iter().map(|&index| got[index]).collect();
            let expected = &expected[&format!("{moment}.{name}")].1;
            let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert_close(
                &format!("{} {moment} {name}", folder.display()),
                &sampled,
                expected,
                MOMENT * largest,
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
                let steps = json(&folder.join("steps.json"));
                for (run, max_grad_norm) in [("constant", 1.0), ("cosine", 1.0), ("noclip", f64::INFINITY)] {
                    if steps[run].is_object() {
                        assert_run(&root, &folder, run, max_grad_norm);
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

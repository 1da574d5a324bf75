//! Training on any device equals training on the CPU: loss and every gradient of ten steps.
//!
//! Every op of the hot path runs, and an op that a backend lacks would panic here.

use std::collections::BTreeMap;

use uner_kernels::device::DeviceName;
use uner_model::Llama;
use uner_model::weights::random;
use uner_trainer::data::pack::pack_tokens;
use uner_trainer::step::forward_backward::accumulate;
use uner_trainer::step::optimizer::{Update, clip_factor};
use uner_trainer::{AdamW, Batch, Gradients, Group, TrainConfig};

use crate::devices::{Setup, cpu, devices, fetch};
use crate::golden::assert_close;
use crate::model::{conversation, small_config, train_config};

/// Factor of the tolerance of a single step: a step from slightly different weights differs
/// slightly.
const DRIFT: f32 = 10.0;

/// Loss per trained token and every gradient of a step.
type Step = (f64, BTreeMap<String, Vec<f32>>);

/// Runs ten steps on two alternating batches of packed rows.
fn ten_steps(setup: &Setup) -> Vec<Step> {
    let rows = pack_tokens((0..8).map(|number| conversation(number, 1 + number % 4)).collect(), 48);
    let (first, second) = rows.split_at(rows.len() / 2);
    let batches = [Batch::new(first), Batch::new(second)];
    let train = TrainConfig { weight_decay: 0.1, ..train_config() };
    let mut model = random(&small_config(), 7, &setup.device);
    let mut optimizer = AdamW::default();
    let step = |number: u64| {
        let batch = &batches[number as usize % 2];
        let (found, gradients) = gradients_of(&model, batch);
        let trained = batch.num_trained() as f64;
        let grad_scale = clip_factor(gradients.squared_norm().sqrt() / trained, 1.0) / trained;
        let update = Update { lr: 3e-3, step: number, grad_scale };
        model = optimizer.step(model.clone(), gradients, &train, update, &Group::single()).unwrap();
        found
    };
    (1..=10).map(step).collect()
}

fn gradients_of(model: &Llama, batch: &Batch) -> (Step, Gradients) {
    let mut gradients = Gradients::default();
    let loss = accumulate(model, &small_config(), batch, 1, &mut gradients).into_scalar::<f32>();
    let values = gradients
        .iter()
        .map(|(name, gradient)| {
            (name.to_owned(), fetch(gradient.clone()).try_into_vec_as().unwrap())
        })
        .collect();
    ((f64::from(loss) / batch.num_trained() as f64, values), gradients)
}

#[test]
fn ten_steps_are_those_of_the_cpu() {
    let expected = ten_steps(&cpu());
    assert!(expected[8].0 < 0.7 * expected[0].0, "nothing was learnt");
    for setup in devices().into_iter().filter(|setup| setup.name != DeviceName::Flex) {
        let (loss, gradient) =
            (setup.tolerance.loss * f64::from(DRIFT), setup.tolerance.gradient * DRIFT);
        for (number, (got, expected)) in ten_steps(&setup).iter().zip(&expected).enumerate() {
            let what = format!("step {} on {setup}", number + 1);
            assert!(
                (got.0 / expected.0 - 1.0).abs() <= loss,
                "{what}: loss {} is not {}",
                got.0,
                expected.0
            );
            assert_eq!(
                got.1.keys().collect::<Vec<_>>(),
                expected.1.keys().collect::<Vec<_>>(),
                "{what}"
            );
            for (name, expected) in &expected.1 {
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                assert_close(
                    &format!("{what}: {name}"),
                    &got.1[name],
                    expected,
                    gradient * largest,
                );
            }
        }
    }
}

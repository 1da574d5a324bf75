//! The layout of a step does not change loss and gradients: packed = separate, accumulated = whole,
//! layer-wise = whole-graph. The latter two are tested on every device.
//!
//! The tolerance is that of a single op, as a share of a gradient's largest entry: the same terms
//! are added in another order.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use uner_kernels::linear_cross_entropy;
use uner_model::Llama;
use uner_model::parameters::take_gradients;
use uner_model::weights::random;
use uner_prompt::Tokens;
use uner_trainer::data::pack::pack_tokens;
use uner_trainer::step::forward_backward::{accumulate, loss};
use uner_trainer::{Batch, Gradients};

use crate::devices::{Tolerance, cpu, devices};
use crate::golden::assert_close;
use crate::model::{conversation, small_config, small_model};

pub(crate) type Values = BTreeMap<String, Vec<f32>>;

pub(crate) fn values(gradients: &Gradients) -> Values {
    gradients
        .iter()
        .map(|(name, values)| (name.to_owned(), values.clone().try_into_vec_as().unwrap()))
        .collect()
}

/// Computes summed loss and gradients over some batches.
fn run(model: &Llama, batches: &[Batch], recomputed_blocks: usize) -> (f64, Values) {
    let mut gradients = Gradients::default();
    let loss = batches
        .iter()
        .map(|batch| {
            f64::from(
                accumulate(model, &small_config(), batch, recomputed_blocks, &mut gradients)
                    .into_scalar::<f32>(),
            )
        })
        .sum();
    (loss, values(&gradients))
}

pub(crate) fn assert_same(
    what: &str,
    got: &(f64, Values),
    expected: &(f64, Values),
    tolerance: &Tolerance,
) {
    let loss = tolerance.loss / 10.0;
    assert!(
        (got.0 / expected.0 - 1.0).abs() < loss,
        "{what}: loss {} is not {}",
        got.0,
        expected.0
    );
    assert_eq!(got.1.keys().collect::<Vec<_>>(), expected.1.keys().collect::<Vec<_>>(), "{what}");
    for (name, expected) in &expected.1 {
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.0, "{what}: the gradient of {name} is zero");
        assert_close(&format!("{what}: {name}"), &got.1[name], expected, tolerance.op * largest);
    }
}

/// Returns conversations with unequal numbers of trained tokens.
fn conversations() -> Vec<Tokens> {
    (0..9).map(|number| conversation(number, 1 + number % 5)).collect()
}

fn separate() -> Vec<Batch> {
    conversations().into_iter().map(|tokens| Batch::new(&[vec![tokens]])).collect()
}

#[test]
fn packed_rows_equal_separate_rows() {
    let (model, tolerance) = (small_model(1), cpu().tolerance);
    let expected = run(&model, &separate(), 0);
    for max_seq_len in [40, 64, 200] {
        let rows = pack_tokens(conversations(), max_seq_len);
        assert!(rows.len() < 9, "nothing was packed");
        let got = run(&model, &[Batch::new(&rows)], 0);
        assert_same(&format!("rows of {max_seq_len}"), &got, &expected, &tolerance);
    }
}

#[test]
fn accumulated_equals_whole() {
    for setup in devices() {
        let model = random(&small_config(), 2, &setup.device);
        let rows = pack_tokens(conversations(), 40);
        let whole = run(&model, &[Batch::new(&rows)], 0);
        for size in [1, 2, 3] {
            let batches: Vec<Batch> = rows.chunks(size).map(Batch::new).collect();
            let trained: Vec<usize> = batches.iter().map(Batch::num_trained).collect();
            assert!(
                trained.windows(2).any(|pair| pair[0] != pair[1]),
                "equal {trained:?} would hide a mean of means"
            );
            let what = format!("{size} rows at a time on {setup}");
            assert_same(&what, &run(&model, &batches, 0), &whole, &setup.tolerance);
        }
    }
}

#[test]
fn layer_wise_equals_whole_graph_however_many_blocks_are_recomputed() {
    let batch = Batch::new(&pack_tokens(conversations(), 64));
    for setup in devices() {
        for tied in [false, true] {
            let config = uner_model::LlamaConfig { tie_word_embeddings: tied, ..small_config() };
            let model = random(&config, 3, &setup.device);
            let expected = whole_graph(&model, &config, &batch);
            for recomputed_blocks in [0, 1, 3] {
                let mut gradients = Gradients::default();
                let loss = accumulate(&model, &config, &batch, recomputed_blocks, &mut gradients);
                let got = (f64::from(loss.into_scalar::<f32>()), values(&gradients));
                let what = format!("{recomputed_blocks} recomputed, tied {tied} on {setup}");
                assert_same(&what, &got, &expected, &setup.tolerance);
            }
        }
    }
}

/// Computes loss and gradients with the whole model as one autodiff graph.
fn whole_graph(model: &Llama, config: &uner_model::LlamaConfig, batch: &Batch) -> (f64, Values) {
    let device = model.head().device();
    let model = model.clone().train();
    let hidden = model.hidden(&batch.ids, &batch.context(config, &device), None);
    let loss: Tensor<1> = linear_cross_entropy(hidden, model.head(), &batch.labels(&device));
    let mut graph = loss.clone().backward();
    let mut gradients = Gradients::default();
    take_gradients(&model, "", &mut graph, |name, gradient| gradients.add(name, gradient));
    (f64::from(loss.into_scalar::<f32>()), values(&gradients))
}

#[test]
fn the_validation_loss_is_the_training_loss() {
    let model = small_model(4);
    let batch = Batch::new(&pack_tokens(conversations(), 64));
    let expected = run(&model, std::slice::from_ref(&batch), 0).0;
    let got = f64::from(loss(&model, &small_config(), &batch).into_scalar::<f32>());
    assert!((got / expected - 1.0).abs() < 1e-6, "{got} is not {expected}");
}

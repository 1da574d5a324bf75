//! However many ranks there are, the run is the same: losses, gradient norms, weights and moments.
//!
//! Tolerance: what is added up is the same, in another order, and AdamW divides by roots that are near zero at first. After ten
//! steps of it, 1e-4 of a loss and 2e-4 of a tensor's largest entry.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;
use uner_model::parameters::visit;
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::store::StoreWriter;
use uner_trainer::{
    Callbacks, Event, Group, Progress, Run, StepMetrics, TokenStore, TrainConfig, TrainError, train,
};

use crate::golden::assert_close;
use crate::model::{conversation, small_config, small_model, train_config};

const LOSS: f64 = 1e-4;
const TENSOR: f32 = 2e-4;

type Values = BTreeMap<String, Vec<f32>>;

fn config(steps: u64) -> TrainConfig {
    TrainConfig {
        epochs: 9.0,
        max_steps: Some(steps),
        global_batch_size: 7,
        max_seq_len: 40,
        micro_batch_rows: 1,
        weight_decay: 0.1,
        save_every: 4,
        validate_every: 5,
        ..train_config()
    }
}

fn store(folder: &Path) -> TokenStore {
    let mut writer = StoreWriter::new(folder, config(1).max_seq_len).unwrap();
    (0..17).for_each(|number| writer.push(&conversation(number, 1 + number % 4)).unwrap());
    writer.finish().unwrap()
}

/// What a rank knows at the end.
struct Outcome {
    steps: Vec<StepMetrics>,
    validated: Vec<f64>,
    saved: usize,
    weights: Values,
    /// Of the first rank.
    state: Values,
    /// Numbers of the optimizer that this rank holds.
    held: usize,
}

/// One rank of a run, from the start or from the latest checkpoint in the folder.
fn rank(folder: &Path, group: &Group, steps: u64) -> Result<Outcome, TrainError> {
    let (config, model_config, store) =
        (config(steps), small_config(), store(&folder.join(group.rank().to_string())));
    let progress = match latest(folder)? {
        Some(path) => checkpoint::load(&path, group, &Device::flex())?.into(),
        None => Progress::new(small_model(5), group),
    };
    let run = Run {
        config: &config,
        model_config: &model_config,
        seed: 7,
        store: &store,
        validation: Some(&store),
        kept_blocks: 1,
        folder,
        companions: &[],
        callbacks: Callbacks::default(),
        deterministic: false,
        group,
    };
    let (mut done, mut validated, mut saved) = (Vec::new(), Vec::new(), 0);
    let progress = train(&run, progress, &mut |event| {
        match event {
            Event::Step(metrics) => done.push(metrics.clone()),
            Event::Validated { loss, .. } => validated.push(*loss),
            Event::Saved { .. } => saved += 1,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut weights = Values::new();
    visit(&progress.model, "", |parameter| {
        weights.insert(parameter.name, parameter.values.try_into_vec_as().unwrap());
    });
    let state = progress.optimizer.gathered(&progress.model, false, group)?;
    let state = state.into_iter().map(|(name, values)| (name, values.iter::<f32>().collect())).collect();
    let held =
        weights.keys().filter_map(|name| progress.optimizer.moments(name)).map(|(first, _)| first.dims()[0]);
    Ok(Outcome { steps: done, validated, saved, state, held: held.sum(), weights })
}

/// All ranks of a run in one process.
fn run(folder: &Path, ranks: usize, steps: u64) -> Vec<Outcome> {
    for rank in 0..ranks {
        fs_err::create_dir_all(folder.join(rank.to_string())).unwrap();
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = Group::all(ranks, None)
            .into_iter()
            .map(|group| scope.spawn(move || group.take_part(|| rank(folder, &group, steps)).unwrap()))
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

fn assert_values(what: &str, got: &Values, expected: &Values) {
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (name, expected) in expected {
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        assert_close(&format!("{what}: {name}"), &got[name], expected, TENSOR * largest);
    }
}

fn assert_same_run(what: &str, got: &Outcome, expected: &Outcome) {
    assert_eq!(got.steps.len(), expected.steps.len(), "{what}");
    for (got, expected) in got.steps.iter().zip(&expected.steps) {
        for (name, a, b) in [("loss", got.loss, expected.loss), ("norm", got.grad_norm, expected.grad_norm)] {
            assert!((a / b - 1.0).abs() < LOSS, "{what}, step {}: {name} {a} is not {b}", got.step);
        }
        assert_eq!((got.tokens, got.trained_tokens), (expected.tokens, expected.trained_tokens), "{what}");
    }
    for (got, expected) in got.validated.iter().zip(&expected.validated) {
        assert!((got / expected - 1.0).abs() < LOSS, "{what}: validation loss {got} is not {expected}");
    }
    assert_values(what, &got.weights, &expected.weights);
}

#[test]
fn any_number_of_ranks_trains_the_same_model() {
    let alone = tempfile::tempdir().unwrap();
    let expected = run(alone.path(), 1, 10).remove(0);
    assert!(expected.steps[9].loss < expected.steps[0].loss);
    // 7 conversations a step in rows of their own: with more ranks some have more micro-batches, with 9 some have none.
    for ranks in [2, 3, 9] {
        let folder = tempfile::tempdir().unwrap();
        let outcomes = run(folder.path(), ranks, 10);
        for (number, outcome) in outcomes.iter().enumerate() {
            assert_same_run(&format!("rank {number} of {ranks}"), outcome, &expected);
            assert_eq!(
                outcome.weights, outcomes[0].weights,
                "rank {number} of {ranks} has weights of its own"
            );
            assert_eq!(outcome.saved, if number == 0 { expected.saved } else { 0 });
        }
        assert_values(&format!("moments of {ranks} ranks"), &outcomes[0].state, &expected.state);
    }
}

#[test]
fn a_rank_holds_its_share_of_the_optimizer() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(folder.path(), 1, 1)[0].held;
    for ranks in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let held: Vec<usize> = run(folder.path(), ranks, 1).iter().map(|outcome| outcome.held).collect();
        assert_eq!(held.iter().sum::<usize>(), whole, "{held:?}");
        // Shares are whole blocks of 256, and this model's matrices have 576 to 1,464 elements.
        assert!(held.iter().all(|held| *held < whole * 2 / (ranks + 1)), "{held:?} of {whole}");
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let alone = tempfile::tempdir().unwrap();
    let expected = run(alone.path(), 1, 10).remove(0);
    for (before, after) in [(1, 2), (3, 1), (2, 3)] {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), before, 6);
        let outcome = run(folder.path(), after, 10).remove(0);
        assert_eq!(outcome.steps[0].step, 7);
        assert_values(&format!("{before} ranks, then {after}"), &outcome.weights, &expected.weights);
        assert_values(&format!("moments, {before} ranks, then {after}"), &outcome.state, &expected.state);
    }
}

#[test]
fn the_same_ranks_train_the_same_bits() {
    let outcomes = [0, 1].map(|_| {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), 3, 4).remove(0)
    });
    assert_eq!(outcomes[0].weights, outcomes[1].weights);
    // Interrupted and resumed as well.
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 3, 2);
    assert_eq!(run(folder.path(), 3, 4)[0].weights, outcomes[0].weights);
}

#[test]
fn a_rank_that_fails_stops_the_others_and_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 2, 4);
    let intact = latest(folder.path()).unwrap().unwrap();
    let start = std::time::Instant::now();
    let problems: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = Group::all(2, None)
            .into_iter()
            .map(|group| {
                let folder = folder.path();
                scope.spawn(move || {
                    let work = || match group.rank() {
                        1 => Err(TrainError::from(std::io::Error::other("out of memory"))),
                        _ => rank(folder, &group, 10).map(|_| ()),
                    };
                    group.take_part(work).unwrap_err().to_string()
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(problems[0], "rank 1 stopped: out of memory");
    assert!(start.elapsed().as_secs() < 10);
    assert_eq!(latest(folder.path()).unwrap().unwrap(), intact);
    checkpoint::load(&intact, &Group::alone(), &Device::flex()).unwrap();
}

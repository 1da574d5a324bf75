//! A run is the same for any number of ranks, with replicated and with sharded blocks: losses,
//! gradient norms, weights and moments.
//!
//! Tolerance: the same terms are added in another order, and AdamW divides by roots that are near
//! zero at first. After ten steps: 1e-4 of a loss and 2e-4 of a tensor's largest entry.

mod emulated;
mod link;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use uner_model::parameters::visit;
use uner_model::weights::random;
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::data::store::StoreWriter;
use uner_trainer::distributed::Shard;
use uner_trainer::step::precision;
use uner_trainer::{
    Event, Group, Run, StepMetrics, TokenStore, TrainConfig, TrainError, TrainState, train,
};

use crate::devices::devices;
use crate::golden::assert_close;
use crate::model::{conversation, layout, small_config, small_model, train_config};

const LOSS: f64 = 1e-4;
const TENSOR: f32 = 2e-4;

type Values = BTreeMap<String, Vec<f32>>;

fn config(steps: u64) -> TrainConfig {
    TrainConfig {
        epochs: 9.0,
        max_steps: Some(steps),
        global_batch_size: 7,
        max_seq_len: 40,
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

/// Whether every rank has all blocks, or the blocks are sharded over the ranks (ZeRO-3).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Blocks {
    Whole,
    Sharded,
}

use Blocks::{Sharded, Whole};

/// Results of a rank.
struct Outcome {
    steps: Vec<StepMetrics>,
    validated: Vec<f64>,
    saved: usize,
    weights: Values,
    /// The optimizer state, on rank 0.
    state: Values,
    /// Local elements of each moment.
    moments: usize,
    /// Local elements of the model.
    parameters: usize,
}

/// Runs one rank, from the start or from the latest checkpoint in the folder.
fn rank(
    folder: &Path,
    (group, device): (&Group, &Device),
    steps: u64,
    blocks: Blocks,
) -> Result<Outcome, TrainError> {
    let (config, model_config, store) =
        (config(steps), small_config(), store(&folder.join(group.rank().to_string())));
    let state = match latest(folder)? {
        Some(path) => checkpoint::load(&path, group, device)?.into(),
        None => TrainState::new(random(&model_config, 5, device), group),
    };
    let state = match blocks {
        Blocks::Whole => state,
        Blocks::Sharded => state.shard(&model_config, group),
    };
    let run = Run {
        seed: 7,
        validation: Some(&store),
        layout: layout(1, 2),
        ..Run::new((&config, &model_config), &store, folder, group)
    };
    let (mut done, mut validated, mut saved) = (Vec::new(), Vec::new(), 0);
    let state = train(&run, state, &mut |event| {
        match event {
            Event::Step(metrics) => done.push(metrics.clone()),
            Event::Validated { loss, .. } => validated.push(*loss),
            Event::Saved { .. } => saved += 1,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut weights = Values::new();
    visit(&*state.model.gathered(group)?, "", |parameter| {
        weights.insert(parameter.name, parameter.values.try_into_vec_as().unwrap());
    });
    let gathered = state.optimizer.gathered(&state.model, false, group)?.into_iter();
    let saved_state =
        gathered.map(|(name, values)| (name, values.iter::<f32>().collect())).collect();
    let moments = weights
        .keys()
        .filter_map(|name| state.optimizer.moments(name))
        .map(|(first, _)| first.dims()[0]);
    let (moments, parameters) = (moments.sum(), state.model.num_local_params());
    Ok(Outcome { steps: done, validated, saved, state: saved_state, moments, parameters, weights })
}

/// Runs all ranks in one process, with all-reduces in host memory.
fn run(folder: &Path, ranks: usize, steps: u64, blocks: Blocks) -> Vec<Outcome> {
    run_all(folder, Group::of_process(ranks, None), &Device::flex(), steps, blocks)
}

fn run_all(
    folder: &Path,
    ranks: Vec<Group>,
    device: &Device,
    steps: u64,
    blocks: Blocks,
) -> Vec<Outcome> {
    for rank in 0..ranks.len() {
        fs_err::create_dir_all(folder.join(rank.to_string())).unwrap();
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = ranks
            .into_iter()
            .map(|group| {
                scope.spawn(move || {
                    group.guarded(|| rank(folder, (&group, device), steps, blocks)).unwrap()
                })
            })
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
        for (name, a, b) in
            [("loss", got.loss, expected.loss), ("norm", got.grad_norm, expected.grad_norm)]
        {
            assert!((a / b - 1.0).abs() < LOSS, "{what}, step {}: {name} {a} is not {b}", got.step);
        }
        assert_eq!(
            (got.tokens, got.trained_tokens),
            (expected.tokens, expected.trained_tokens),
            "{what}"
        );
    }
    for (got, expected) in got.validated.iter().zip(&expected.validated) {
        assert!(
            (got / expected - 1.0).abs() < LOSS,
            "{what}: validation loss {got} is not {expected}"
        );
    }
    assert_values(what, &got.weights, &expected.weights);
}

#[test]
fn any_number_of_ranks_trains_the_same_model() {
    let alone = tempfile::tempdir().unwrap();
    let expected = run(alone.path(), 1, 10, Whole).remove(0);
    assert!(expected.steps[9].loss < expected.steps[0].loss);
    // A step has 7 conversations, each in its own row. With 2 or 3 ranks some have more
    // micro-batches than others; with 9 some have none.
    for (ranks, blocks) in
        [2, 3, 9].into_iter().flat_map(|ranks| [(ranks, Whole), (ranks, Sharded)])
    {
        let folder = tempfile::tempdir().unwrap();
        let outcomes = run(folder.path(), ranks, 10, blocks);
        for (number, outcome) in outcomes.iter().enumerate() {
            let what = format!("rank {number} of {ranks}, blocks {blocks:?}");
            assert_same_run(&what, outcome, &expected);
            assert_eq!(outcome.weights, outcomes[0].weights, "{what} has weights of its own");
            assert_eq!(outcome.saved, if number == 0 { expected.saved } else { 0 });
        }
        assert_values(&format!("moments of {ranks} ranks"), &outcomes[0].state, &expected.state);
    }
}

/// Two ranks that share each device.
#[test]
fn ranks_on_any_device_train_the_same_model() {
    let alone = tempfile::tempdir().unwrap();
    let expected = run(alone.path(), 1, 4, Whole).remove(0);
    for setup in devices() {
        // With bf16 weights a loss is 5e-3 off after one forward pass (see `devices`), and four
        // updates add to that.
        let is_f32 = precision::parameters(&setup.device) == DType::F32;
        let tolerance = if is_f32 { setup.tolerance.loss } else { 2e-2 };
        let folder = tempfile::tempdir().unwrap();
        let outcomes =
            run_all(folder.path(), Group::of_process(2, None), &setup.device, 4, Sharded);
        assert_eq!(outcomes[0].weights, outcomes[1].weights, "{setup:?}");
        for (got, expected) in outcomes[0].steps.iter().zip(&expected.steps) {
            let off = (got.loss / expected.loss - 1.0).abs();
            assert!(
                off < tolerance,
                "{setup:?}, step {}: {} is not {}",
                got.step,
                got.loss,
                expected.loss
            );
        }
    }
}

/// A slice is a view on every device. A rank's shard must not keep the whole parameter in memory.
#[test]
fn a_share_that_is_kept_lets_go_of_the_rest() {
    const COUNT: usize = 1 << 20;
    for setup in devices() {
        let Some(in_use) = setup.name.memory_gauge() else { continue };
        let values = Tensor::<1>::ones([COUNT], &setup.device);
        let whole = in_use().in_use;
        let share = Shard::new(COUNT, 1, 4).own(values);
        setup.device.sync().unwrap();
        let freed = whole.saturating_sub(in_use().in_use);
        assert!(
            freed as usize > COUNT * size_of::<f32>() / 2,
            "{setup:?}: {freed} bytes of {COUNT} floats"
        );
        let share: Vec<f32> = share.try_into_vec_as().unwrap();
        assert!(share.len() == COUNT / 4 && share.iter().all(|value| *value == 1.0), "{setup:?}");
    }
}

#[test]
fn a_rank_holds_its_share_of_the_optimizer_and_of_divided_blocks() {
    let held = |ranks, blocks| {
        let folder = tempfile::tempdir().unwrap();
        let outcomes = run(folder.path(), ranks, 1, blocks);
        outcomes.iter().map(|outcome| [outcome.moments, outcome.parameters]).collect::<Vec<_>>()
    };
    let [moments, parameters] = held(1, Whole)[0];
    let blocks: usize = small_model(5).model.layers.num_params();
    for ranks in [2, 3] {
        // Shards are whole granules of 256 elements; this model's matrices have 576 to 1,464.
        let is_share = |held: usize, whole: usize| held < whole * 2 / (ranks + 1);
        for (division, counts) in [Whole, Sharded].map(|blocks| (blocks, held(ranks, blocks))) {
            assert_eq!(
                counts.iter().map(|[moments, _]| moments).sum::<usize>(),
                moments,
                "{counts:?}"
            );
            assert!(
                counts.iter().all(|[held, _]| is_share(*held, moments)),
                "{counts:?} of {moments}"
            );
            let of_blocks: Vec<usize> =
                counts.iter().map(|[_, held]| held - (parameters - blocks)).collect();
            match division {
                Whole => assert!(of_blocks.iter().all(|held| *held == blocks)),
                Sharded => {
                    assert_eq!(of_blocks.iter().sum::<usize>(), blocks);
                    assert!(
                        of_blocks.iter().all(|held| is_share(*held, blocks)),
                        "{of_blocks:?} of {blocks}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let alone = tempfile::tempdir().unwrap();
    let expected = run(alone.path(), 1, 10, Whole).remove(0);
    let changes = [
        ((1, Whole), (2, Whole)),
        ((3, Whole), (1, Whole)),
        ((2, Sharded), (3, Sharded)),
        ((3, Sharded), (2, Whole)),
    ];
    for (before, after) in changes {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), before.0, 6, before.1);
        let outcome = run(folder.path(), after.0, 10, after.1).remove(0);
        assert_eq!(outcome.steps[0].step, 7);
        assert_values(&format!("{before:?}, then {after:?}"), &outcome.weights, &expected.weights);
        assert_values(
            &format!("moments, {before:?}, then {after:?}"),
            &outcome.state,
            &expected.state,
        );
    }
}

#[test]
fn the_same_ranks_train_the_same_bits() {
    for blocks in [Whole, Sharded] {
        let outcomes = [0, 1].map(|_| {
            let folder = tempfile::tempdir().unwrap();
            run(folder.path(), 3, 4, blocks).remove(0)
        });
        assert_eq!(outcomes[0].weights, outcomes[1].weights, "{blocks:?}");
        // The run is also interrupted and resumed.
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), 3, 2, blocks);
        assert_eq!(run(folder.path(), 3, 4, blocks)[0].weights, outcomes[0].weights, "{blocks:?}");
    }
}

#[test]
fn a_rank_that_fails_stops_the_others_and_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 2, 4, Sharded);
    let intact = latest(folder.path()).unwrap().unwrap();
    let problems: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = Group::of_process(2, None)
            .into_iter()
            .map(|group| {
                let folder = folder.path();
                scope.spawn(move || {
                    let work = || match group.rank() {
                        1 => Err(TrainError::from(std::io::Error::other("out of memory"))),
                        _ => rank(folder, (&group, &Device::flex()), 10, Sharded).map(|_| ()),
                    };
                    group.guarded(work).unwrap_err().to_string()
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(problems[0], "rank 1 stopped: out of memory");
    assert_eq!(latest(folder.path()).unwrap().unwrap(), intact);
    checkpoint::load(&intact, &Group::single(), &Device::flex()).unwrap();
}

//! `--profile` and `--deterministic` on real steps.

use std::collections::BTreeSet;

use uner_kernels::profile::Pass;
use uner_trainer::data::store::StoreWriter;
use uner_trainer::run::profile;
use uner_trainer::{Event, Group, Run, TokenStore, TrainConfig, TrainState, train};

use crate::model::{conversation, layout, small_config, small_model, train_config};

fn store() -> TokenStore {
    let mut writer = StoreWriter::new(&std::env::temp_dir(), train_config().max_seq_len).unwrap();
    (0..12).for_each(|number| writer.push(&conversation(number, 2)).unwrap());
    writer.finish().unwrap()
}

/// Calls `work` with a run on the store, in its own folder.
fn with_run<R>(config: &TrainConfig, deterministic: bool, work: impl FnOnce(&Run) -> R) -> R {
    let (folder, store, model_config) = (tempfile::tempdir().unwrap(), store(), small_config());
    work(&Run {
        seed: 4,
        layout: layout(2, 2),
        check_determinism: deterministic,
        ..Run::new((config, &model_config), &store, folder.path(), &Group::single())
    })
}

#[test]
fn a_profile_names_every_op_and_its_times_add_up() {
    let found = with_run(&train_config(), false, |run| {
        profile(run, TrainState::new(small_model(1), &Group::single()), 3)
    })
    .unwrap();
    assert_eq!(found.steps, 3);
    let ops: BTreeSet<&str> = found.ops.iter().map(|time| time.op).collect();
    let expected = [
        "adamw",
        "add_linear",
        "add_rows",
        "attention",
        "linear",
        "linear_cross_entropy",
        "rms_norm",
        "rope",
        "squared_norm",
        "swiglu",
    ];
    assert_eq!(ops.into_iter().collect::<Vec<_>>(), expected);
    let backward: BTreeSet<&str> =
        found.ops.iter().filter(|time| time.pass == Pass::Backward).map(|time| time.op).collect();
    assert_eq!(backward.len(), 7, "all but the optimizer's: {backward:?}");
    let sum: f64 = found.ops.iter().map(|time| time.seconds).sum();
    assert!(found.other > 0.0 && found.ops.iter().all(|time| time.seconds > 0.0), "{found:?}");
    assert!((sum + found.other - found.seconds).abs() < 1e-9 * found.seconds, "{found:?}");
    let parts = found.breakdown;
    let parts = parts.forward + parts.backward + parts.optimizer;
    assert!(parts > 0.5 * found.seconds && parts <= found.seconds, "{found:?}");
}

#[test]
fn a_model_trained_on_the_cpu_computes_the_same_twice() {
    let losses = |deterministic: bool| {
        with_run(&train_config(), deterministic, |run| {
            let mut losses = Vec::new();
            train(run, TrainState::new(small_model(1), &Group::single()), &mut |event| {
                if let Event::Step(metrics) = event {
                    losses.push(metrics.loss.to_bits());
                }
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
            losses
        })
    };
    assert_eq!(losses(true), losses(false));
}

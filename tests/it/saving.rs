//! Which checkpoints are saved and kept, and how evaluations during training decide on them without
//! changing the training.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use uner_model::Llama;
use uner_trainer::RunId;
use uner_trainer::checkpoint::{self, Snapshot, best, latest};
use uner_trainer::{
    BestConfig, Callbacks, CheckpointConfig, Event, Group, Interrupted, Measure, Run, Scoring,
    TrainConfig, TrainError, TrainState, Trainable, train,
};

use crate::model::{layout, small_config, small_model};
use crate::resume::{bits, config, store};

/// Scores of steps 2, 4, …: step 4 has the best one, and step 8 equals it.
const SCORES: [f64; 5] = [0.1, 0.5, 0.3, 0.5, 0.2];

fn by_score(patience: Option<u64>) -> TrainConfig {
    TrainConfig {
        best: Some(BestConfig { by: Measure::Score, patience }),
        keep_last: 1,
        ..config()
    }
}

struct Told {
    result: Result<TrainState, TrainError>,
    events: Vec<Event>,
}

impl Told {
    fn losses(&self) -> Vec<u64> {
        let loss = |event: &Event| match event {
            Event::Step(metrics) => Some(metrics.loss.to_bits()),
            Event::Validated { loss, .. } => Some(loss.to_bits()),
            _ => None,
        };
        self.events.iter().filter_map(loss).collect()
    }

    fn scores(&self) -> Vec<(u64, f64)> {
        let score = |event: &Event| match event {
            Event::Scored { step, score, .. } => Some((*step, *score)),
            _ => None,
        };
        self.events.iter().filter_map(score).collect()
    }

    fn saved(&self) -> Vec<u64> {
        let step = |event: &Event| matches!(event, Event::Saved { .. }).then(|| event.step());
        self.events.iter().filter_map(step).collect()
    }
}

/// Continues training until `stops` returns true for an event.
fn go_on(
    folder: &Path,
    config: &TrainConfig,
    state: TrainState,
    callbacks: Callbacks,
    mut stops: impl FnMut(&Event) -> bool,
) -> Told {
    let (model_config, store) = (small_config(), store(folder));
    let group = Group::single();
    let run = Run {
        seed: 7,
        validation: Some(&store),
        layout: layout(2, 2),
        callbacks,
        ..Run::new((config, &model_config), &store, folder, &group)
    };
    let mut events = Vec::new();
    let result = train(&run, state, &mut |event| {
        events.push(event.clone());
        Ok(if stops(event) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    Told { result, events }
}

fn start() -> TrainState {
    TrainState::new(small_model(5), &Group::single())
}

fn resume(folder: &Path) -> TrainState {
    checkpoint::load(&latest(folder).unwrap().unwrap(), &Group::single(), &Device::flex())
        .unwrap()
        .into()
}

/// Looks up the scores of [`SCORES`] by the model, as real scores depend on the model only. The
/// models come from runs without scoring.
struct Known {
    models: Vec<(Vec<u32>, f64)>,
}

impl Known {
    fn new() -> Self {
        let mut models = Vec::new();
        for (&score, step) in SCORES.iter().zip((2..).step_by(2)) {
            let folder = tempfile::tempdir().unwrap();
            let config = TrainConfig { validate_every: 0, ..config() };
            let told = go_on(folder.path(), &config, start(), Callbacks::default(), |event| {
                event.step() == step
            });
            models.push((head(&told.result.unwrap().model.into_unsharded().unwrap()), score));
        }
        Self { models }
    }

    fn score(&self, model: &Llama) -> f64 {
        let head = head(model);
        self.models.iter().find(|(known, _)| *known == head).expect("a model of this run").1
    }
}

fn head(model: &Llama) -> Vec<u32> {
    let values: Vec<f32> = model.head().reshape([-1]).try_into_vec_as().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

fn folders(run: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    names
}

fn named(pointer: Option<PathBuf>) -> String {
    pointer.unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_snapshot_is_not_changed_by_the_steps_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config();
    let first =
        go_on(folder.path(), &config, start(), Callbacks::default(), |event| event.step() == 3);
    let state = first.result.unwrap();
    let expected = bits(&state);
    let saved = checkpoint::load(
        &latest(folder.path()).unwrap().unwrap(),
        &Group::single(),
        &Device::flex(),
    )
    .unwrap()
    .state;
    let snapshot = Snapshot::take(
        state.model.weights(&small_config(), &Group::single()).unwrap(),
        state.optimizer.gathered(&state.model, false, &Group::single()).unwrap(),
        saved,
        &[],
    );

    let other = tempfile::tempdir().unwrap();
    let last = go_on(other.path(), &config, state, Callbacks::default(), |_| false).result.unwrap();
    assert_ne!(bits(&last), expected);
    let written = checkpoint::save(other.path(), snapshot).unwrap();
    assert_eq!(
        bits(&checkpoint::load(&written, &Group::single(), &Device::flex()).unwrap().into()),
        expected
    );
}

/// A large file in every checkpoint makes writing slower than the steps.
#[test]
fn training_goes_on_while_a_checkpoint_is_written_and_the_next_one_waits() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("companion");
    fs_err::write(&large, vec![1; 128 << 20]).unwrap();
    let config = TrainConfig { max_steps: Some(7), validate_every: 0, keep_last: 1, ..config() };
    let (model_config, store) = (small_config(), store(folder.path()));
    let extra_files = [large];
    let group = Group::single();
    let run = Run {
        seed: 7,
        layout: layout(2, 0),
        extra_files: &extra_files,
        ..Run::new((&config, &model_config), &store, folder.path(), &group)
    };
    let mut told = Vec::new();
    train(&run, start(), &mut |event| {
        told.push((matches!(event, Event::Saved { .. }), event.step()));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    let place =
        |saved: bool, step: u64| told.iter().position(|event| *event == (saved, step)).unwrap();
    assert!(
        place(false, 4) < place(true, 3),
        "step 4 waited for the checkpoint after step 3: {told:?}"
    );
    assert!(place(true, 3) < place(false, 7), "two checkpoints were under way: {told:?}");
    assert!(place(true, 6) < place(true, 7), "{told:?}");
}

#[test]
fn scoring_changes_nothing_that_is_trained_and_keeps_the_best() {
    let (plain, scored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = go_on(plain.path(), &config(), start(), Callbacks::default(), |_| false);
    let known = Known::new();
    let score = |model: &Llama| Ok(Some(known.score(model)));
    let callbacks =
        Callbacks { scoring: Some(Scoring { every: 2, score: &score }), interrupted: None };
    let told = go_on(scored.path(), &by_score(None), start(), callbacks, |_| false);

    assert_eq!(told.losses(), expected.losses());
    assert_eq!(bits(told.result.as_ref().unwrap()), bits(expected.result.as_ref().unwrap()));
    assert_eq!(told.scores(), [(2, 0.1), (4, 0.5), (6, 0.3), (8, 0.5), (10, 0.2)]);
    // A new best is saved at once, in addition to every third step. Of the older checkpoints only
    // the best is kept.
    assert_eq!(told.saved(), [2, 3, 4, 6, 9, 10]);
    assert_eq!(folders(scored.path()), ["step-000004", "step-000010"]);
    assert_eq!(named(best(scored.path()).unwrap()), "step-000004");
    assert_eq!(named(latest(scored.path()).unwrap()), "step-000010");
}

#[test]
fn a_listener_that_fails_or_panics_loses_no_step() {
    let config = TrainConfig { save_every: 100, ..config() };
    for panics in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let (model_config, store) = (small_config(), store(folder.path()));
            let group = Group::single();
            let run = Run {
                seed: 7,
                layout: layout(2, 2),
                ..Run::new((&config, &model_config), &store, folder.path(), &group)
            };
            train(&run, start(), &mut |event| match event {
                Event::Step(metrics) if metrics.step == 5 && panics => panic!("nobody listens"),
                Event::Step(metrics) if metrics.step == 5 => {
                    Err(std::io::Error::other("the disk is full").into())
                }
                _ => Ok(ControlFlow::Continue(())),
            })
        }));
        match outcome {
            Ok(failed) => assert!(failed.unwrap_err().to_string().contains("the disk is full")),
            Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"nobody listens")),
        }
        assert_eq!(resume(folder.path()).step, 5);
    }
}

#[test]
fn checkpoints_name_their_run_and_those_of_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let other = RunId { folder: "elsewhere".into(), started: 1 };
    let long = TrainConfig { keep_last: 1, ..config() };
    let short = TrainConfig { max_steps: Some(4), ..long.clone() };
    let first = TrainState { run: Some(other.clone()), ..start() };
    go_on(folder.path(), &short, first, Callbacks::default(), |_| false).result.unwrap();
    assert_eq!(folders(folder.path()), ["step-000004"]);
    let last =
        go_on(folder.path(), &long, start(), Callbacks::default(), |_| false).result.unwrap();
    assert_eq!(folders(folder.path()), ["step-000004", "step-000010"]);
    let run = |step: &str| {
        let found = checkpoint::load(&folder.path().join(step), &Group::single(), &Device::flex());
        found.unwrap().state.run.unwrap()
    };
    assert_eq!(run("step-000004"), other);
    assert_eq!(run("step-000010").folder, folder.path());
    // A resumed run keeps its name.
    assert_eq!(resume(folder.path()).run, last.run);
}

#[test]
fn the_lowest_validation_loss_is_kept_too() {
    let folder = tempfile::tempdir().unwrap();
    let best_by = BestConfig { by: Measure::ValidationLoss, patience: None };
    // Steps this large make the loss rise sooner or later.
    let config =
        TrainConfig { lr: 0.5, validate_every: 1, keep_last: 1, best: Some(best_by), ..config() };
    let told = go_on(folder.path(), &config, start(), Callbacks::default(), |_| false);
    let losses = told.events.iter().filter_map(|event| match event {
        Event::Validated { step, loss } => Some((*loss, *step)),
        _ => None,
    });
    let (_, step) = losses.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(step < 10, "the last is the best, which shows nothing");
    assert_eq!(named(best(folder.path()).unwrap()), format!("step-{step:06}"));
    assert_eq!(folders(folder.path()), [format!("step-{step:06}"), "step-000010".to_owned()]);
}

#[test]
fn patience_ends_a_run_and_a_resumed_one_stays_ended() {
    let folder = tempfile::tempdir().unwrap();
    let known = Known::new();
    let score = |model: &Llama| Ok(Some(known.score(model)));
    let callbacks =
        Callbacks { scoring: Some(Scoring { every: 2, score: &score }), interrupted: None };
    let told = go_on(folder.path(), &by_score(Some(2)), start(), callbacks, |_| false);
    // Step 6 is worse than step 4, and step 8 is only equal to it.
    assert_eq!(told.result.unwrap().step, 8);
    let stopped = Event::Stopped { step: 8, best_step: Some(4) };
    assert!(told.events.contains(&stopped), "{:?}", told.events);
    assert_eq!(folders(folder.path()), ["step-000004", "step-000008"]);

    let again =
        go_on(folder.path(), &by_score(Some(2)), resume(folder.path()), callbacks, |_| false);
    assert_eq!((again.result.unwrap().step, again.events.len()), (8, 0));
    let longer =
        go_on(folder.path(), &by_score(Some(3)), resume(folder.path()), callbacks, |_| false);
    assert_eq!(longer.result.unwrap().step, 10, "more patience goes on");
}

#[test]
fn what_is_best_and_how_long_ago_survive_a_resume() {
    let known = Known::new();
    let score = |model: &Llama| Ok(Some(known.score(model)));
    let callbacks =
        Callbacks { scoring: Some(Scoring { every: 2, score: &score }), interrupted: None };
    for stop_after in 1..8 {
        let folder = tempfile::tempdir().unwrap();
        let stops = |event: &Event| matches!(event, Event::Step(_)) && event.step() == stop_after;
        let first = go_on(folder.path(), &by_score(Some(2)), start(), callbacks, stops);
        // As if the run had died after writing the checkpoint and before writing `best`.
        let _ = fs_err::remove_file(folder.path().join("best"));
        let second =
            go_on(folder.path(), &by_score(Some(2)), resume(folder.path()), callbacks, |_| false);
        let scores = [first.scores(), second.scores()].concat();
        assert_eq!(scores, [(2, 0.1), (4, 0.5), (6, 0.3), (8, 0.5)], "stopped after {stop_after}");
        assert_eq!(
            named(best(folder.path()).unwrap()),
            "step-000004",
            "stopped after {stop_after}"
        );
        assert_eq!(second.result.unwrap().step, 8, "stopped after {stop_after}");
    }
}

/// Both kinds of evaluation: the callback interrupts the scoring, and the loop's check between
/// batches interrupts the validation.
#[test]
fn an_interrupt_during_an_evaluation_leaves_it_for_the_resumed_run() {
    let known = Known::new();
    for validation in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let asked = AtomicBool::new(false);
        let score = |model: &Llama| {
            if validation || !asked.swap(true, Ordering::SeqCst) {
                Ok(None)
            } else {
                Ok(Some(known.score(model)))
            }
        };
        let interrupted = || validation;
        let callbacks = Callbacks {
            scoring: Some(Scoring { every: 2, score: &score }),
            interrupted: Some(Interrupted(&interrupted)),
        };
        let config = TrainConfig { validate_every: 2, ..by_score(None) };
        let first = go_on(folder.path(), &config, start(), callbacks, |_| false);
        let state = first.result.as_ref().unwrap();
        assert!(
            state.step == 2 && state.best_tracker.evaluation_pending,
            "{:?}",
            state.best_tracker
        );
        assert_eq!((first.saved(), first.scores()), (vec![2], vec![]));

        let score = |model: &Llama| Ok(Some(known.score(model)));
        let callbacks =
            Callbacks { scoring: Some(Scoring { every: 2, score: &score }), interrupted: None };
        let second = go_on(folder.path(), &config, resume(folder.path()), callbacks, |_| false);
        let whole = tempfile::tempdir().unwrap();
        let expected = go_on(whole.path(), &config, start(), callbacks, |_| false);
        assert_eq!([first.losses(), second.losses()].concat(), expected.losses());
        assert_eq!(second.scores(), expected.scores());
        assert_eq!(bits(&second.result.unwrap()), bits(&expected.result.unwrap()));
        assert_eq!(folders(folder.path()), folders(whole.path()));
        assert_eq!(named(best(folder.path()).unwrap()), "step-000004");
    }
}

#[test]
fn the_clock_saves_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig { checkpoint: Some(CheckpointConfig { minutes: 1e-9 }), ..config() };
    let told = go_on(folder.path(), &config, start(), Callbacks::default(), |_| false);
    assert_eq!(told.saved(), (1..=10).collect::<Vec<_>>());
    let config = TrainConfig { checkpoint: Some(CheckpointConfig { minutes: 60.0 }), ..config };
    let folder = tempfile::tempdir().unwrap();
    let told = go_on(folder.path(), &config, start(), Callbacks::default(), |_| false);
    assert_eq!(told.saved(), [3, 6, 9, 10]);
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_the_run_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A file is in the place of the second checkpoint's folder.
    fs_err::write(folder.path().join("step-000006.tmp"), "in the way").unwrap();
    // Folders of a dead run are removed at the start, but this is a file.
    let told = go_on(folder.path(), &config(), start(), Callbacks::default(), |_| false);
    let message = told.result.as_ref().unwrap_err().to_string();
    for part in ["the checkpoint after step 6 was not written", "step-000006.tmp", "--resume"] {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
    assert_eq!(told.saved(), [3]);
    assert_eq!(named(latest(folder.path()).unwrap()), "step-000003");

    fs_err::remove_file(folder.path().join("step-000006.tmp")).unwrap();
    let rest =
        go_on(folder.path(), &config(), resume(folder.path()), Callbacks::default(), |_| false);
    let whole = tempfile::tempdir().unwrap();
    let expected = go_on(whole.path(), &config(), start(), Callbacks::default(), |_| false);
    assert_eq!(bits(&rest.result.unwrap()), bits(&expected.result.unwrap()));
}

#[test]
fn a_checkpoint_is_there_at_every_moment_of_its_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let told =
        go_on(folder.path(), &config(), start(), Callbacks::default(), |event| event.step() == 4);
    let expected = bits(&told.result.unwrap());
    let checkpoint = folder.path().join("step-000004");
    let (old, unfinished) = (checkpoint.with_extension("old"), checkpoint.with_extension("tmp"));

    // The run died after the old checkpoint was renamed.
    fs_err::rename(&checkpoint, &old).unwrap();
    fs_err::create_dir(&unfinished).unwrap();
    assert_eq!(latest(folder.path()).unwrap().unwrap(), old);
    assert_eq!(bits(&resume(folder.path())), expected);
    checkpoint::sweep(folder.path()).unwrap();
    assert!(old.exists() && !unfinished.exists(), "the moved one is all there is");

    // The run died before the old checkpoint was removed.
    fs_err::create_dir(&checkpoint).unwrap();
    checkpoint::sweep(folder.path()).unwrap();
    assert!(!old.exists() && checkpoint.exists());
}

#[test]
fn damaged_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for damage in ["", "step-", "step-00000q", "../step-000003", "."] {
        fs_err::write(folder.path().join("latest"), damage).unwrap();
        let message = latest(folder.path()).unwrap_err().to_string();
        assert!(message.contains("latest`: the file is damaged"), "{message}");
    }
    fs_err::write(folder.path().join("best"), b"step-\xff").unwrap();
    assert!(best(folder.path()).unwrap_err().to_string().contains("best`: the file is damaged"));
}

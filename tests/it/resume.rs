//! A run that is killed and resumed equals the uninterrupted run bitwise. A damaged or incomplete
//! checkpoint never loads.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use uner_model::parameters::visit;
use uner_trainer::MomentFormat;
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::data::store::StoreWriter;
use uner_trainer::{Event, Group, Run, Schedule, TokenStore, TrainConfig, TrainState, train};

use crate::model::{conversation, layout, small_config, small_model, train_config};

pub(crate) fn config() -> TrainConfig {
    TrainConfig {
        epochs: 4.0,
        max_steps: Some(10),
        schedule: Schedule::Cosine,
        warmup_ratio: 0.2,
        weight_decay: 0.1,
        save_every: 3,
        keep_last: 3,
        validate_every: 4,
        ..train_config()
    }
}

pub(crate) fn store(folder: &Path) -> TokenStore {
    let mut writer = StoreWriter::new(folder, config().max_seq_len).unwrap();
    (0..17).for_each(|number| writer.push(&conversation(number, 2 + number % 4)).unwrap());
    writer.finish().unwrap()
}

/// Returns every bit of weights and moments.
pub(crate) fn bits(state: &TrainState) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    let to_bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
    visit(state.model.local(), "", |parameter| {
        let (first, second) = state.optimizer.moments(&parameter.name).unwrap();
        for (kind, values) in [("first", first), ("second", second)] {
            all.push((
                format!("{kind} {}", parameter.name),
                to_bits(values.clone().try_into_vec_as().unwrap()),
            ));
        }
        all.push((parameter.name, to_bits(parameter.values.try_into_vec_as().unwrap())));
    });
    all
}

struct Outcome {
    state: TrainState,
    losses: Vec<u64>,
    saved: Vec<PathBuf>,
}

fn run(folder: &Path, state: TrainState, stop_after: Option<u64>) -> Outcome {
    let (config, model_config) = (config(), small_config());
    let store = store(folder);
    fs_err::write(folder.join("companion"), "what goes with the model").unwrap();
    let group = Group::single();
    let run = Run {
        seed: 7,
        validation: Some(&store),
        layout: layout(2, 2),
        extra_files: &[folder.join("companion")],
        ..Run::new((&config, &model_config), &store, folder, &group)
    };
    let (mut losses, mut saved) = (Vec::new(), Vec::new());
    let state = train(&run, state, &mut |event| {
        match event {
            Event::Step(metrics) => {
                losses.push(metrics.loss.to_bits());
                if stop_after == Some(metrics.step) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Event::Validated { loss, .. } => losses.push(loss.to_bits()),
            Event::Guarded(report) => panic!("{report:?}"),
            Event::Saved { path, .. } => saved.push(path.clone()),
            Event::Scored { .. } | Event::Measured { .. } | Event::Stopped { .. } => {
                unreachable!("nothing is scored")
            }
        }
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    Outcome { state, losses, saved }
}

fn start() -> TrainState {
    TrainState::new(small_model(5), &Group::single())
}

fn resume(folder: &Path) -> TrainState {
    checkpoint::load(&latest(folder).unwrap().unwrap(), &Group::single(), &Device::flex())
        .unwrap()
        .into()
}

#[test]
fn stopped_and_resumed_is_bitwise_uninterrupted() {
    let whole = tempfile::tempdir().unwrap();
    let expected = run(whole.path(), start(), None);
    assert_eq!(expected.state.step, 10);
    for stop_after in [1, 4, 6, 9] {
        let parts = tempfile::tempdir().unwrap();
        let first = run(parts.path(), start(), Some(stop_after));
        let second = run(parts.path(), resume(parts.path()), None);
        assert_eq!(second.state.step, 10);
        assert_eq!(
            [first.losses, second.losses].concat(),
            expected.losses,
            "stopped after {stop_after}"
        );
        assert_eq!(bits(&second.state), bits(&expected.state), "stopped after {stop_after}");
    }
}

#[test]
fn the_newest_checkpoints_are_kept_and_latest_names_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), start(), None);
    let names: Vec<String> = outcome
        .saved
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["step-000003", "step-000006", "step-000009", "step-000010"]);
    assert!(!outcome.saved[0].exists() && outcome.saved[1].exists());
    assert_eq!(latest(folder.path()).unwrap().unwrap(), outcome.saved[3]);
}

#[test]
fn going_on_from_an_earlier_checkpoint_keeps_what_it_saves() {
    let folder = tempfile::tempdir().unwrap();
    let saved = run(folder.path(), start(), None).saved;
    let state = checkpoint::load(&saved[1], &Group::single(), &Device::flex()).unwrap().into();
    let again = run(folder.path(), state, Some(7)).saved.remove(0);
    assert_eq!(latest(folder.path()).unwrap().unwrap(), again);
    assert!(saved[3].exists());
}

#[test]
fn torn_truncated_and_flipped_checkpoints_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let saved = run(folder.path(), start(), Some(1)).saved.remove(0);
    let device = Device::flex();
    let entries = fs_err::read_dir(&saved).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries.collect();
    assert_eq!(files.len(), 6, "{files:?}");
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy();
        let whole = fs_err::read(&path).unwrap();
        let mut damages =
            vec![("truncated", whole[..whole.len() / 2].to_vec()), ("emptied", Vec::new())];
        for part in 0..20 {
            let mut flipped = whole.clone();
            flipped[whole.len() * part / 20] ^= 1 << (part % 8);
            damages.push(("flipped", flipped));
        }
        for (what, bytes) in damages {
            fs_err::write(&path, bytes).unwrap();
            let message =
                checkpoint::load(&saved, &Group::single(), &device).unwrap_err().to_string();
            // A damaged manifest may blame any file, but it never matches the files.
            let named =
                file == "manifest.json" || message.contains(&format!("`{file}` is damaged"));
            assert!(named && message.contains("use an earlier one"), "{file} {what}: {message}");
        }
        fs_err::remove_file(&path).unwrap();
        let message = checkpoint::load(&saved, &Group::single(), &device).unwrap_err().to_string();
        assert!(
            message.contains(&*file) && message.contains("use an earlier one"),
            "{file} missing: {message}"
        );
        fs_err::write(&path, whole).unwrap();
    }
    checkpoint::load(&saved, &Group::single(), &device).unwrap();
}

#[test]
fn another_run_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let saved = run(folder.path(), start(), Some(1)).saved.remove(0);
    let state = checkpoint::load(&saved, &Group::single(), &Device::flex()).unwrap().state;
    state.check_resumable(&state, &saved).unwrap();
    let refused = |change: fn(&mut checkpoint::State)| {
        let mut other = state.clone();
        change(&mut other);
        state.check_resumable(&other, &saved).unwrap_err().to_string()
    };
    let message = refused(|other| other.data_fingerprint ^= 1);
    assert!(message.contains("the training data has changed"), "{message}");
    let message = refused(|other| other.seed = 8);
    assert!(message.contains("the seed was 7 and is now 8"), "{message}");
    let message = refused(|other| other.precision.moments = MomentFormat::EightBit);
    assert!(message.contains("moments f32") && message.contains("moments 8bit"), "{message}");
}

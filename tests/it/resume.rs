//! A run that is killed and resumed is bitwise the run that was not; a checkpoint that is not whole never loads.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use uner_model::parameters::visit;
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::run::Progress;
use uner_trainer::store::StoreWriter;
use uner_trainer::{Event, Run, Schedule, TokenStore, TrainConfig, train};

use crate::model::{conversation, small_config, small_model, train_config};

fn config() -> TrainConfig {
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

fn store(folder: &Path) -> TokenStore {
    let mut writer = StoreWriter::new(folder, config().max_seq_len).unwrap();
    (0..17).for_each(|number| writer.push(&conversation(number, 2 + number % 4)).unwrap());
    writer.finish().unwrap()
}

/// Every bit of weights and moments.
pub(crate) fn bits(progress: &Progress) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    let to_bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
    visit(&progress.model, "", |parameter| {
        let (first, second) = progress.optimizer.moments(&parameter.name).unwrap();
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
    progress: Progress,
    losses: Vec<u64>,
    saved: Vec<PathBuf>,
}

fn run(folder: &Path, progress: Progress, stop_after: Option<u64>) -> Outcome {
    let (config, model_config) = (config(), small_config());
    let store = store(folder);
    let run = Run {
        config: &config,
        model_config: &model_config,
        seed: 7,
        store: &store,
        validation: Some(&store),
        kept_blocks: 1,
        folder,
        companions: &[],
        deterministic: false,
    };
    let (mut losses, mut saved) = (Vec::new(), Vec::new());
    let progress = train(&run, progress, &mut |event| {
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
        }
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    Outcome { progress, losses, saved }
}

fn start() -> Progress {
    Progress::new(small_model(5))
}

fn resume(folder: &Path) -> Progress {
    checkpoint::load(&latest(folder).unwrap().unwrap(), &Device::flex()).unwrap().into()
}

#[test]
fn stopped_and_resumed_is_bitwise_uninterrupted() {
    let whole = tempfile::tempdir().unwrap();
    let expected = run(whole.path(), start(), None);
    assert_eq!(expected.progress.step, 10);
    for stop_after in [1, 4, 6, 9] {
        let parts = tempfile::tempdir().unwrap();
        let first = run(parts.path(), start(), Some(stop_after));
        let second = run(parts.path(), resume(parts.path()), None);
        assert_eq!(second.progress.step, 10);
        assert_eq!([first.losses, second.losses].concat(), expected.losses, "stopped after {stop_after}");
        assert_eq!(bits(&second.progress), bits(&expected.progress), "stopped after {stop_after}");
    }
}

#[test]
fn the_newest_checkpoints_are_kept_and_latest_names_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), start(), None);
    let names: Vec<String> =
        outcome.saved.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["step-000003", "step-000006", "step-000009", "step-000010"]);
    assert!(!outcome.saved[0].exists() && outcome.saved[1].exists());
    assert_eq!(latest(folder.path()).unwrap().unwrap(), outcome.saved[3]);
}

#[test]
fn going_on_from_an_earlier_checkpoint_keeps_what_it_saves() {
    let folder = tempfile::tempdir().unwrap();
    let saved = run(folder.path(), start(), None).saved;
    let progress = checkpoint::load(&saved[1], &Device::flex()).unwrap().into();
    let again = run(folder.path(), progress, Some(7)).saved.remove(0);
    assert_eq!(latest(folder.path()).unwrap().unwrap(), again);
    assert!(saved[3].exists());
}

#[test]
fn torn_truncated_and_flipped_checkpoints_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let saved = run(folder.path(), start(), Some(1)).saved.remove(0);
    let device = Device::flex();
    for file in ["model.safetensors", "optimizer.safetensors", "state.json", "config.json"] {
        let path = saved.join(file);
        let whole = fs_err::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for (what, bytes) in [("flipped", &flipped[..]), ("truncated", &whole[..whole.len() / 2])] {
            fs_err::write(&path, bytes).unwrap();
            let message = checkpoint::load(&saved, &device).unwrap_err().to_string();
            assert!(message.contains(&format!("`{file}` is damaged")), "{what}: {message}");
        }
        fs_err::remove_file(&path).unwrap();
        assert!(checkpoint::load(&saved, &device).is_err(), "{file} missing");
        fs_err::write(&path, whole).unwrap();
    }
    checkpoint::load(&saved, &device).unwrap();
    fs_err::remove_file(saved.join("manifest.json")).unwrap();
    let message = checkpoint::load(&saved, &device).unwrap_err().to_string();
    assert!(message.contains("never finished"), "{message}");
}

#[test]
fn another_run_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let saved = run(folder.path(), start(), Some(1)).saved.remove(0);
    let state = checkpoint::load(&saved, &Device::flex()).unwrap().state;
    let mut other = state.clone();
    other.train.lr = 0.5;
    let message = state.check_resumable(&other, &saved).unwrap_err().to_string();
    assert!(message.contains("`train.lr` was `0.001` and is now `0.5`"), "{message}");
    let mut other = state.clone();
    other.data_fingerprint ^= 1;
    let message = state.check_resumable(&other, &saved).unwrap_err().to_string();
    assert!(message.contains("the training data has changed"), "{message}");
    let mut longer = state.clone();
    longer.train.max_steps = Some(99);
    state.check_resumable(&longer, &saved).unwrap();
}

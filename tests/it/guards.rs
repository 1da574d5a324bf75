//! Guards in real runs. A step that would damage the model stops the run, is skipped or is
//! reported, as the recipe says, and its conversations are named. An interrupted and resumed run
//! decides like an uninterrupted one.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use uner_model::Llama;
use uner_model::parameters::map;
use uner_prompt::Tokens;
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::data::store::StoreWriter;
use uner_trainer::{Event, Group, Run, TrainConfig, TrainError, TrainState, train};
use uner_trainer::{GuardAction, GuardReport, GuardsConfig};

use crate::model::{conversation, layout, small_config, small_model, train_config};
use crate::resume::bits;

/// The token whose embedding is NaN.
const POISON: u32 = 60;
/// Number of conversations in a store.
const COUNT: u32 = 9;
/// Index of the conversation that differs from the others.
const ODD: usize = 5;

/// The events of a run, in order.
#[derive(Debug, PartialEq)]
enum Seen {
    /// A step was applied: its number and the bits of its loss.
    Step(u64, u64),
    /// A guard reported a step.
    Found(GuardReport),
}

struct Case {
    guards: Option<GuardsConfig>,
    model: fn() -> Llama,
    conversations: Vec<Tokens>,
    config: TrainConfig,
}

impl Case {
    /// One conversation has a token whose embedding is NaN.
    fn poisoned(guards: Option<GuardsConfig>) -> Self {
        let mut conversations: Vec<Tokens> =
            (0..COUNT).map(|number| conversation(number, 2)).collect();
        for tokens in &mut conversations {
            tokens.ids.iter_mut().filter(|id| **id == POISON).for_each(|id| *id = POISON - 1);
        }
        conversations[ODD].ids[2] = POISON;
        let config = TrainConfig {
            epochs: 2.0,
            global_batch_size: 3,
            save_every: 1,
            keep_last: 100,
            ..train_config()
        };
        Self { guards, model: poisoned_model, conversations, config }
    }

    /// All conversations are equal but one, whose answers differ. Once the others are learnt, its
    /// loss is a jump.
    fn odd(spike: GuardAction) -> Self {
        let mut conversations = vec![conversation(1, 2); COUNT as usize];
        conversations[ODD].ids.iter_mut().skip(1).for_each(|id| *id = 3 + (*id * 7) % 55);
        let guards =
            GuardsConfig { non_finite: GuardAction::Stop, spike, spike_z: 4.0, spike_window: 5 };
        let config = TrainConfig { epochs: 4.0, global_batch_size: 1, lr: 1e-2, ..train_config() };
        Self { guards: Some(guards), model: || small_model(3), conversations, config }
    }

    fn start(&self) -> TrainState {
        TrainState::new((self.model)(), &Group::single())
    }

    fn run(
        &self,
        folder: &Path,
        state: TrainState,
        stop_after: Option<u64>,
    ) -> (Result<TrainState, TrainError>, Vec<Seen>) {
        let config = TrainConfig { guards: self.guards, ..self.config.clone() };
        let mut writer = StoreWriter::new(folder, config.max_seq_len).unwrap();
        self.conversations.iter().for_each(|tokens| writer.push(tokens).unwrap());
        let (store, model_config) = (writer.finish().unwrap(), small_config());
        let group = Group::single();
        let run = Run {
            seed: 2,
            layout: layout(2, 0),
            ..Run::new((&config, &model_config), &store, folder, &group)
        };
        let mut seen = Vec::new();
        let state = train(&run, state, &mut |event| {
            match event {
                Event::Step(metrics) => seen.push(Seen::Step(metrics.step, metrics.loss.to_bits())),
                Event::Guarded(report) => seen.push(Seen::Found(report.clone())),
                _ => return Ok(ControlFlow::Continue(())),
            }
            let stop = stop_after == Some(event.step());
            Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        (state, seen)
    }
}

fn poisoned_model() -> Llama {
    map(small_model(5), "", |name, shape, values| {
        if name != "model.embed_tokens.weight" {
            return values;
        }
        let width = shape[1];
        let row = POISON as usize * width;
        let device = Device::flex();
        values.slice_assign(row..row + width, Tensor::full([width], f32::NAN, &device))
    })
}

const SKIP: GuardsConfig = GuardsConfig {
    non_finite: GuardAction::Skip,
    spike: GuardAction::Skip,
    spike_z: 4.0,
    spike_window: 5,
};

fn found(seen: &[Seen]) -> Vec<&GuardReport> {
    let reports = seen.iter().filter_map(|seen| match seen {
        Seen::Found(report) => Some(report),
        Seen::Step(..) => None,
    });
    reports.collect()
}

#[test]
fn a_step_that_is_no_number_stops_the_run_and_names_the_conversation() {
    for guards in [None, Some(GuardsConfig { non_finite: GuardAction::Stop, ..SKIP })] {
        let folder = tempfile::tempdir().unwrap();
        let case = Case::poisoned(guards);
        let (ended, seen) = case.run(folder.path(), case.start(), None);
        let report = found(&seen)[0];
        assert_eq!((report.answer, report.loss, report.z), (GuardAction::Stop, None, None));
        assert_eq!((report.conversations[0].index, report.conversations[0].loss), (ODD, None));
        assert_eq!(report.conversations.len(), 3);
        assert!(report.conversations[1..].iter().all(|other| other.loss.is_some()), "{report:?}");
        let message = ended.unwrap_err().to_string();
        let step = report.step;
        for part in [
            &format!("step {step}: the loss is NaN; the step was not applied"),
            "5 (no finite loss), ",
        ] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(matches!(seen.last(), Some(Seen::Found(_))), "nothing comes after it");
    }
}

#[test]
fn a_skipped_step_leaves_weights_and_moments_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::poisoned(Some(SKIP));
    let (ended, seen) = case.run(folder.path(), case.start(), None);
    let state = ended.unwrap();
    let reports = found(&seen);
    // Two epochs of three steps; one step of each has the NaN token.
    assert_eq!((state.step, reports.len(), seen.len()), (6, 2, 6));
    assert_eq!((reports[0].skipped, reports[1].skipped, state.guard.skipped), (1, 2, 2));
    let file = |step: u64, name: &str| {
        fs_err::read(folder.path().join(format!("step-{step:06}/{name}"))).unwrap_or_default()
    };
    for report in reports {
        for name in ["model.safetensors", "optimizer.safetensors"] {
            if report.step > 1 {
                let same = file(report.step, name) == file(report.step - 1, name);
                assert!(same, "step {}: `{name}` differs", report.step);
            }
            if report.step < 6 {
                assert!(file(report.step, name) != file(report.step + 1, name), "training goes on");
            }
        }
    }
}

#[test]
fn a_jump_is_skipped_told_or_the_end() {
    let total = u64::from(4 * COUNT);
    for answer in [GuardAction::Stop, GuardAction::Skip, GuardAction::Ignore] {
        let folder = tempfile::tempdir().unwrap();
        let case = Case::odd(answer);
        let (ended, seen) = case.run(folder.path(), case.start(), None);
        let reports = found(&seen);
        assert!(!reports.is_empty(), "{answer:?}: no jump was found");
        for report in &reports {
            assert_eq!(report.answer, answer);
            assert_eq!(report.conversations[0].index, ODD, "{report:?}");
            assert!(report.z.unwrap() > 4.0 && report.loss.is_some(), "{report:?}");
        }
        let applied = seen.len() - reports.len();
        match answer {
            GuardAction::Stop => {
                let message = ended.unwrap_err().to_string();
                assert!(message.contains("standard deviations above the mean"), "{message}");
                assert_eq!((reports.len(), applied as u64), (1, reports[0].step - 1));
            }
            GuardAction::Skip => {
                let skipped = ended.unwrap().guard.skipped;
                assert_eq!(skipped as usize, reports.len());
                assert_eq!(applied as u64, total - skipped);
            }
            GuardAction::Ignore => {
                assert_eq!(ended.unwrap().guard.skipped, 0);
                assert_eq!(applied as u64, total);
            }
        }
    }
}

#[test]
fn a_resumed_run_skips_what_the_uninterrupted_one_skips() {
    let case = Case::odd(GuardAction::Skip);
    let whole = tempfile::tempdir().unwrap();
    let (expected, expected_seen) = case.run(whole.path(), case.start(), None);
    let expected = expected.unwrap();
    assert!(expected.guard.skipped > 0);
    for stop_after in (1..expected.step).step_by(expected.step as usize / 6) {
        let parts = tempfile::tempdir().unwrap();
        let (_, mut seen) = case.run(parts.path(), case.start(), Some(stop_after));
        let saved = latest(parts.path()).unwrap().unwrap();
        let resumed = checkpoint::load(&saved, &Group::single(), &Device::flex()).unwrap().into();
        let (state, rest) = case.run(parts.path(), resumed, None);
        let state = state.unwrap();
        seen.extend(rest);
        assert_eq!(seen, expected_seen, "stopped after {stop_after}");
        assert_eq!(state.guard, expected.guard, "stopped after {stop_after}");
        assert!(bits(&state) == bits(&expected), "stopped after {stop_after}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_not_resumed_from() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::poisoned(Some(SKIP));
    case.run(folder.path(), case.start(), Some(1)).0.unwrap();
    let saved = latest(folder.path()).unwrap().unwrap();
    let message =
        checkpoint::load(&saved, &Group::single(), &Device::flex()).unwrap_err().to_string();
    assert!(
        message.contains("`model.embed_tokens.weight` holds values that are infinite or NaN"),
        "{message}"
    );
}

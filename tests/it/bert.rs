//! Token classifiers: logits, loss and gradients equal transformers; packing and resuming change
//! nothing; checkpoints of other heads and other times are read.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_model::bert::{self, BertConfig, EncoderContext, TokenClassifier, checkpoint_name};
use uner_trainer::data::loader::StepData;
use uner_trainer::data::sequence::Sequence;
use uner_trainer::data::store::StoreWriter;
use uner_trainer::metrics::timing::Breakdown;
use uner_trainer::step::trainable::Pass;
use uner_trainer::{
    AdamW, Batch, Event, Gradients, Group, Precision, Run, TrainConfig, TrainError, TrainState,
    Trainable, checkpoint, train,
};

use crate::devices::{Setup, devices};
use crate::golden::{Tensors, assert_close, largest, tensors};
use crate::shared::repository;

fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/bert")
}

fn tiny(device: &Device) -> (BertConfig, TokenClassifier) {
    bert::load(&fixtures().join("tiny"), device).unwrap()
}

/// The integers of a file of vectors.
fn integers(path: &Path, name: &str) -> Vec<i32> {
    let bytes = fs_err::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The sequences of the tiny model's batch, and all vectors.
fn golden() -> (Vec<Sequence>, Tensors) {
    let path = fixtures().join("tiny/vectors.safetensors");
    let vectors = tensors(&path);
    let length = vectors["logits"].0[1];
    let [ids, mask, labels] = ["ids", "mask", "labels"].map(|name| integers(&path, name));
    let rows = ids.chunks(length).zip(mask.chunks(length)).zip(labels.chunks(length));
    let sequences = rows.map(|((ids, mask), labels)| {
        let count = mask.iter().filter(|&&real| real == 1).count();
        let ids = ids[..count].iter().map(|&id| id as u32).collect();
        Sequence::new(ids, labels[..count].to_vec())
    });
    (sequences.collect(), vectors)
}

fn context<'a>(config: &'a BertConfig, batch: &Batch, device: &Device) -> EncoderContext<'a> {
    EncoderContext::new(config, &batch.positions, &batch.document, batch.rows, device)
}

/// Loss and gradients, by checkpoint name.
fn computed(
    config: &BertConfig,
    model: &TokenClassifier,
    micro_batches: Vec<Batch>,
) -> (f64, BTreeMap<String, Vec<f32>>) {
    let data = StepData {
        tokens: 0,
        trained_tokens: 0,
        pairs: 0,
        conversations: Vec::new(),
        dropped_queries: 0,
        micro_batches,
    };
    let group = Group::single();
    let pass = Pass { config, group: &group, recomputed_blocks: 0, overlaps: false };
    let mut gradients = Gradients::default();
    let loss = model.accumulate(pass, &data, &mut gradients, &mut Breakdown::default()).unwrap();
    let values = gradients.iter().map(|(name, gradient)| {
        (checkpoint_name(name), gradient.clone().try_into_vec_as().unwrap())
    });
    (loss, values.collect())
}

#[test]
fn logits_loss_and_gradients_equal_transformers() {
    let (sequences, vectors) = golden();
    for Setup { device, .. } in devices() {
        let (config, model) = tiny(&device);
        let rows: Vec<Vec<Sequence>> =
            sequences.iter().map(|sequence| vec![sequence.clone()]).collect();
        let batch = Batch::new(&rows);
        let (shape, expected) = &vectors["logits"];
        let (length, labels) = (shape[1], shape[2]);
        let real = sequences.iter().enumerate().flat_map(|(row, sequence)| {
            (0..sequence.ids.len()).map(move |index| (row * length + index) as i32)
        });
        let real: Vec<i32> = real.collect();
        let logits =
            model.logits(model.words(&batch.ids), &context(&config, &batch, &device), &real);
        let got: Vec<f32> = logits.try_into_vec_as().unwrap();
        let expected: Vec<f32> = real
            .iter()
            .flat_map(|&at| &expected[at as usize * labels..][..labels])
            .copied()
            .collect();
        // The same f32 terms are added in another order.
        assert_close("logits", &got, &expected, 1e-4 * largest(&expected));

        let (loss, found) = computed(&config, &model, vec![batch]);
        let expected = f64::from(vectors["loss"].1[0]);
        assert!((loss / expected - 1.0).abs() < 1e-5, "{loss} is not {expected}");
        let mut compared = 0;
        for (name, (_, expected)) in &vectors {
            if let Some(name) = name.strip_prefix("grad.") {
                // The gradient of a key's bias is 0 but for rounding.
                assert_close(name, &found[name], expected, 2e-4 * largest(expected).max(0.01));
                compared += 1;
            }
        }
        assert_eq!(compared, found.len());
    }
}

#[test]
fn packed_sequences_do_not_see_each_other() {
    let (sequences, _) = golden();
    let (config, model) = tiny(&Device::flex());
    // Which attention weights are dropped depends on the row.
    let config = BertConfig { attention_probs_dropout_prob: 0.0, ..config };
    let apart: Vec<Batch> =
        sequences.iter().map(|sequence| Batch::new(&[vec![sequence.clone()]])).collect();
    let together = Batch::new(&[sequences[..2].to_vec(), sequences[2..].to_vec()]);
    for dropout_key in [None, Some(7)] {
        let with_key = |batch: &Batch| Batch { dropout_key, ..batch.clone() };
        let expected = computed(&config, &model, apart.iter().map(with_key).collect());
        let got = computed(&config, &model, vec![with_key(&together)]);
        assert!((got.0 / expected.0 - 1.0).abs() < 1e-5, "{} is not {}", got.0, expected.0);
        for (name, expected) in &expected.1 {
            assert_close(name, &got.1[name], expected, 1e-4 * largest(expected).max(0.01));
        }
    }
}

fn renamed(folder: &Path, rename: impl Fn(&str) -> String) {
    let tiny = fixtures().join("tiny");
    fs_err::copy(tiny.join("config.json"), folder.join("config.json")).unwrap();
    let bytes = fs_err::read(tiny.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<(String, TensorView)> =
        file.tensors().into_iter().map(|(name, view)| (rename(&name), view)).collect();
    safetensors::serialize_to_file(tensors, None, &folder.join("model.safetensors")).unwrap();
}

#[test]
fn encoders_of_other_heads_and_times_are_read() {
    let labels = ["O", "B-x", "I-x"].map(str::to_owned);
    let hidden = |folder: &Path| {
        let (config, model) = bert::load_encoder(folder, &labels, 3, &Device::flex()).unwrap();
        assert_eq!(config.labels(), labels);
        let batch = Batch::new(&[golden().0]);
        let context = context(&config, &batch, &Device::flex());
        model.hidden(model.words(&batch.ids), &context).try_into_vec_as::<f32>().unwrap()
    };
    let expected = hidden(&fixtures().join("tiny"));
    let folder = tempfile::tempdir().unwrap();
    let bare = |name: &str| name.strip_prefix("bert.").unwrap_or("pooler.dense.weight").to_owned();
    let tiny = fixtures().join("tiny/model.safetensors");
    let bytes = fs_err::read(tiny).unwrap();
    let names = SafeTensors::deserialize(&bytes).unwrap();
    assert!(names.names().iter().any(|name| name.contains("LayerNorm.weight")));
    let of_google = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        name.replace("LayerNorm.bias", "LayerNorm.beta").replace("classifier", "cls.predictions")
    };
    renamed(folder.path(), of_google);
    assert_eq!(hidden(folder.path()), expected);
    renamed(folder.path(), |name| {
        if name.starts_with("classifier") { format!("pooler.{name}") } else { bare(name) }
    });
    assert_eq!(hidden(folder.path()), expected);
    let error = bert::load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("missing: `classifier.weight`"), "{error}");
    renamed(folder.path(), |name| name.replace("query", "queri"));
    let error = bert::load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("missing: `bert.encoder.layer.0.attention.self.query"), "{error}");
}

#[test]
fn the_real_minilm_equals_transformers() {
    let Some(folder) = std::env::var_os("UNER_MODELS") else {
        eprintln!("SKIPPED: set UNER_MODELS to a folder with the encoder `minilm-l6`");
        return;
    };
    let folder = PathBuf::from(folder).join("minilm-l6");
    let labels = ["O", "B-x", "I-x"].map(str::to_owned);
    let (config, model) = bert::load_encoder(&folder, &labels, 1, &Device::flex()).unwrap();
    let path = fixtures().join("minilm-l6.safetensors");
    let vectors = tensors(&path);
    for number in 0..2 {
        let ids = integers(&path, &format!("ids.{number}"));
        let labels = vec![IGNORE_INDEX; ids.len()];
        let sequence = Sequence::new(ids.iter().map(|&id| id as u32).collect(), labels);
        let batch = Batch::new(&[vec![sequence]]);
        let context = context(&config, &batch, &Device::flex());
        let got: Vec<f32> =
            model.hidden(model.words(&batch.ids), &context).try_into_vec_as().unwrap();
        let (_, expected) = &vectors[&format!("hidden.{number}")];
        assert_close("hidden states", &got, expected, 1e-4 * largest(expected));
    }
}

/// Trains the tiny model for some steps with dropout, from `state` or its beginning.
fn trained(
    folder: &Path,
    max_steps: u64,
    state: Option<TrainState<TokenClassifier>>,
) -> TrainState<TokenClassifier> {
    train_rank(folder, &Group::single(), max_steps, state).unwrap()
}

fn train_rank(
    folder: &Path,
    group: &Group,
    max_steps: u64,
    state: Option<TrainState<TokenClassifier>>,
) -> Result<TrainState<TokenClassifier>, TrainError> {
    let (config, model) = tiny(&Device::flex());
    let mut writer = StoreWriter::new(folder, 12).unwrap();
    for _ in 0..3 {
        golden().0.iter().for_each(|sequence| writer.push_classified(sequence).unwrap());
    }
    let store = writer.finish().unwrap();
    let train_config = TrainConfig {
        epochs: 4.0,
        max_steps: Some(6),
        global_batch_size: 4,
        max_seq_len: 12,
        lr: 1e-2,
        ..TrainConfig::default()
    };
    let run: Run<TokenClassifier> = Run::of((&train_config, &config), &store, folder, group);
    let state = state.unwrap_or_else(|| {
        let (model, optimizer) = AdamW::new(model, Precision::of(DType::F32), group);
        TrainState::begin(model, optimizer)
    });
    train(&run, state, &mut |event| {
        let stop = matches!(event, Event::Step(metrics) if metrics.step == max_steps);
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

fn bits(state: &TrainState<TokenClassifier>) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut show = |name: String, _, values: burn::tensor::TensorData| {
        found.insert(name, values.as_bytes().to_vec());
    };
    state.model.read(&|_| true, &Group::single(), &mut show).unwrap();
    found
}

fn values(state: &TrainState<TokenClassifier>) -> BTreeMap<String, Vec<f32>> {
    let floats = |bytes: Vec<u8>| {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    bits(state).into_iter().map(|(name, bytes)| (name, floats(bytes))).collect()
}

#[test]
fn a_resumed_classifier_is_the_uninterrupted_one_bit_for_bit() {
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let expected = trained(whole.path(), 6, None);
    assert_ne!(
        bits(&expected),
        bits(&TrainState::begin(tiny(&Device::flex()).1, AdamW::default()))
    );
    trained(parts.path(), 3, None);
    let saved = checkpoint::latest(parts.path()).unwrap().unwrap();
    let (state, _) =
        checkpoint::load_classifier(&saved, &Group::single(), &Device::flex()).unwrap();
    assert_eq!(state.step, 3);
    let got = trained(parts.path(), 6, Some(state));
    assert_eq!(got.step, 6);
    assert_eq!(bits(&got), bits(&expected));
}

#[test]
fn two_ranks_train_one_classifier() {
    let [alone, shared] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let expected = trained(alone.path(), 6, None);
    let expected: BTreeMap<String, Vec<f32>> = values(&expected);
    let folder = shared.path();
    let models = std::thread::scope(|scope| {
        let ranks = Group::of_process(2, None).into_iter().map(|group| {
            scope.spawn(move || {
                let trained = group.guarded(|| train_rank(folder, &group, 6, None)).unwrap();
                values(&trained)
            })
        });
        let ranks: Vec<_> = ranks.collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(models[0], models[1]);
    // The gradient of a key's bias is 0 but for rounding, which AdamW divides by its own size.
    for (name, expected) in expected.iter().filter(|(name, _)| !name.ends_with("key.bias")) {
        // AdamW divides a gradient by its size, so that rounding in small ones shows.
        assert_close(name, &models[0][name], expected, 1e-4 * largest(expected).max(0.01));
    }
}

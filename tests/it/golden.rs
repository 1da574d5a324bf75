//! Logits, losses, gradients, optimizer steps and greedy generation equal Hugging Face
//! transformers.
//!
//! The same checks run on our own fixtures and on the larger golden vectors (if available), on
//! every device of [`crate::devices`], in f32 and in bf16.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde_json::Value;
use uner_cli::probe::{ProbeArgs, run};
use uner_infer::Generator;
use uner_kernels::attention::PADDING;
use uner_kernels::device::DeviceName;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_kernels::token_losses;
use uner_model::{Llama, LlamaConfig, adapter, parameters};
use uner_trainer::step::forward_backward::accumulate;
use uner_trainer::{Batch, Gradients};

use crate::devices::{Setup, Tolerance, cpu, devices, fetch, setups};
use crate::model::batch_of_case;
use crate::shared::{repository, shared};

const TYPES: [DType; 2] = [DType::F32, DType::BF16];

pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(crate) fn roots() -> Vec<PathBuf> {
    [Some(repository().join("tests/fixtures/llama")), shared("golden")]
        .into_iter()
        .flatten()
        .collect()
}

pub(crate) fn folders(root: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs_err::read_dir(root.join(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty(), "{kind} of {} is empty", root.display());
    found
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn tensors(path: &Path) -> Tensors {
    let bytes = fs_err::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let f32s = |data: &[u8]| {
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    file.tensors()
        .into_iter()
        .filter(|(_, view)| view.dtype() == safetensors::Dtype::F32)
        .map(|(name, view)| (name, (view.shape().to_vec(), f32s(view.data()))))
        .collect()
}

/// Results of a model on a batch.
pub(crate) struct Found {
    logits: Vec<f32>,
    /// Of the trained tokens.
    token_losses: Vec<f32>,
    sum_loss: f64,
    /// Of the mean loss.
    gradients: BTreeMap<String, Vec<f32>>,
    grad_norm: f64,
}

pub(crate) fn compute(model: &Llama, config: &LlamaConfig, batch: &Batch) -> Found {
    let device = model.head().device();
    let hidden = model.hidden(&batch.ids, &batch.context(config, &device), None);
    let losses = token_losses(hidden.clone(), model.head(), &batch.labels(&device));
    let mut gradients = Gradients::default();
    // One block is recomputed and the others keep their activations, so both paths are tested.
    let loss = accumulate(model, config, batch, 1, &mut gradients);
    let scale = 1.0 / batch.num_trained() as f64;
    let mean = |gradient: &Tensor<1>| values(fetch(gradient.clone()).mul_scalar(scale));
    Found {
        logits: values(model.logits(hidden)),
        token_losses: values(losses),
        sum_loss: f64::from(loss.into_scalar::<f32>()),
        gradients: gradients
            .iter()
            .map(|(name, gradient)| (name.to_owned(), mean(gradient)))
            .collect(),
        grad_norm: gradients.squared_norm().sqrt() * scale,
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    fetch(tensor).try_into_vec_as().unwrap()
}

/// Loads a model folder onto a device, in its type.
pub(crate) fn load(folder: &Path, setup: &Setup) -> (LlamaConfig, Llama) {
    let (config, model) = uner_model::load(folder, &setup.device).unwrap();
    (config, cast(model, setup))
}

fn cast(model: Llama, setup: &Setup) -> Llama {
    parameters::map(model, "", |_, _, values| values.cast(setup.dtype))
}

pub(crate) fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: off by {worst:e}, allowed {tolerance:e}");
    assert!(got.iter().all(|value| value.is_finite()), "{what}: not finite");
}

pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0f32, |largest, value| largest.max(value.abs()))
}

/// Compares the logits of real tokens; `width` is the size of the vocabulary.
fn assert_logits(
    what: &str,
    got: &[f32],
    expected: &[f32],
    width: usize,
    batch: &Batch,
    allowed: f32,
) {
    assert_eq!(got.len(), expected.len(), "{what}: logits");
    let rows = got.chunks_exact(width).zip(expected.chunks_exact(width)).zip(&batch.document);
    for ((got, expected), _) in rows.filter(|(_, document)| **document != PADDING) {
        assert_close(&format!("{what} logits"), got, expected, allowed);
    }
}

/// Compares the logits of real tokens and the losses of trained ones.
pub(crate) fn assert_forward(
    what: &str,
    got: &Found,
    expected: &Tensors,
    batch: &Batch,
    tolerance: &Tolerance,
) {
    let (shape, logits) = &expected["logits"];
    let allowed = tolerance.forward * largest(logits);
    assert_logits(what, &got.logits, logits, shape[2], batch, allowed);
    // Every token but the last of each row has an entry.
    let (shape, losses) = &expected["token_loss"];
    let labels = batch.labels.chunks_exact(shape[1] + 1).flat_map(|row| &row[..shape[1]]);
    let trained: Vec<f32> = losses
        .iter()
        .zip(labels)
        .filter(|(_, label)| **label != IGNORE_INDEX)
        .map(|(loss, _)| *loss)
        .collect();
    assert_close(&format!("{what} token losses"), &got.token_losses, &trained, allowed);
}

/// Compares gradients. `prefix` precedes the parameters' names in the file.
pub(crate) fn assert_gradients(
    what: &str,
    got: &Found,
    prefix: &str,
    expected: &Tensors,
    tolerance: &Tolerance,
) {
    assert_eq!(got.gradients.len(), expected.len(), "{what}: parameters with a gradient");
    for (name, (_, values)) in expected {
        let got = &got.gradients[name.strip_prefix(prefix).unwrap()];
        let allowed = tolerance.gradient * largest(values);
        assert_close(&format!("{what} gradient of {name}"), got, values, allowed);
    }
}

pub(crate) fn assert_losses(
    what: &str,
    got: &Found,
    batch: &Batch,
    case: &Value,
    tolerance: &Tolerance,
) {
    assert_eq!(batch.num_trained() as u64, case["num_trained_tokens"], "{what}");
    assert_relative(&format!("{what}: loss"), got.sum_loss, &case["sum_loss"], tolerance.loss);
    if !case["grad_norm"].is_null() {
        assert_relative(
            &format!("{what}: norm"),
            got.grad_norm,
            &case["grad_norm"],
            tolerance.norm,
        );
    }
}

pub(crate) fn assert_relative(what: &str, got: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((got / expected - 1.0).abs() <= tolerance, "{what}: {got} is not {expected}");
}

#[test]
fn models_equal_transformers() {
    for root in roots() {
        for (folder, setup) in pairs(&root, "models") {
            let what = format!("{} on {setup}", folder.display());
            let case = json(&folder.join("case.json"));
            let (config, model) = load(&folder, &setup);
            let batch = batch_of_case(&case);
            let got = compute(&model, &config, &batch);
            let expected = tensors(&folder.join("expected.safetensors"));
            assert_forward(&what, &got, &expected, &batch, &setup.tolerance);
            let name = folder.file_name().unwrap();
            let expected = tensors(&root.join("grads").join(name).join("grads.safetensors"));
            assert_gradients(&what, &got, "", &expected, &setup.tolerance);
            assert_losses(&what, &got, &batch, &case, &setup.tolerance);
            if setup.is_exact() {
                assert_generation(&what, &model, &config, &case);
            }
        }
    }
}

/// Returns every case of a kind with every device and type.
fn pairs(root: &Path, kind: &str) -> Vec<(PathBuf, Setup)> {
    let setups = setups(&TYPES);
    let of_folder =
        |folder: PathBuf| setups.clone().into_iter().map(move |setup| (folder.clone(), setup));
    folders(root, kind).into_iter().flat_map(of_folder).collect()
}

/// Compares the greedy continuation of each row, without padding.
pub(crate) fn assert_generation(what: &str, model: &Llama, config: &LlamaConfig, case: &Value) {
    let numbers = |row: &Value| -> Vec<u32> {
        serde_json::from_value(row.clone()).expect("a row of token ids")
    };
    let rows = case["input_ids"]
        .as_array()
        .unwrap()
        .iter()
        .zip(case["attention_mask"].as_array().unwrap());
    let prompts: Vec<Vec<u32>> = rows
        .map(|(ids, mask)| {
            let pairs = numbers(ids).into_iter().zip(numbers(mask));
            pairs.filter(|(_, real)| *real == 1).map(|(id, _)| id).collect()
        })
        .collect();
    let expected: Vec<Vec<u32>> = case["generation"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| numbers(&row["new_tokens"]))
        .collect();
    let got = Generator { model, config }.greedy(&prompts, expected[0].len(), |_| false).unwrap();
    assert_eq!(got, expected, "{what}");
}

#[test]
fn both_layouts_of_config_json_are_the_same_model() {
    for root in roots() {
        for folder in folders(&root, "models") {
            let newer = folder.join("config.transformers5.json");
            if newer.exists() {
                let read = |path: &Path| -> uner_model::LlamaConfig {
                    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
                };
                assert_eq!(read(&newer), read(&folder.join("config.json")), "{}", folder.display());
            }
        }
    }
}

#[test]
fn packed_rows_equal_transformers() {
    for root in roots() {
        for (folder, setup) in pairs(&root, "packed") {
            let what = format!("{} on {setup}", folder.display());
            let case = json(&folder.join("case.json"));
            let (config, model) = load(&root.join(case["base"].as_str().unwrap()), &setup);
            let batch = batch_of_case(&case);
            let got = compute(&model, &config, &batch);
            let expected = tensors(&folder.join("expected.safetensors"));
            assert_forward(&what, &got, &expected, &batch, &setup.tolerance);
            let expected = tensors(&folder.join("grads.safetensors"));
            assert_gradients(&what, &got, "", &expected, &setup.tolerance);
            assert_losses(&what, &got, &batch, &case, &setup.tolerance);
        }
    }
}

/// `uner probe` writes the numbers that these tests compare.
#[test]
fn the_probe_writes_these_numbers() {
    let folder = repository().join("tests/fixtures/llama/models/gqa");
    let out = tempfile::tempdir().unwrap();
    let output = out.path().join("out.safetensors");
    let args = ProbeArgs {
        model: folder.clone(),
        adapter: None,
        input: folder.join("case.json"),
        output: output.clone(),
        grads: true,
        generate: None,
        device: DeviceName::Flex,
    };
    let report = run(&args).unwrap();
    let written = tensors(&output);
    let setup = devices().remove(0);
    let (config, model) = load(&folder, &setup);
    let batch = batch_of_case(&json(&folder.join("case.json")));
    let found = compute(&model, &config, &batch);
    assert_eq!(report.grad_norm, Some(found.grad_norm));
    assert_eq!(written.len(), 2 + found.gradients.len());
    for (name, gradient) in &found.gradients {
        assert_eq!(&written[&format!("grad.{name}")].1, gradient, "{name}");
    }
    let real = |index: &usize| batch.document[index / config.vocab_size] != PADDING;
    for (index, (got, expected)) in written["logits"].1.iter().zip(&found.logits).enumerate() {
        assert_eq!(*got, if real(&index) { *expected } else { 0.0 }, "logit {index}");
    }
    let trained: Vec<f32> =
        written["token_loss"].1.iter().copied().filter(|&loss| loss != 0.0).collect();
    assert_eq!(trained, found.token_losses);
}

/// Weights stored as bfloat16 are rounded once; the arithmetic stays f32.
#[test]
fn bfloat16_weights_equal_transformers() {
    for root in roots() {
        for folder in folders(&root, "models") {
            let (config, model) = uner_model::load(&folder, &Device::flex()).unwrap();
            let config = LlamaConfig { torch_dtype: "bfloat16".to_owned(), ..config };
            let rounded = tempfile::tempdir().unwrap();
            uner_model::save(&model, &config, rounded.path(), usize::MAX).unwrap();
            let (config, model) = uner_model::load(rounded.path(), &Device::flex()).unwrap();
            let batch = batch_of_case(&json(&folder.join("case.json")));
            let (shape, logits) =
                &tensors(&folder.join("expected.safetensors"))["logits_bf16_weights"];
            let hidden = model.hidden(&batch.ids, &batch.context(&config, &Device::flex()), None);
            let got = values(model.logits(hidden));
            let allowed = cpu().tolerance.forward * largest(logits);
            let what = format!("{} in bfloat16", folder.display());
            assert_logits(&what, &got, logits, shape[2], &batch, allowed);
        }
    }
}

/// A published checkpoint loads and is far better at English than chance.
#[test]
fn a_pretrained_checkpoint_speaks() {
    let Some(folder) = shared("data/tinystories-656k") else { return };
    let (config, model) = uner_model::load(&folder, &Device::flex()).unwrap();
    let tokenizer = uner_prompt::Tokenizer::from_file(&folder.join("tokenizer.json")).unwrap();
    let mut prompt = vec![tokenizer.bos()];
    prompt.extend(tokenizer.encode_segment("Once upon a time, there was a little").unwrap());
    let generator = uner_infer::Generator { model: &model, config: &config };
    let answer = generator.greedy(&[prompt], 24, |_| false).unwrap().remove(0);
    let text = tokenizer.decode(&answer).unwrap();
    assert!(text.contains(" named "), "{text}");
}

#[test]
fn adapters_equal_peft() {
    let Some(root) = shared("golden") else { return };
    for (folder, setup) in pairs(&root, "lora") {
        let what = format!("{} on {setup}", folder.display());
        let case = json(&folder.join("case.json"));
        let inputs = json(&root.join(case["inputs"].as_str().unwrap()));
        let base = root.join(case["base"].as_str().unwrap());
        let (config, model) = uner_model::load(&base, &setup.device).unwrap();
        let model = cast(uner_model::load_adapter(model, &folder, &setup.device).unwrap(), &setup);
        let batch = batch_of_case(&inputs);
        let got = compute(&model, &config, &batch);
        let expected = tensors(&folder.join("expected.safetensors"));
        assert_forward(&what, &got, &expected, &batch, &setup.tolerance);
        // The file has gradients of the adapter only: the base is frozen.
        let expected = tensors(&folder.join("grads.safetensors"));
        assert_gradients(&what, &got, adapter::PREFIX, &expected, &setup.tolerance);
        assert_losses(&what, &got, &batch, &case, &setup.tolerance);
        let norm = &case["adamw"]["steps"][0]["grad_norm_before_clip"];
        assert_relative(&format!("{what}: norm"), got.grad_norm, norm, setup.tolerance.norm);
    }
}

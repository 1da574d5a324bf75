//! Logits, losses, gradients, optimizer steps and greedy generation equal Hugging Face transformers.
//!
//! The same checks run over our own fixtures and, where present, over the larger golden vectors. Tolerances are for f32:
//! the values themselves are within a tenth of them of a float64 computation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::SafeTensors;
use serde_json::Value;
use uner_cli::probe::{DeviceName, ProbeArgs, ProbeReport, run};

use crate::shared::{repository, shared};

/// Absolute, on logits and token losses.
const FORWARD: f32 = 1e-4;
/// Of a gradient's largest entry.
const GRADIENT: f32 = 1e-4;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(crate) fn roots() -> Vec<PathBuf> {
    [Some(repository().join("tests/fixtures/llama")), shared("golden")].into_iter().flatten().collect()
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
    let f32s =
        |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors()
        .into_iter()
        .filter(|(_, view)| view.dtype() == safetensors::Dtype::F32)
        .map(|(name, view)| (name, (view.shape().to_vec(), f32s(view.data()))))
        .collect()
}

fn probe(model: &Path, case: &Path, generate: Option<usize>) -> (ProbeReport, Tensors) {
    probe_adapted(model, None, case, generate)
}

fn probe_adapted(
    model: &Path,
    adapter: Option<&Path>,
    case: &Path,
    generate: Option<usize>,
) -> (ProbeReport, Tensors) {
    let out = tempfile::tempdir().unwrap();
    let output = out.path().join("out.safetensors");
    let args = ProbeArgs {
        model: model.to_owned(),
        adapter: adapter.map(Path::to_owned),
        input: case.to_owned(),
        output: output.clone(),
        grads: true,
        generate,
        device: DeviceName::Flex,
    };
    let report = run(&args).unwrap();
    (report, tensors(&output))
}

pub(crate) fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: off by {worst:e}, allowed {tolerance:e}");
    assert!(got.iter().all(|value| value.is_finite()), "{what}: not finite");
}

fn assert_forward(what: &str, got: &Tensors, expected: &Tensors) {
    for name in ["logits", "token_loss"] {
        assert_eq!(got[name].0, expected[name].0, "{what} {name}: shape");
        assert_close(&format!("{what} {name}"), &got[name].1, &expected[name].1, FORWARD);
    }
}

fn assert_gradients(what: &str, got: &Tensors, expected: &Tensors) {
    for (name, (shape, values)) in expected {
        let (got_shape, got_values) = &got[&format!("grad.{name}")];
        assert_eq!(got_shape, shape, "{what} {name}: shape");
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        assert_close(&format!("{what} gradient of {name}"), got_values, values, GRADIENT * largest);
    }
}

fn assert_losses(what: &str, report: &ProbeReport, case: &Value) {
    assert_eq!(report.num_trained_tokens as u64, case["num_trained_tokens"], "{what}");
    assert!((report.sum_loss - case["sum_loss"].as_f64().unwrap()).abs() < 1e-3, "{what}: {report:?}");
    assert!((report.mean_loss - case["mean_loss"].as_f64().unwrap()).abs() < 1e-5, "{what}: {report:?}");
    if let Some(norm) = case["grad_norm"].as_f64() {
        assert!((report.grad_norm.unwrap() / norm - 1.0).abs() < 1e-4, "{what}: {report:?}");
    }
}

#[test]
fn models_equal_transformers() {
    for root in roots() {
        for folder in folders(&root, "models") {
            let name = folder.file_name().unwrap();
            let case = json(&folder.join("case.json"));
            let generation = case["generation"].as_array().unwrap();
            let new_tokens = generation[0]["new_tokens"].as_array().unwrap().len();
            let (report, got) = probe(&folder, &folder.join("case.json"), Some(new_tokens));
            let what = folder.display().to_string();
            assert_forward(&what, &got, &tensors(&folder.join("expected.safetensors")));
            assert_gradients(&what, &got, &tensors(&root.join("grads").join(name).join("grads.safetensors")));
            assert_losses(&what, &report, &case);
            for (got, expected) in report.generation.unwrap().iter().zip(generation) {
                assert_eq!(serde_json::json!(got), expected["new_tokens"], "{what}");
            }
        }
    }
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
        for folder in folders(&root, "packed") {
            let case = json(&folder.join("case.json"));
            let model = root.join(case["base"].as_str().unwrap());
            let (report, got) = probe(&model, &folder.join("case.json"), None);
            let what = folder.display().to_string();
            assert_forward(&what, &got, &tensors(&folder.join("expected.safetensors")));
            assert_gradients(&what, &got, &tensors(&folder.join("grads.safetensors")));
            assert_losses(&what, &report, &case);
        }
    }
}

/// Weights stored as bfloat16 are rounded once; the arithmetic stays f32.
#[test]
fn bfloat16_weights_equal_transformers() {
    for root in roots() {
        for folder in folders(&root, "models") {
            let (config, model) = uner_model::load(&folder, &Device::flex()).unwrap();
            let config = uner_model::LlamaConfig { torch_dtype: "bfloat16".to_owned(), ..config };
            let rounded = tempfile::tempdir().unwrap();
            uner_model::save(&model, &config, rounded.path(), usize::MAX).unwrap();
            let (_, got) = probe(rounded.path(), &folder.join("case.json"), None);
            let expected = tensors(&folder.join("expected.safetensors"));
            let what = format!("{} in bfloat16", folder.display());
            assert_close(&what, &got["logits"].1, &expected["logits_bf16_weights"].1, FORWARD);
        }
    }
}

/// A published checkpoint: it loads, and is far better at English than chance.
#[test]
fn a_pretrained_checkpoint_speaks() {
    let Some(folder) = shared("data/tinystories-656k") else { return };
    let (config, model) = uner_model::load(&folder, &Device::flex()).unwrap();
    let tokenizer = uner_prompt::Tokenizer::from_file(&folder.join("tokenizer.json")).unwrap();
    let mut prompt = vec![tokenizer.bos()];
    prompt.extend(tokenizer.encode_segment("Once upon a time, there was a little").unwrap());
    let generator = uner_infer::Generator { model: &model, config: &config };
    let answer = generator.greedy(&[prompt], 24, uner_infer::Stop::Never).remove(0);
    let text = tokenizer.decode(&answer).unwrap();
    assert!(text.contains(" named "), "{text}");
}

#[test]
fn adapters_equal_peft() {
    let Some(root) = shared("golden") else { return };
    for folder in folders(&root, "lora") {
        let case = json(&folder.join("case.json"));
        let (model, inputs) =
            (root.join(case["base"].as_str().unwrap()), root.join(case["inputs"].as_str().unwrap()));
        let (report, got) = probe_adapted(&model, Some(&folder), &inputs, None);
        let what = folder.display().to_string();
        assert_forward(&what, &got, &tensors(&folder.join("expected.safetensors")));
        let expected = tensors(&folder.join("grads.safetensors"));
        assert_gradients(&what, &got, &expected);
        assert_eq!(
            got.keys().filter(|name| name.starts_with("grad.")).count(),
            expected.len(),
            "the base is frozen"
        );
        assert_losses(&what, &report, &case);
        let norm = case["adamw"]["steps"][0]["grad_norm_before_clip"].as_f64().unwrap();
        assert!((report.grad_norm.unwrap() / norm - 1.0).abs() < 1e-4, "{what}: {report:?}");
    }
}

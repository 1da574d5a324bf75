//! Models whose blocks differ from LLaMA's by biases, norms of heads or a window (LLaMA with
//! biases, Mistral, Qwen 2, Qwen 3) equal Hugging Face transformers, which wrote their folders.
//! They are trained, resumed, adapted and saved like a LLaMA.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::{Dtype, SafeTensors};
use uner_cli::probe::{ProbeArgs, run as probe};
use uner_kernels::device::DeviceName;
use uner_model::adapter::{Adapter, Base, Target, attach, files};
use uner_model::export::{self, Export};
use uner_model::parameters::{map, visit};
use uner_model::{AdapterConfig, BaseFormat, Llama, LlamaConfig, load_frozen};
use uner_trainer::checkpoint::{self, latest};
use uner_trainer::step::forward_backward::{accumulate, loss};
use uner_trainer::{Event, Gradients, Group, Run, TrainError, TrainState, train};

use crate::devices::{cpu, devices};
use crate::golden::{
    assert_close, assert_forward, assert_generation, assert_gradients, assert_losses, compute,
    folders, json, largest, load, tensors,
};
use crate::model::{batch_of_case, layout};
use crate::resume::{bits, config, store};
use crate::shared::repository;

type Values = BTreeMap<String, Vec<f32>>;

fn root() -> PathBuf {
    repository().join("tests/fixtures/llama")
}

fn family(name: &str) -> PathBuf {
    root().join("families").join(name)
}

fn read(folder: &Path) -> (LlamaConfig, Llama) {
    uner_model::load(folder, &Device::flex()).unwrap()
}

/// The parameters of a model by name, those of one dimension alone if wanted.
fn values(model: &Llama, only_vectors: bool) -> Values {
    let mut all = Values::new();
    visit(model, "", |parameter| {
        if parameter.shape.len() == 1 || !only_vectors {
            all.insert(parameter.name, parameter.values.try_into_vec_as().unwrap());
        }
    });
    all
}

#[test]
fn families_equal_transformers() {
    for folder in folders(&root(), "families") {
        let case = json(&folder.join("case.json"));
        let batch = batch_of_case(&case);
        let expected = tensors(&folder.join("expected.safetensors"));
        let gradients = tensors(&folder.join("grads.safetensors"));
        for setup in devices() {
            let what = format!("{} on {setup}", folder.display());
            let (config, model) = load(&folder, &setup);
            let got = compute(&model, &config, &batch);
            assert_forward(&what, &got, &expected, &batch, &setup.tolerance);
            assert_gradients(&what, &got, "", &gradients, &setup.tolerance);
            assert_losses(&what, &got, &batch, &case, &setup.tolerance);
            if setup.is_exact() {
                assert_generation(&what, &model, &config, &case);
            }
        }
    }
}

/// Every tensor of a model folder: its type, shape and bytes.
fn stored(folder: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = fs_err::read(folder.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let all = file.tensors().into_iter();
    all.map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect()
}

#[test]
fn what_is_saved_is_what_transformers_wrote() {
    for folder in folders(&root(), "families") {
        let what = folder.display();
        let [once, twice] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (config, model) = read(&folder);
        uner_model::save(&model, &config, once.path(), usize::MAX).unwrap();
        let (again, model) = read(once.path());
        assert_eq!(again, config, "{what}");
        uner_model::save(&model, &again, twice.path(), usize::MAX).unwrap();
        for name in ["config.json", "model.safetensors"] {
            let bytes = |folder: &Path| fs_err::read(folder.join(name)).unwrap();
            assert!(bytes(once.path()) == bytes(twice.path()), "{what}: {name}");
        }
        assert!(stored(once.path()) == stored(&folder), "{what}: tensors");
        let [ours, theirs] =
            [once.path(), folder.as_path()].map(|folder| json(&folder.join("config.json")));
        for key in ["architectures", "model_type", "vocab_size", "tie_word_embeddings"] {
            assert_eq!(ours[key], theirs[key], "{what}: {key}");
        }
    }
}

/// Weights are packed for inference on the CPU, and quantised under an adapter; biases and norms
/// are not.
#[test]
fn packed_and_quantised_models_have_their_biases_and_norms() {
    for folder in folders(&root(), "families") {
        let what = folder.display().to_string();
        let case = json(&folder.join("case.json"));
        let batch = batch_of_case(&case);
        let (config, model) = load(&folder, &cpu());
        let sum = |model: &Llama| loss(model, &config, &batch).into_scalar::<f32>();
        let (_, quantised) =
            load_frozen(&folder, Some(BaseFormat::EightBit), &Device::flex()).unwrap();
        assert!(values(&quantised, true) == values(&model, true), "{what}");
        let off = (sum(&quantised) / sum(&model) - 1.0).abs();
        assert!(off > 0.0 && off < 0.05, "{what}: the loss is off by {off}");
        assert_generation(&what, &model.pack(), &config, &case);
    }
}

#[test]
fn an_adapter_leaves_biases_and_norms_unchanged_and_can_be_merged() {
    for folder in folders(&root(), "families") {
        let what = folder.display();
        let batch = batch_of_case(&json(&folder.join("case.json")));
        let (config, model) = read(&folder);
        let (before, matrices) = (values(&model, true), Target::ALL.len() * 2);
        let adapter = Adapter {
            config: AdapterConfig { rank: 4, alpha: 8.0, dropout: 0.0, ..AdapterConfig::default() },
            base: Base::of(&folder).unwrap(),
        };
        // The second factors of a new adapter are zero.
        let model = map(attach(model, adapter, 7), "", |name, _, values| {
            if name.contains("lora_B") { values.add_scalar(0.02) } else { values }
        });
        let mut gradients = Gradients::default();
        let sum = accumulate(&model, &config, &batch, 1, &mut gradients).into_scalar::<f32>();
        assert_eq!(gradients.iter().count(), config.num_hidden_layers * matrices, "{what}");
        assert!(gradients.iter().all(|(name, _)| name.contains(".lora_")), "{what}");

        let [written, merged] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        files(&model).unwrap().write(written.path()).unwrap();
        let export = Export {
            model: &folder,
            adapter: Some(written.path()),
            dtype: Some(Dtype::F32),
            max_shard_bytes: usize::MAX,
        };
        export::model(&export, merged.path()).unwrap();
        let (read, whole) = read(merged.path());
        assert_eq!(read.family, config.family, "{what}");
        assert!(values(&whole, true) == before, "{what}");
        let got = loss(&whole, &read, &batch).into_scalar::<f32>();
        assert!((got / sum - 1.0).abs() < 1e-4, "{what}: {got} is not {sum}");
    }
}

/// Trains ten steps, or to a step, and returns the losses.
fn run(
    folder: &Path,
    state: TrainState,
    model_config: &LlamaConfig,
    group: &Group,
    stop_after: Option<u64>,
) -> Result<(TrainState, Vec<f64>), TrainError> {
    let data = folder.join(group.rank().to_string());
    fs_err::create_dir_all(&data).unwrap();
    let (config, store) = (config(), store(&data));
    let run = Run {
        seed: 7,
        validation: Some(&store),
        layout: layout(2, 1),
        ..Run::new((&config, model_config), &store, folder, group)
    };
    let mut losses = Vec::new();
    let state = train(&run, state, &mut |event| {
        if let Event::Step(metrics) = event {
            losses.push(metrics.loss);
            if stop_after == Some(metrics.step) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((state, losses))
}

#[test]
fn stopped_and_resumed_is_bitwise_uninterrupted() {
    for name in ["llama-biases", "qwen3"] {
        let group = Group::single();
        let (config, model) = read(&family(name));
        let start = || TrainState::new(model.clone(), &group);
        let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (expected, losses) = run(whole.path(), start(), &config, &group, None).unwrap();
        let (_, first) = run(parts.path(), start(), &config, &group, Some(5)).unwrap();
        let saved = latest(parts.path()).unwrap().unwrap();
        let state = checkpoint::load(&saved, &group, &Device::flex()).unwrap().into();
        let (again, second) = run(parts.path(), state, &config, &group, None).unwrap();
        assert_eq!([first, second].concat(), losses, "{name}");
        assert!(bits(&again) == bits(&expected), "{name}");
        let before = values(&model, true);
        for (vector, after) in values(again.model.local(), true) {
            assert!(after != before[&vector], "{name}: {vector} was not trained");
        }
    }
}

/// The weights after ten steps on one of several ranks, whose blocks are sharded.
fn sharded(folder: &Path, name: &str, group: &Group) -> Result<Values, TrainError> {
    let (config, model) = read(&family(name));
    let state = TrainState::new(model, group).shard(&config, group);
    let (state, _) = run(folder, state, &config, group, None)?;
    let model = state.model.gathered(group)?;
    Ok(values(&model, false))
}

/// Tolerance: as in [`crate::parallel`].
#[test]
fn sharded_blocks_train_the_same_model() {
    for name in ["llama-biases", "qwen3"] {
        let [alone, together] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let expected = sharded(alone.path(), name, &Group::single()).unwrap();
        let found: Vec<Values> = std::thread::scope(|scope| {
            let ranks = Group::of_process(2, None).into_iter().map(|group| {
                let folder = together.path();
                scope.spawn(move || group.guarded(|| sharded(folder, name, &group)).unwrap())
            });
            let ranks: Vec<_> = ranks.collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        });
        for got in found {
            assert_eq!(got.len(), expected.len(), "{name}");
            for (parameter, expected) in &expected {
                let allowed = 2e-4 * largest(expected);
                let what = format!("{name}: {parameter}");
                assert_close(&what, &got[parameter], expected, allowed);
            }
        }
    }
}

/// Within its window a Mistral is computed as a LLaMA; a longer sequence is refused.
#[test]
fn a_sequence_longer_than_the_window_is_refused() {
    let (folder, out) = (family("mistral"), tempfile::tempdir().unwrap());
    let args = ProbeArgs {
        model: folder.clone(),
        adapter: None,
        input: folder.join("case.json"),
        output: out.path().join("out.safetensors"),
        grads: false,
        generate: Some(60),
        device: DeviceName::Flex,
    };
    let error = probe(&args).unwrap_err().to_string();
    assert!(error.contains("the model was made for 64 (`sliding_window`)"), "{error}");
}

/// Reads a fixture with keys of its `config.json` changed.
fn refused(name: &str, keys: &serde_json::Value, part: &str) {
    let changed = tempfile::tempdir().unwrap();
    let mut file = json(&family(name).join("config.json"));
    file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    fs_err::write(changed.path().join("config.json"), file.to_string()).unwrap();
    fs_err::copy(family(name).join("model.safetensors"), changed.path().join("model.safetensors"))
        .unwrap();
    let error = uner_model::load(changed.path(), &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains(part), "{name} {keys}: {error}");
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    use serde_json::json;
    refused("qwen3", &json!({"model_type": "qwen3_moe"}), "`model_type` is `qwen3_moe`");
    refused("qwen2", &json!({"use_sliding_window": true}), "`use_sliding_window` is true");
    let kinds = json!(["full_attention", "sliding_attention"]);
    refused("qwen3", &json!({"layer_types": kinds}), "`layer_types` names `sliding_attention`");
    refused("mistral", &json!({"partial_rotary_factor": 0.5}), "`partial_rotary_factor` is 0.5");
    refused("llama-biases", &json!({"logit_scale": 0.5}), "`logit_scale` is 0.5");
    // The folder has biases that this configuration does not compute.
    let missing = "unexpected: `model.layers.0.self_attn.q_proj.bias` [32]";
    refused("llama-biases", &json!({"attention_bias": false}), missing);
    let missing = "missing: `model.layers.1.self_attn.o_proj.bias` [32]";
    refused("qwen3", &json!({"attention_bias": true}), missing);
}

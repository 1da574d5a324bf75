use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;

use super::*;
use crate::parameters::visit;
use crate::weights::{MAX_SHARD_BYTES, random};
use crate::{Llama, LlamaConfig, Size};

fn dimensions() -> LlamaConfig {
    serde_json::from_str(
        r#"{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "vocab_size": 11}"#,
    )
    .unwrap()
}

fn settings() -> AdapterConfig {
    AdapterConfig {
        rank: 3,
        alpha: 6.0,
        dropout: 0.1,
        target_modules: [Target::QProj, Target::DownProj].into(),
    }
}

/// Saves a model to `folder` and returns it with a new adapter.
fn adapted(folder: &Path, config: AdapterConfig, seed: u64) -> Llama {
    let model = random(&dimensions(), 1, &Device::flex());
    crate::save(&model, &dimensions(), folder, MAX_SHARD_BYTES).unwrap();
    attach(model, Adapter { config, base: Base::of(folder).unwrap() }, seed)
}

fn factors(model: &Llama) -> BTreeMap<String, Vec<f32>> {
    let mut found = BTreeMap::new();
    visit(model, "", |parameter| {
        if parameter.name.contains("lora") {
            found.insert(parameter.name, parameter.values.try_into_vec_as().unwrap());
        }
    });
    found
}

#[test]
fn a_new_adapter_is_uniform_and_zero_and_a_layer_does_not_depend_on_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let model = adapted(folder.path(), settings(), 7);
    let found = factors(&model);
    assert_eq!(found.len(), 2 * 2 * 2);
    assert_eq!(
        Size::new(&dimensions(), Some(&settings())).adapter(),
        found.values().map(Vec::len).sum::<usize>() as u64
    );
    let all = AdapterConfig { target_modules: Target::ALL.into(), ..settings() };
    let number =
        factors(&adapted(folder.path(), all.clone(), 7)).values().map(Vec::len).sum::<usize>();
    assert_eq!(Size::new(&dimensions(), Some(&all)).adapter(), number as u64);
    let down = &found["model.layers.1.mlp.down_proj.lora_A.weight"];
    assert_eq!(down.len(), 3 * 12);
    let bound = 1.0 / 12f32.sqrt();
    let largest = down.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert!(largest <= bound && largest > 0.8 * bound, "{largest} of {bound}");
    assert!(
        found
            .iter()
            .filter(|(name, _)| name.contains("lora_B"))
            .all(|(_, b)| b.iter().all(|b| *b == 0.0))
    );

    let only = AdapterConfig { target_modules: [Target::DownProj].into(), ..settings() };
    let name = "model.layers.1.mlp.down_proj.lora_A.weight";
    assert_eq!(factors(&adapted(folder.path(), only, 7))[name], found[name]);
    assert_ne!(factors(&adapted(folder.path(), settings(), 8))[name], found[name]);
    assert_ne!(found["model.layers.0.mlp.down_proj.lora_A.weight"], found[name]);
}

#[test]
fn what_is_written_reads_back_with_its_base() {
    let (base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = adapted(base.path(), settings(), 7);
    files(&model).unwrap().write(out.path()).unwrap();
    assert_eq!(base_of(out.path()).unwrap().unwrap(), base.path());
    assert_eq!(base_of(base.path()).unwrap(), None);
    let (_, read) = load_adapted(out.path(), None, None, &Device::flex()).unwrap();
    assert_eq!(factors(&read), factors(&model));
    assert_eq!(read.adapter, model.adapter);
}

#[test]
fn another_base_is_refused_and_a_missing_one_named() {
    let (base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    files(&adapted(base.path(), settings(), 7)).unwrap().write(out.path()).unwrap();
    // A model that was trained further has the same names, shapes and sizes.
    crate::save(
        &random(&dimensions(), 2, &Device::flex()),
        &dimensions(),
        base.path(),
        MAX_SHARD_BYTES,
    )
    .unwrap();
    let message = load_adapted(out.path(), None, None, &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("was not trained on the model in"), "{message}");
    let path = base.path().display().to_string();
    drop(base);
    let message = load_adapted(out.path(), None, None, &Device::flex()).unwrap_err().to_string();
    assert!(
        message.contains(&format!("belongs to the model `{path}`, and there is no such folder")),
        "{message}"
    );
}

#[test]
fn settings_that_cannot_work_are_named() {
    let wrong = [
        (AdapterConfig { rank: 0, ..settings() }, "`model.adapter.rank` is 0"),
        (AdapterConfig { alpha: -1.0, ..settings() }, "`model.adapter.alpha` is -1"),
        (AdapterConfig { dropout: 1.0, ..settings() }, "`model.adapter.dropout` is 1"),
        (
            AdapterConfig { target_modules: [].into(), ..settings() },
            "`model.adapter.target_modules` is empty",
        ),
    ];
    for (config, part) in wrong {
        let problem = config.check().unwrap_err();
        assert!(problem.contains(part), "{problem}");
    }
}

/// Sets keys of `adapter_config.json` in `folder`.
fn set(folder: &Path, keys: &serde_json::Value) {
    let path = folder.join(CONFIG_FILE);
    let mut file: serde_json::Value =
        serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    fs_err::write(path, file.to_string()).unwrap();
}

#[test]
fn kinds_that_are_not_computed_are_refused_with_file_and_key() {
    let (base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = files(&adapted(base.path(), settings(), 7)).unwrap();
    let refused = [
        serde_json::json!({"init_lora_weights": "pissa_niter_4"}),
        serde_json::json!({"init_lora_weights": "olora"}),
        serde_json::json!({"init_lora_weights": "corda"}),
        serde_json::json!({"init_lora_weights": "loftq"}),
        serde_json::json!({"init_lora_weights": "lora_ga"}),
        serde_json::json!({"alora_invocation_tokens": [5, 6]}),
        serde_json::json!({"modules_to_save": ["lm_head"]}),
        serde_json::json!({"trainable_token_indices": {"embed_tokens": [3]}}),
        serde_json::json!({"rank_pattern": {"q_proj": 2}}),
        serde_json::json!({"alpha_pattern": {"q_proj": 2}}),
        serde_json::json!({"bias": "lora_only"}),
        serde_json::json!({"lora_bias": true}),
        serde_json::json!({"use_dora": true}),
        serde_json::json!({"use_qalora": true}),
        serde_json::json!({"fan_in_fan_out": true}),
        serde_json::json!({"layer_replication": [[0, 1], [0, 2]]}),
        serde_json::json!({"target_parameters": ["experts"]}),
        serde_json::json!({"peft_type": "IA3"}),
        serde_json::json!({"r": 0}),
        serde_json::json!({"lora_alpha": 1e308}),
        // PEFT ignores factors that the settings do not name, and misses those the file lacks.
        serde_json::json!({"target_modules": ["q_proj"]}),
        serde_json::json!({"target_modules": ["q_proj", "down_proj", "lm_head"]}),
        serde_json::json!({"exclude_modules": ["q_proj"]}),
        serde_json::json!({"layers_to_transform": [1]}),
        serde_json::json!({"layers_to_transform": 0}),
    ];
    for keys in refused {
        written.write(out.path()).unwrap();
        set(out.path(), &keys);
        let message =
            load_adapted(out.path(), None, None, &Device::flex()).unwrap_err().to_string();
        let key = keys.as_object().unwrap().keys().next().unwrap();
        assert!(message.contains(CONFIG_FILE) && message.contains(key), "{keys}: {message}");
    }
    let accepted = [
        serde_json::json!({"init_lora_weights": "gaussian", "megatron_core": "megatron.core", "qalora_group_size": 16}),
        serde_json::json!({"modules_to_save": [], "layers_to_transform": [0, 1], "layers_pattern": "layers"}),
        serde_json::json!({"runtime_config": {"ephemeral_gpu_offload": false}, "trainable_token_indices": null}),
    ];
    for keys in accepted {
        written.write(out.path()).unwrap();
        set(out.path(), &keys);
        load_adapted(out.path(), None, None, &Device::flex())
            .unwrap_or_else(|error| panic!("{keys}: {error}"));
    }
    written.write(out.path()).unwrap();
    set(out.path(), &serde_json::json!({"r": 4}));
    let message = load_adapted(out.path(), None, None, &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("has the shape [3, 8], expected [4, 8]"), "{message}");
}

#[test]
fn a_pickled_adapter_is_refused() {
    let (base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    files(&adapted(base.path(), settings(), 7)).unwrap().write(out.path()).unwrap();
    fs_err::rename(
        out.path().join("adapter_model.safetensors"),
        out.path().join("adapter_model.bin"),
    )
    .unwrap();
    let message = load_adapted(out.path(), None, None, &Device::flex()).unwrap_err().to_string();
    assert!(
        message.contains("adapter_model.bin` is pickled") && message.contains("AutoPeft"),
        "{message}"
    );
}

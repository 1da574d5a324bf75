use std::path::Path;

use burn::tensor::Device;

use super::*;
use crate::parameters::visit;
use crate::{Llama, LlamaConfig};

fn config() -> LlamaConfig {
    serde_json::from_str(
        r#"{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "vocab_size": 11}"#,
    )
    .unwrap()
}

fn values(model: &Llama) -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    visit(model, "", |p| all.push((p.name, p.values.try_into_vec_as().unwrap())));
    all
}

fn saved(folder: &Path, max_shard_bytes: usize) -> Llama {
    let model = random(&config(), 1, &Device::flex());
    save(&model, &config(), folder, max_shard_bytes).unwrap();
    model
}

#[test]
fn what_is_saved_loads_bit_for_bit_whole_or_in_shards() {
    for max_shard_bytes in [MAX_SHARD_BYTES, 500] {
        let folder = tempfile::tempdir().unwrap();
        let model = saved(folder.path(), max_shard_bytes);
        let (read, loaded) = load(folder.path(), &Device::flex()).unwrap();
        assert_eq!(read, config());
        assert_eq!(values(&loaded), values(&model));
        assert_eq!(
            folder.path().join("model.safetensors.index.json").exists(),
            max_shard_bytes == 500
        );
    }
}

#[test]
fn half_precision_files_are_rounded_once() {
    for (name, round) in [
        ("bfloat16", (|x| half::bf16::from_f32(x).to_f32()) as fn(f32) -> f32),
        ("float16", |x| half::f16::from_f32(x).to_f32()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = LlamaConfig { torch_dtype: name.to_owned(), ..config() };
        let model = random(&config, 1, &Device::flex());
        save(&model, &config, folder.path(), MAX_SHARD_BYTES).unwrap();
        let (_, loaded) = load(folder.path(), &Device::flex()).unwrap();
        let rounded: Vec<_> = values(&model)
            .into_iter()
            .map(|(n, v)| (n, v.into_iter().map(round).collect::<Vec<_>>()))
            .collect();
        assert_eq!(values(&loaded), rounded);
    }
}

#[test]
fn every_parameter_at_fault_is_named() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), MAX_SHARD_BYTES);
    let other =
        LlamaConfig { num_hidden_layers: 3, vocab_size: 12, intermediate_size: 12, ..config() };
    fs_err::write(folder.path().join("config.json"), serde_json::to_string(&other).unwrap())
        .unwrap();
    let message = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("missing: `model.layers.2.mlp.up_proj.weight` [12, 8]"), "{message}");
    assert!(
        message.contains("`lm_head.weight` has the shape [11, 8], expected [12, 8]"),
        "{message}"
    );

    let fewer = LlamaConfig { num_hidden_layers: 1, ..config() };
    fs_err::write(folder.path().join("config.json"), serde_json::to_string(&fewer).unwrap())
        .unwrap();
    let message = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(
        message.contains("unexpected: `model.layers.1.mlp.up_proj.weight` [12, 8]"),
        "{message}"
    );
}

#[test]
fn torn_files_and_missing_shards_are_named() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), 500);
    let shard = fs_err::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("model-00002-of"))
        .unwrap();
    let name = shard.file_name().unwrap().to_string_lossy().into_owned();
    let bytes = fs_err::read(&shard).unwrap();
    fs_err::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    let message = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains(&format!("{name}` is not a complete")), "{message}");
    fs_err::remove_file(&shard).unwrap();
    let message = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains(&name), "{message}");
}

/// Returns the error of loading the folder; exporting must fail with the same one.
fn refusal(folder: &Path) -> String {
    let out = tempfile::tempdir().unwrap();
    let loaded = load(folder, &Device::flex()).map(|_| ()).unwrap_err().to_string();
    let export = crate::export::Export {
        model: folder,
        adapter: None,
        dtype: None,
        max_shard_bytes: MAX_SHARD_BYTES,
    };
    let exported = crate::export::model(&export, out.path()).unwrap_err().to_string();
    assert_eq!(loaded, exported);
    loaded
}

/// Writes the tensors of a model to `name` in `folder` after `change` has edited their list.
fn write_tensors(
    folder: &Path,
    name: &str,
    mut change: impl FnMut(&mut Vec<(String, Vec<usize>, Vec<f32>)>),
) {
    let model = random(&config(), 1, &Device::flex());
    let mut tensors = Vec::new();
    visit(&model, "", |p| tensors.push((p.name, p.shape, p.values.try_into_vec_as().unwrap())));
    change(&mut tensors);
    let views = tensors.iter().map(|(name, shape, values)| {
        let bytes = bytemuck::cast_slice(values);
        (
            name,
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
                .unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None, &folder.join(name)).unwrap();
}

fn write_dimensions(folder: &Path, config: &LlamaConfig) {
    fs_err::write(folder.join("config.json"), serde_json::to_string(config).unwrap()).unwrap();
}

#[test]
fn tensors_that_nobody_reads_are_named_and_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    write_dimensions(folder.path(), &config());
    for name in [
        "model.layers.0.self_attn.q_proj.bias",
        "score.weight",
        "model.layers.2.mlp.up_proj.weight",
    ] {
        write_tensors(folder.path(), "model.safetensors", |tensors| {
            tensors.push((name.to_owned(), vec![2], vec![1.0, 2.0]));
        });
        let message = refusal(folder.path());
        assert!(message.contains(&format!("unexpected: `{name}` [2]")), "{message}");
    }
    // Tensors that follow from the dimensions may be present.
    write_tensors(folder.path(), "model.safetensors", |tensors| {
        let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
        tensors.push((name.to_owned(), vec![2], vec![1.0, 0.01]));
    });
    load(folder.path(), &Device::flex()).unwrap();
}

#[test]
fn a_tied_model_has_one_matrix_under_either_name_or_twice_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_dimensions(folder.path(), &LlamaConfig { tie_word_embeddings: true, ..config() });
    let named =
        |name: &'static str| move |tensor: &(String, Vec<usize>, Vec<f32>)| tensor.0 == name;
    let (embedding, head) = ("model.embed_tokens.weight", "lm_head.weight");
    for dropped in [embedding, head] {
        write_tensors(folder.path(), "model.safetensors", |tensors| {
            tensors.retain(|tensor| tensor.0 != dropped);
        });
        load(folder.path(), &Device::flex()).unwrap();
    }
    write_tensors(folder.path(), "model.safetensors", |tensors| {
        let values = tensors.iter().find(|tensor| named(embedding)(tensor)).unwrap().2.clone();
        tensors.iter_mut().find(|tensor| named(head)(tensor)).unwrap().2 = values;
    });
    load(folder.path(), &Device::flex()).unwrap();
    write_tensors(folder.path(), "model.safetensors", |_| {});
    let message = refusal(folder.path());
    assert!(message.contains("`lm_head.weight` is another matrix"), "{message}");
}

#[test]
fn of_two_sets_of_weights_the_single_file_counts_and_a_tensor_twice_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_dimensions(folder.path(), &config());
    let index = folder.path().join("model.safetensors.index.json");
    fs_err::write(&index, r#"{"weight_map": {"a": "gone.safetensors"}}"#).unwrap();
    write_tensors(folder.path(), "model.safetensors", |_| {});
    load(folder.path(), &Device::flex()).unwrap();

    for name in ["one.safetensors", "two.safetensors"] {
        write_tensors(folder.path(), name, |_| {});
    }
    fs_err::remove_file(folder.path().join("model.safetensors")).unwrap();
    fs_err::write(&index, r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#)
        .unwrap();
    let message = refusal(folder.path());
    assert!(
        message.contains("`lm_head.weight` is in") && message.contains("two.safetensors"),
        "{message}"
    );
}

#[test]
fn pickled_and_quantised_weights_are_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    write_dimensions(folder.path(), &config());
    for name in ["pytorch_model.bin", "consolidated.00.pth"] {
        fs_err::write(folder.path().join(name), "PK").unwrap();
        let message = refusal(folder.path());
        assert!(
            message.contains(&format!("{name}` is pickled")) && message.contains("from_pretrained"),
            "{message}"
        );
        fs_err::remove_file(folder.path().join(name)).unwrap();
    }
    write_tensors(folder.path(), "model.safetensors", |tensors| {
        for tensor in tensors.iter_mut().filter(|tensor| tensor.0.contains("_proj.")) {
            tensor.0 = tensor.0.replace(".weight", ".qweight");
        }
    });
    let message = refusal(folder.path());
    assert!(
        message.contains("are quantised (`model.layers.0.mlp.down_proj.qweight`)"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn a_long_list_of_problems_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    write_dimensions(folder.path(), &config());
    write_tensors(folder.path(), "model.safetensors", |tensors| {
        for tensor in tensors {
            tensor.0.insert_str(0, "module.");
        }
    });
    let message = refusal(folder.path());
    assert!(message.ends_with("more") && message.lines().count() == 22, "{message}");
}

/// `generation_config.json` may name more end-of-sequence tokens than `config.json`.
#[test]
fn ends_of_sequences_are_those_of_both_files() {
    let folder = tempfile::tempdir().unwrap();
    write_dimensions(folder.path(), &LlamaConfig { eos_token_id: vec![2], ..config() });
    fs_err::write(
        folder.path().join("generation_config.json"),
        r#"{"eos_token_id": [7, 2, 9], "top_p": 0.9}"#,
    )
    .unwrap();
    assert_eq!(read_config(folder.path()).unwrap().eos_token_id, [2, 7, 9]);
    fs_err::write(folder.path().join("generation_config.json"), r#"{"eos_token_id": "x"}"#)
        .unwrap();
    let message = read_config(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("generation_config.json") && message.contains("`eos_token_id`"),
        "{message}"
    );
}

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
        assert_eq!(folder.path().join("model.safetensors.index.json").exists(), max_shard_bytes == 500);
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
    let other = LlamaConfig { num_hidden_layers: 3, vocab_size: 12, intermediate_size: 12, ..config() };
    fs_err::write(folder.path().join("config.json"), serde_json::to_string(&other).unwrap()).unwrap();
    let message = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("missing: `model.layers.2.mlp.up_proj.weight` [12, 8]"), "{message}");
    assert!(message.contains("`lm_head.weight` has the shape [11, 8], expected [12, 8]"), "{message}");

    let fewer = LlamaConfig { num_hidden_layers: 1, ..config() };
    fs_err::write(folder.path().join("config.json"), serde_json::to_string(&fewer).unwrap()).unwrap();
    let message = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("unexpected: `model.layers.1.mlp.up_proj.weight` [12, 8]"), "{message}");
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
    assert!(message.contains(&format!("{name}` is not a whole")), "{message}");
    fs_err::remove_file(&shard).unwrap();
    let message = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains(&name), "{message}");
}

//! `uner export --gguf`: the crate's reader reads the written file back, and the vocabulary equals
//! that of llama.cpp's own file.

use std::collections::BTreeMap;

use burn::tensor::Device;
use gguf_rs_lib::format::metadata::{Metadata, MetadataValue};
use gguf_rs_lib::reader::file_reader::open_gguf_file;
use gguf_rs_lib::tensor::TensorType;
use safetensors::Dtype;
use uner_model::export::Export;
use uner_model::gguf::{Algorithm, TokenKind, Vocabulary, write};
use uner_model::parameters::visit;
use uner_model::weights::{MAX_SHARD_BYTES, random};
use uner_model::{LlamaConfig, load, save};
use uner_prompt::{PieceKind, Tokenizer};

use crate::shared::{repository, shared};

/// Grouped queries, and heads whose total width differs from the hidden size.
fn config() -> LlamaConfig {
    let text = r#"{"hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 11, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 5000.0}"#;
    serde_json::from_str(text).unwrap()
}

fn vocabulary(size: usize) -> Vocabulary {
    let token = |id: usize| (format!("t{id}"), -(id as f32), TokenKind::Normal);
    Vocabulary {
        tokens: (0..size).map(token).collect(),
        bos: Some(1),
        eos: Some(2),
        end_of_turn: None,
        unknown: Some(0),
        padding: None,
        algorithm: Algorithm::Scored { space_prefix: true },
        add_bos: true,
        chat_template: Some("{{ messages }}".to_owned()),
    }
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn array<'a>(metadata: &'a Metadata, key: &str) -> &'a [MetadataValue] {
    match metadata.get(key) {
        Some(MetadataValue::Array(array)) => &array.values,
        other => panic!("{key}: {other:?}"),
    }
}

/// Row `r` of a head is row `r / 2 + (r % 2) · head_dim / 2` of the Hugging Face matrix.
fn permuted(values: &[f32], head_dim: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let from = |row: usize| {
        let (head, row) = (row / head_dim, row % head_dim);
        head * head_dim + row / 2 + row % 2 * (head_dim / 2)
    };
    (0..rows).flat_map(|row| values[from(row) * columns..][..columns].to_vec()).collect()
}

#[test]
fn a_model_is_read_back_with_its_names_shapes_rows_and_dimensions() {
    let folder = tempfile::tempdir().unwrap();
    let config = config();
    let model = random(&config, 3, &Device::flex());
    save(&model, &config, folder.path(), MAX_SHARD_BYTES).unwrap();
    let file = folder.path().join("model.gguf");
    let export = Export {
        model: folder.path(),
        adapter: None,
        dtype: None,
        max_shard_bytes: MAX_SHARD_BYTES,
    };
    write(&export, &vocabulary(9), &file).unwrap();

    let mut reader = open_gguf_file(&file).unwrap();
    reader.validate_integrity().unwrap();
    let metadata = reader.metadata().clone();
    for (key, expected) in [
        ("llama.block_count", 2),
        ("llama.embedding_length", 24),
        ("llama.feed_forward_length", 20),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 2),
        ("llama.rope.dimension_count", 8),
        ("llama.context_length", 64),
        ("llama.vocab_size", 11),
        ("tokenizer.ggml.bos_token_id", 1),
        ("general.file_type", 0),
    ] {
        assert_eq!(metadata.get_u64(key), Some(expected), "{key}");
    }
    assert_eq!(metadata.get_string("general.architecture"), Some("llama"));
    assert_eq!(metadata.get_string("tokenizer.chat_template"), Some("{{ messages }}"));
    assert_eq!(metadata.get("llama.rope.freq_base"), Some(&MetadataValue::F32(5000.0)));
    assert_eq!(
        metadata.get("llama.attention.layer_norm_rms_epsilon"),
        Some(&MetadataValue::F32(1e-5))
    );
    // The file has a token for each row of the embedding.
    assert_eq!(array(&metadata, "tokenizer.ggml.tokens").len(), 11);
    assert_eq!(array(&metadata, "tokenizer.ggml.token_type")[10], MetadataValue::I32(5));

    let mut found = 0;
    visit(&model, "", |parameter| {
        let name = parameter.name.replace("model.layers.", "blk.");
        let name = [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.o_proj", "attn_output"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ]
        .iter()
        .fold(name, |name, (from, to)| name.replace(from, to));
        let values: Vec<f32> = parameter.values.try_into_vec_as().unwrap();
        let heads = ["attn_q.", "attn_k."].iter().any(|part| name.contains(part));
        let expected = if heads { permuted(&values, 8, 24) } else { values };
        let info = reader.get_tensor_info(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(info.tensor_type(), TensorType::F32);
        let shape: Vec<u64> = parameter.shape.iter().rev().map(|&size| size as u64).collect();
        assert_eq!(info.shape().dims(), shape, "{name}");
        let data = reader.load_tensor_data(&name).unwrap().unwrap();
        assert_eq!(numbers(data.as_slice()), expected, "{name}");
        found += 1;
    });
    assert_eq!(reader.tensor_count(), found);
}

#[test]
fn short_types_keep_their_norms_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let config = config();
    save(&random(&config, 3, &Device::flex()), &config, folder.path(), MAX_SHARD_BYTES).unwrap();
    let file = folder.path().join("model.gguf");
    let export = Export {
        model: folder.path(),
        adapter: None,
        dtype: Some(Dtype::BF16),
        max_shard_bytes: MAX_SHARD_BYTES,
    };
    write(&export, &vocabulary(11), &file).unwrap();
    let mut reader = open_gguf_file(&file).unwrap();
    reader.validate_integrity().unwrap();
    assert_eq!(reader.metadata().get_u64("general.file_type"), Some(32));
    let kind = |name: &str| reader.get_tensor_info(name).unwrap().tensor_type();
    assert_eq!(kind("blk.1.ffn_down.weight"), TensorType::BF16);
    assert_eq!(kind("blk.1.ffn_norm.weight"), TensorType::F32);
    let error = write(&export, &vocabulary(12), &file).unwrap_err().to_string();
    assert!(error.contains("the tokenizer has 12 tokens, but `vocab_size` is 11"), "{error}");
}

/// llama.cpp rotates neighbouring channels for a `llama`, so rows of queries and keys are
/// reordered; for Qwen it rotates the halves of a head.
#[test]
fn other_families_have_their_architecture_and_their_vectors() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("model.gguf");
    let attention = ["attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias"];
    let head_norms = ["attn_q_norm.weight", "attn_k_norm.weight"];
    for (name, architecture, context, vectors) in [
        ("llama-biases", "llama", 128, &attention[..]),
        ("mistral", "llama", 64, &attention[..0]),
        ("qwen2", "qwen2", 128, &attention[..3]),
        ("qwen3", "qwen3", 128, &head_norms[..]),
    ] {
        let folder = repository().join("tests/fixtures/llama/families").join(name);
        let export = Export {
            model: &folder,
            adapter: None,
            dtype: Some(Dtype::F32),
            max_shard_bytes: MAX_SHARD_BYTES,
        };
        write(&export, &vocabulary(96), &file).unwrap();
        let mut reader = open_gguf_file(&file).unwrap();
        reader.validate_integrity().unwrap();
        let metadata = reader.metadata().clone();
        assert_eq!(metadata.get_string("general.architecture"), Some(architecture));
        let length = metadata.get_u64(&format!("{architecture}.context_length"));
        assert_eq!(length, Some(context), "{name}");
        for vector in vectors {
            let info = reader.get_tensor_info(&format!("blk.1.{vector}"));
            assert_eq!(info.unwrap().tensor_type(), TensorType::F32, "{name}: {vector}");
        }
        let (config, model) = load(&folder, &Device::flex()).unwrap();
        let mut all: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        visit(&model, "", |p| drop(all.insert(p.name, p.values.try_into_vec_as().unwrap())));
        assert_eq!(reader.tensor_count(), all.len(), "{name}");
        for (kind, columns) in [("weight", config.hidden_size), ("bias", 1)] {
            let Some(values) = all.get(&format!("model.layers.0.self_attn.k_proj.{kind}")) else {
                continue;
            };
            let expected = if architecture == "llama" {
                permuted(values, config.head_dim, columns)
            } else {
                values.clone()
            };
            let data = reader.load_tensor_data(&format!("blk.0.attn_k.{kind}")).unwrap().unwrap();
            assert_eq!(numbers(data.as_slice()), expected, "{name}: {kind}");
        }
    }
}

#[test]
fn a_bias_that_llama_cpp_does_not_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"model_type": "qwen3", "attention_bias": true, "hidden_size": 16, "intermediate_size": 20,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 11,
        "max_position_embeddings": 64}"#;
    let config: LlamaConfig = serde_json::from_str(text).unwrap();
    save(&random(&config, 3, &Device::flex()), &config, folder.path(), MAX_SHARD_BYTES).unwrap();
    let export = Export {
        model: folder.path(),
        adapter: None,
        dtype: None,
        max_shard_bytes: MAX_SHARD_BYTES,
    };
    let file = folder.path().join("model.gguf");
    let error = write(&export, &vocabulary(11), &file).unwrap_err().to_string();
    assert!(error.contains("`attention_bias` is true"), "{error}");
}

/// Reads pieces and scores of a vocabulary file of llama.cpp.
fn of_llama_cpp(path: &std::path::Path) -> Vec<(String, f32, PieceKind)> {
    let reader = open_gguf_file(path).unwrap();
    let metadata = reader.metadata();
    let [tokens, scores, kinds] = ["tokens", "scores", "token_type"]
        .map(|key| array(metadata, &format!("tokenizer.ggml.{key}")));
    let all = tokens.iter().zip(scores).zip(kinds).map(|((token, score), kind)| {
        let kind = match kind {
            MetadataValue::I32(2) => PieceKind::Unknown,
            MetadataValue::I32(3) => PieceKind::Control,
            MetadataValue::I32(6) => PieceKind::Byte,
            _ => PieceKind::Normal,
        };
        match (token, score) {
            (MetadataValue::String(token), MetadataValue::F32(score)) => {
                (token.clone(), *score, kind)
            }
            other => panic!("{other:?}"),
        }
    });
    all.collect()
}

#[test]
fn the_vocabulary_of_llama_is_that_of_llama_cpp() {
    let Some(expected) = shared("data/llama-cpp-vocab/ggml-vocab-llama-spm.gguf") else { return };
    let Some(model) = shared("data/llama-tokenizer/tokenizer.model") else { return };
    let uner_prompt::Vocabulary { pieces, algorithm } =
        Tokenizer::from_file(&model).unwrap().vocabulary().unwrap();
    assert_eq!(algorithm, uner_prompt::Algorithm::Scored { space_prefix: true });
    let expected = of_llama_cpp(&expected);
    assert_eq!(pieces.len(), expected.len());
    for (id, (ours, theirs)) in pieces.iter().zip(&expected).enumerate() {
        assert_eq!(ours, theirs, "id {id}");
    }
}

/// A `tokenizer.json` has an order of merges instead of scores.
#[test]
fn the_scores_of_a_tokenizer_json_are_in_the_order_of_its_merges() {
    let Some(file) = shared("data/tinystories-656k/tokenizer.json") else { return };
    let uner_prompt::Vocabulary { pieces, algorithm } =
        Tokenizer::from_file(&file).unwrap().vocabulary().unwrap();
    assert_eq!(algorithm, uner_prompt::Algorithm::Scored { space_prefix: true });
    assert_eq!(pieces.len(), 2048);
    let score = |text: &str| pieces.iter().find(|(piece, _, _)| piece == text).unwrap().1;
    // The file's first merges.
    assert_eq!([score("e▁"), score("d▁"), score("th")], [0.0, -1.0, -2.0]);
    assert_eq!(pieces[0].2, PieceKind::Unknown);
    assert_eq!(pieces[1].2, PieceKind::Control);
    assert!(
        pieces
            .iter()
            .filter(|(_, _, kind)| *kind == PieceKind::Byte)
            .all(|(_, score, _)| *score == 0.0)
    );
}

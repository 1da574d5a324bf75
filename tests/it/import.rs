//! `uner import`: what was exported comes back, llama.cpp's own vocabulary makes its ids, and a
//! damaged file is refused.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;
use uner_infer::{Export, import};
use uner_model::gguf::Gguf;
use uner_model::weights::{MAX_SHARD_BYTES, random, read_config};
use uner_model::{LlamaConfig, load, save};
use uner_prompt::{Tokenizer, tokenizer_in};

use crate::hostile::{changed, changes};
use crate::shared::{repository, shared};

const TEXTS: [&str; 4] =
    ["Tim Cook runs Apple.", "  two  spaces\n\nand 2026-11-28", "Größe 東京 🙂", "It's ½ ok"];

/// A tokenizer of LLaMA's kind with 300 tokens.
fn tokenizer(folder: &Path) -> Tokenizer {
    let texts = ["the cat sat on the mat", "a cat", "Tim Cook runs Apple"];
    let tokenizer = Tokenizer::train(texts.iter().cycle().take(60), 300).unwrap();
    tokenizer.save(folder).unwrap();
    tokenizer
}

fn model(folder: &Path, model_type: &str, tied: bool) -> LlamaConfig {
    let text = format!(
        r#"{{"model_type": "{model_type}", "hidden_size": 24, "intermediate_size": 20,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "vocab_size": 300, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 5000.0,
        "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": {tied}}}"#
    );
    let config: LlamaConfig = serde_json::from_str(&text).unwrap();
    save(&random(&config, 3, &Device::flex()), &config, folder, MAX_SHARD_BYTES).unwrap();
    config
}

fn exported(folder: &Path, dtype: Option<Dtype>) -> PathBuf {
    let file = folder.join("model.gguf");
    let export = Export {
        folder,
        base: None,
        merge: false,
        dtype,
        max_shard_bytes: MAX_SHARD_BYTES,
        card: None,
    };
    export.to_gguf(&file).unwrap();
    file
}

fn imported(file: &Path, dtype: Option<Dtype>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let gguf = Gguf::open(file).unwrap();
    let output = folder.path().join("model");
    import(&gguf, dtype.unwrap_or_else(|| gguf.dtype()), MAX_SHARD_BYTES, &output).unwrap();
    folder
}

type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

fn weights(folder: &Path) -> Vec<Stored> {
    let bytes = fs_err::read(folder.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    let mut all: Vec<Stored> = tensors
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn assert_same_ids(ours: &Tokenizer, theirs: &Tokenizer) {
    for text in TEXTS {
        assert_eq!(ours.encode_segment(text).unwrap(), theirs.encode_segment(text).unwrap());
    }
    assert_eq!([ours.bos(), ours.eos()], [theirs.bos(), theirs.eos()]);
}

#[test]
fn what_was_exported_comes_back() {
    for (model_type, tied) in [("llama", false), ("llama", true), ("qwen2", true), ("qwen3", false)]
    {
        let source = tempfile::tempdir().unwrap();
        let config = model(source.path(), model_type, tied);
        let tokenizer = tokenizer(source.path());
        let folder = imported(&exported(source.path(), None), None);
        let folder = folder.path().join("model");
        assert_eq!(read_config(&folder).unwrap(), LlamaConfig { pad_token_id: Some(0), ..config });
        assert!(weights(&folder) == weights(source.path()), "{model_type}, tied: {tied}");
        let again = Tokenizer::from_file(&tokenizer_in(&folder)).unwrap();
        assert_same_ids(&again, &tokenizer);
        uner_model::folder::verify(&folder).unwrap();
        load(&folder, &Device::flex()).unwrap();
    }
}

#[test]
fn the_element_type_keeps_every_value_unless_another_is_named() {
    let source = tempfile::tempdir().unwrap();
    model(source.path(), "llama", false);
    tokenizer(source.path());
    let file = exported(source.path(), Some(Dtype::BF16));
    for (dtype, expected) in [(None, Dtype::BF16), (Some(Dtype::F32), Dtype::F32)] {
        let folder = imported(&file, dtype);
        let all = weights(&folder.path().join("model"));
        assert!(all.iter().all(|(_, dtype, ..)| *dtype == expected));
    }
}

/// The 47 texts that llama.cpp tests its own tokenizer with.
#[test]
fn the_vocabulary_of_a_file_makes_the_ids_of_llama_cpp() {
    let Some(file) = shared("data/llama-cpp-vocab/ggml-vocab-llama-spm.gguf") else { return };
    let vocabulary = Gguf::vocabulary_of(&file).unwrap();
    let tokenizer = uner_infer::tokenizer_of(&vocabulary).unwrap();
    let read = |end: &str| fs_err::read_to_string(format!("{}.{end}", file.display())).unwrap();
    let (texts, expected) = (read("inp"), read("out"));
    let pairs: Vec<(&str, &str)> =
        texts.split("\n__ggml_vocab_test__\n").zip(expected.split('\n')).collect();
    assert_eq!(pairs.len(), 47);
    for (text, expected) in pairs {
        let expected: Vec<u32> =
            expected.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(tokenizer.encode_segment(text).unwrap(), expected, "{text:?}");
    }
}

fn refused(file: &Path, part: &str) {
    let opened = Gguf::open(file).and_then(|gguf| {
        let folder = tempfile::tempdir().unwrap();
        gguf.write_folder(gguf.dtype(), folder.path(), MAX_SHARD_BYTES)
    });
    let error = opened.unwrap_err().to_string();
    assert!(error.contains(part) && error.contains("gguf"), "{error}");
}

#[test]
fn a_file_that_is_not_understood_is_refused_by_name() {
    let source = tempfile::tempdir().unwrap();
    model(source.path(), "llama", false);
    tokenizer(source.path());
    let file = exported(source.path(), None);
    let bytes = fs_err::read(&file).unwrap();
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let index = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[index..][..to.len()].copy_from_slice(to.as_bytes());
        fs_err::write(&file, bytes).unwrap();
    };
    replaced("llama.embedding_length", "llama.embedding_xength");
    refused(&file, "`llama.embedding_length` is missing");
    replaced("blk.1.attn_q.weight", "blk.1.attn_x.weight");
    refused(&file, "`blk.1.attn_q.weight` [32, 24] is missing");
    refused(&file, "`blk.1.attn_x.weight` is not a tensor of this family");
    replaced("tokenizer.ggml.tokens", "tokenizer.ggml.tokenz");
    refused(&file, "`tokenizer.ggml.tokens` is missing");
    fs_err::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    refused(&file, "");
    fs_err::write(&file, "GGUF").unwrap();
    refused(&file, "it is not a complete GGUF file");
    let missing = Gguf::open(&source.path().join("none.gguf")).err().unwrap().to_string();
    assert!(missing.contains("none.gguf"), "{missing}");
}

/// A real model, quantised to 4 bits: transformers has read the same file into
/// `$UNER_MODELS/smollm2-135m`, in bf16.
#[test]
fn a_quantised_model_is_what_transformers_reads() {
    let Some(models) = std::env::var_os("UNER_MODELS").map(PathBuf::from) else {
        eprintln!("SKIPPED: set UNER_MODELS to a folder of models");
        return;
    };
    let (file, theirs) = (models.join("smollm2-135m.gguf"), models.join("smollm2-135m"));
    if !file.exists() || !theirs.exists() {
        eprintln!("SKIPPED: `{}` or its folder is missing", file.display());
        return;
    }
    let folder = imported(&file, Some(Dtype::BF16));
    let folder = folder.path().join("model");
    assert!(weights(&folder) == weights(&theirs));
    let dimensions = |folder: &Path| {
        let config = read_config(folder).unwrap();
        // transformers keeps the f32 in the file, 9.999999747378752e-06.
        LlamaConfig { rms_norm_eps: 1e-5, ..config }
    };
    assert_eq!(dimensions(&folder), dimensions(&theirs));
    let [ours, theirs] =
        [&folder, &theirs].map(|folder| Tokenizer::from_file(&tokenizer_in(folder)).unwrap());
    // transformers ignores the file's rule that every digit is a word.
    for text in TEXTS.into_iter().filter(|text| !text.contains(char::is_numeric)) {
        assert_eq!(ours.encode_segment(text).unwrap(), theirs.encode_segment(text).unwrap());
    }
    let years = |tokenizer: &Tokenizer| tokenizer.encode_segment("in 2026").unwrap().len();
    assert!(years(&ours) >= years(&theirs));
    // The vocabulary is exported again as it was.
    let again = exported(&folder, None);
    assert_eq!(
        Gguf::vocabulary_of(&again).unwrap().algorithm,
        Gguf::vocabulary_of(&file).unwrap().algorithm
    );
}

proptest! {
    /// A damaged file is an error or a model; it is never a panic.
    #[test]
    fn a_damaged_file_is_an_error_or_a_model(changes in changes()) {
        static FILE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let source = tempfile::tempdir().unwrap();
            model(source.path(), "llama", true);
            tokenizer(source.path());
            fs_err::read(exported(source.path(), None)).unwrap()
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.gguf");
        // Most of the file are weights; the metadata is at its start.
        let start = FILE.len().min(12_000);
        let mut bytes = changed(&FILE[..start], &changes);
        bytes.extend_from_slice(&FILE[start..]);
        fs_err::write(&file, bytes).unwrap();
        if let Ok(gguf) = Gguf::open(&file) {
            let output = folder.path().join("model");
            if import(&gguf, Dtype::F32, MAX_SHARD_BYTES, &output).is_ok() {
                prop_assert!(load(&output, &Device::flex()).is_ok());
            } else {
                prop_assert!(!output.exists());
            }
        }
    }
}

#[test]
fn the_fixtures_of_other_families_come_back() {
    for name in ["llama-biases", "mistral", "qwen2", "qwen3"] {
        let theirs = repository().join("tests/fixtures/llama/families").join(name);
        let source = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs_err::copy(theirs.join(file), source.path().join(file)).unwrap();
        }
        let rows = read_config(source.path()).unwrap().vocab_size;
        let vocabulary = byte_vocabulary(rows);
        let file = source.path().join("model.gguf");
        let export = uner_model::export::Export {
            model: source.path(),
            adapter: None,
            dtype: None,
            max_shard_bytes: MAX_SHARD_BYTES,
        };
        uner_model::gguf::write(&export, &vocabulary, &file).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let gguf = Gguf::open(&file).unwrap();
        gguf.write_folder(gguf.dtype(), folder.path(), MAX_SHARD_BYTES).unwrap();
        assert!(weights(folder.path()) == weights(source.path()), "{name}");
    }
}

/// As many tokens as the embedding has rows.
fn byte_vocabulary(rows: usize) -> uner_model::gguf::Vocabulary {
    use uner_model::gguf::{Algorithm, TokenKind, Vocabulary};
    Vocabulary {
        tokens: (0..rows).map(|id| (format!("t{id}"), 0.0, TokenKind::Normal)).collect(),
        algorithm: Algorithm::Scored { space_prefix: true },
        bos: Some(1),
        eos: Some(2),
        end_of_turn: None,
        unknown: Some(0),
        padding: None,
        add_bos: true,
        chat_template: None,
    }
}

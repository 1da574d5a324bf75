//! Trains a LLaMA-like tokenizer, for models that start from random weights.

use super::TokenizerError;
use super::config::Config;
use super::hugging_face::HuggingFace;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Trainer,
};

/// `<unk>`, beginning-of-sequence and end-of-sequence: ids 0, 1, 2.
const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];

/// Share of all characters that get their own piece; the rarest are written as bytes.
const CHARACTER_COVERAGE: f64 = 0.9995;

/// Pattern of a word: letters, or one digit, or other characters, each with its space mark. Merges
/// never cross the end of a word.
const WORD: &str = r"▁?[\p{L}\p{M}]+|▁?\p{N}|▁?[^▁\p{L}\p{M}\p{N}]+|▁";

pub(super) fn train(
    texts: impl Iterator<Item = impl AsRef<str>>,
    vocab_size: usize,
) -> Result<HuggingFace, TokenizerError> {
    let text_error = |error: tokenizers::Error| TokenizerError::Text(error.to_string());
    let words = count_words(texts).map_err(text_error)?;
    let alphabet = frequent_characters(&words);
    let first_ids: Vec<String> = SPECIAL
        .iter()
        .map(ToString::to_string)
        .chain((0..=255_u8).map(|byte| format!("<0x{byte:02X}>")))
        .collect();
    if vocab_size < first_ids.len() + alphabet.len() {
        return Err(TokenizerError::VocabularyTooSmall {
            vocab_size,
            num_characters: alphabet.len(),
        });
    }
    let model = train_model(&words, &alphabet, &first_ids, vocab_size).map_err(text_error)?;
    let file = tokenizer_json(&model).to_string();
    HuggingFace::read(file.as_bytes(), config()).map_err(TokenizerError::Text)
}

/// Splits the texts as the finished tokenizer will, and counts the words. The map is ordered, so
/// that nothing depends on hashing.
fn count_words(
    texts: impl Iterator<Item = impl AsRef<str>>,
) -> tokenizers::Result<BTreeMap<String, u64>> {
    let empty = tokenizer_json(&json!({"type": "BPE", "vocab": {}, "merges": []}));
    let cutter = tokenizers::Tokenizer::from_bytes(empty.to_string())?;
    let (normalizer, pre_tokenizer) = (cutter.get_normalizer(), cutter.get_pre_tokenizer());
    let mut words = BTreeMap::new();
    for text in texts {
        let mut text = NormalizedString::from(text.as_ref());
        normalizer.map_or(Ok(()), |normalizer| normalizer.normalize(&mut text))?;
        let mut pieces = PreTokenizedString::from(text);
        pre_tokenizer.map_or(Ok(()), |pre_tokenizer| pre_tokenizer.pre_tokenize(&mut pieces))?;
        for (word, ..) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            match words.get_mut(word) {
                Some(count) => *count += 1,
                None => {
                    words.insert(word.to_owned(), 1);
                }
            }
        }
    }
    Ok(words)
}

/// The most frequent characters that together make up [`CHARACTER_COVERAGE`] of the texts.
fn frequent_characters(words: &BTreeMap<String, u64>) -> BTreeSet<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for character in word.chars() {
            *counts.entry(character).or_default() += count;
        }
    }
    let wanted = counts.values().sum::<u64>() as f64 * CHARACTER_COVERAGE;
    let mut by_count: Vec<(char, u64)> = counts.into_iter().collect();
    by_count.sort_by_key(|(character, count)| (std::cmp::Reverse(*count), *character));
    let mut covered = 0;
    by_count
        .into_iter()
        .take_while(|(_, count)| {
            let needed = (covered as f64) < wanted;
            covered += count;
            needed
        })
        .map(|(character, _)| character)
        .collect()
}

/// Trains the model part of a `tokenizer.json`.
fn train_model(
    words: &BTreeMap<String, u64>,
    alphabet: &BTreeSet<char>,
    first_ids: &[String],
    vocab_size: usize,
) -> tokenizers::Result<Value> {
    let special = first_ids.iter().map(|token| AddedToken::from(token.clone(), true)).collect();
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab_size)
        .special_tokens(special)
        .show_progress(false)
        .build();
    let covered = words.iter().flat_map(|(word, count)| {
        word.split(|character| !alphabet.contains(&character))
            .filter(|part| !part.is_empty())
            .flat_map(|part| std::iter::repeat_n(part, *count as usize))
    });
    trainer.feed(covered, |word| Ok(vec![word.to_owned()]))?;
    let mut bpe = BPE::default();
    trainer.train(&mut bpe)?;
    let mut model = serde_json::to_value(&bpe)?;
    model["unk_token"] = json!(SPECIAL[0]);
    model["fuse_unk"] = json!(true);
    model["byte_fallback"] = json!(true);
    Ok(model)
}

/// The steps around the model are those of LLaMA's own `tokenizer.json`, except the split into
/// words.
fn tokenizer_json(model: &Value) -> Value {
    let added = SPECIAL.iter().enumerate().map(|(id, content)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
    });
    let bos = json!({"SpecialToken": {"id": SPECIAL[1], "type_id": 0}});
    let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": WORD}, "behavior": "Isolated", "invert": false},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, sequence("A")],
            "pair": [bos, sequence("A"), sequence("B")],
            "special_tokens": {SPECIAL[1]: {"id": SPECIAL[1], "ids": [1], "tokens": [SPECIAL[1]]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": model,
    })
}

fn config() -> Config {
    let keys = ["unk_token", "bos_token", "eos_token"].into_iter().zip(SPECIAL);
    keys.map(|(key, token)| (key.to_owned(), json!(token))).collect()
}

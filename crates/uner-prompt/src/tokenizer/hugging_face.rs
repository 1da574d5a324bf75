//! `tokenizer.json`, read by the `tokenizers` crate.

use super::TokenizerError;
use super::config::{self, Config, SpecialIds};
use super::guard::guarded;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// Default special tokens, if `tokenizer_config.json` does not name them. Qwen's has no token that
/// begins a text, but `bos_token_id` of its `config.json` is `<|endoftext|>`.
const BOS: [&str; 4] = ["<s>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"];
const EOS: [&str; 3] = ["</s>", "<|end_of_text|>", "<|endoftext|>"];

/// Limit on how many times longer normalizers may make a text, in characters.
const MOST_GROWTH: f64 = 100.0;

/// Upper bound on how many times longer a step makes a text (of at least one character). Unicode's
/// normalisation forms are not counted.
fn growth(step: &Value) -> f64 {
    match step["type"].as_str() {
        Some("Prepend") => {
            1.0 + step["prepend"].as_str().map_or(0, |text| text.chars().count()) as f64
        }
        Some("Replace") => {
            step["content"].as_str().map_or(1.0, |content| content.chars().count().max(1) as f64)
        }
        Some("Sequence") => {
            step["normalizers"].as_array().into_iter().flatten().map(growth).product()
        }
        _ => 1.0,
    }
}

fn check_growth(normalizer: &Value) -> Result<(), String> {
    let growth = growth(normalizer);
    if growth > MOST_GROWTH {
        return Err(format!(
            "its normalizer makes a text up to {growth:.0e} times as long; remove the `Replace` and `Prepend` steps that cause this"
        ));
    }
    Ok(())
}

/// A tokenizer of the `tokenizers` crate, with its configuration.
#[derive(Debug)]
pub(super) struct HuggingFace {
    /// Encodes special tokens in a text as plain text.
    plain: tokenizers::Tokenizer,
    /// `plain` without the space before a text; `None` if `plain` adds none.
    inside: Option<tokenizers::Tokenizer>,
    /// Whether decoding returns the space that encoding put before a text.
    reads_prefix: bool,
    /// One more than the largest id. Stored, because the crate copies the vocabulary to compute it.
    vocab_size: usize,
    /// The special tokens as text, longest first, and their distinct first bytes.
    special_texts: Vec<String>,
    special_starts: Vec<u8>,
    /// `plain` and `inside`, but with special tokens recognised; built at first use.
    special: [OnceLock<tokenizers::Tokenizer>; 2],
    config: Config,
}

impl HuggingFace {
    pub(super) fn read(bytes: &[u8], config: Config) -> Result<Self, String> {
        // Checked before the tokenizer is built, which normalises its special tokens.
        let file: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        check_growth(&file["normalizer"])?;
        let tokenizer = guarded(|| {
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())
        })?;
        Self::new(tokenizer, config)
    }

    /// Switches off the file's truncation and padding: lengths are limited elsewhere, never
    /// silently.
    pub(super) fn new(mut plain: tokenizers::Tokenizer, config: Config) -> Result<Self, String> {
        plain.with_truncation(None).map_err(|error| error.to_string())?;
        plain.with_padding(None);
        plain.set_encode_special_tokens(true);
        // With BPE dropout, the same text would get different ids every time.
        if let ModelWrapper::BPE(model) = plain.get_model()
            && model.dropout.is_some_and(|dropout| dropout > 0.0)
        {
            let mut model = model.clone();
            model.dropout = None;
            plain.with_model(ModelWrapper::BPE(model));
        }
        let inside = without_prefix(&plain)?;
        let vocab_size = plain.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1);
        let special_tokens = plain
            .get_added_tokens_decoder()
            .into_values()
            .filter(|token| token.special && !token.content.is_empty());
        let mut special_texts: Vec<String> = special_tokens.map(|token| token.content).collect();
        special_texts.sort_by_key(|text| (std::cmp::Reverse(text.len()), text.clone()));
        let mut special_starts: Vec<u8> =
            special_texts.iter().map(|text| text.as_bytes()[0]).collect();
        special_starts.sort_unstable();
        special_starts.dedup();
        let mut tokenizer = Self {
            plain,
            inside,
            reads_prefix: false,
            vocab_size,
            special_texts,
            special_starts,
            special: [OnceLock::new(), OnceLock::new()],
            config,
        };
        let read_back = tokenizer.encode("a", false).and_then(|ids| tokenizer.decode(&ids));
        tokenizer.reads_prefix = read_back.is_ok_and(|text| text == " a");
        Ok(tokenizer)
    }

    /// The content of `tokenizer_config.json`.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The content of `tokenizer.json`.
    pub(super) fn json(&self) -> Result<serde_json::Value, TokenizerError> {
        serde_json::to_value(&self.plain).map_err(|error| TokenizerError::Text(error.to_string()))
    }

    pub(super) fn special_ids(&self) -> Result<SpecialIds, String> {
        let bos = self.special_id("bos_token", &BOS)?;
        let eos = self.special_id("eos_token", &EOS)?;
        let pad = config::token(&self.config, "pad_token")
            .and_then(|token| self.plain.token_to_id(token));
        let pad = pad.or_else(|| self.plain.token_to_id("<unk>")).unwrap_or(eos);
        Ok(SpecialIds { bos, eos, pad })
    }

    fn special_id(&self, key: &str, usual: &[&str]) -> Result<u32, String> {
        if let Some(token) = config::token(&self.config, key) {
            return self
                .plain
                .token_to_id(token)
                .ok_or_else(|| format!("`{key}` `{token}` is not in the vocabulary"));
        }
        usual.iter().find_map(|token| self.plain.token_to_id(token)).ok_or_else(|| {
            format!(
                "no `{key}`: set it in `{}` beside the tokenizer (none of `{}` is in the vocabulary)",
                config::FILE,
                usual.join("`, `")
            )
        })
    }

    /// The tokenizer for a text that begins or `continues` another.
    fn of(&self, continues: bool) -> &tokenizers::Tokenizer {
        self.inside.as_ref().filter(|_| continues).unwrap_or(&self.plain)
    }

    pub(super) fn encode(&self, text: &str, continues: bool) -> Result<Vec<u32>, TokenizerError> {
        encode(self.of(continues), text)
    }

    pub(super) fn encode_with_special_tokens(
        &self,
        text: &str,
        continues: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        let tokenizer = self.special[usize::from(continues)].get_or_init(|| {
            let mut tokenizer = self.of(continues).clone();
            tokenizer.set_encode_special_tokens(false);
            tokenizer
        });
        encode(tokenizer, text)
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let text = guarded(|| self.plain.decode(ids, true).map_err(|error| error.to_string()));
        let text = text.map_err(TokenizerError::Text)?;
        let prefix = if self.reads_prefix { " " } else { "" };
        Ok(text.strip_prefix(prefix).map_or(text.clone(), str::to_owned))
    }

    /// As [`Self::decode`], but includes special tokens.
    pub(super) fn decode_with_special(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let text = guarded(|| self.plain.decode(ids, false).map_err(|error| error.to_string()));
        text.map_err(TokenizerError::Text)
    }

    /// Start and length of the first special token in a text.
    pub(super) fn find_special(&self, text: &str) -> Option<(usize, usize)> {
        let bytes = text.as_bytes();
        let starts = |at: usize| {
            let token = self
                .special_texts
                .iter()
                .find(|token| bytes[at..].starts_with(token.as_bytes()))?;
            Some((at, token.len()))
        };
        (0..bytes.len()).filter(|at| self.special_starts.contains(&bytes[*at])).find_map(starts)
    }

    /// The tokenizer of the `tokenizers` crate.
    pub(super) fn plain(&self) -> &tokenizers::Tokenizer {
        &self.plain
    }

    pub(super) fn token(&self, id: u32) -> String {
        self.plain.id_to_token(id).unwrap_or_default()
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let text =
            self.plain.to_string(true).map_err(|error| TokenizerError::Text(error.to_string()))?;
        fs_err::write(dir.join("tokenizer.json"), text)?;
        let mut config = self.config.clone();
        config.entry("tokenizer_class").or_insert_with(|| json!("PreTrainedTokenizerFast"));
        config.entry("clean_up_tokenization_spaces").or_insert_with(|| json!(false));
        let text = serde_json::to_string_pretty(&config).map_err(std::io::Error::from)?;
        fs_err::write(dir.join(config::FILE), text)?;
        Ok(())
    }
}

/// The tokenizer without the steps that put a space before a text; `None` if it has none.
fn without_prefix(
    tokenizer: &tokenizers::Tokenizer,
) -> Result<Option<tokenizers::Tokenizer>, String> {
    let file = |error: serde_json::Error| error.to_string();
    let steps = [
        serde_json::to_value(tokenizer.get_normalizer()).map_err(file)?,
        serde_json::to_value(tokenizer.get_pre_tokenizer()).map_err(file)?,
    ];
    let [normalizer, pre_tokenizer] = steps.clone().map(drop_prefix);
    if steps[0] == normalizer && steps[1] == pre_tokenizer {
        return Ok(None);
    }
    let mut inside = tokenizer.clone();
    inside.with_normalizer(
        serde_json::from_value::<Option<NormalizerWrapper>>(normalizer).map_err(file)?,
    );
    inside.with_pre_tokenizer(
        serde_json::from_value::<Option<PreTokenizerWrapper>>(pre_tokenizer).map_err(file)?,
    );
    Ok(Some(inside))
}

/// Changes a step of `tokenizer.json`, or a sequence, so that it puts nothing before a text.
fn drop_prefix(mut step: Value) -> Value {
    match step["type"].as_str() {
        Some("Prepend") => return Value::Null,
        Some("Metaspace") => step["prepend_scheme"] = json!("never"),
        Some("ByteLevel") => step["add_prefix_space"] = json!(false),
        Some("Sequence") => {
            for steps in ["normalizers", "pretokenizers"] {
                let Some(list) = step.get_mut(steps).and_then(Value::as_array_mut) else {
                    continue;
                };
                let unprefixed = std::mem::take(list).into_iter().map(drop_prefix);
                *list = unprefixed.filter(|step| !step.is_null()).collect();
            }
        }
        _ => {}
    }
    step
}

fn encode(tokenizer: &tokenizers::Tokenizer, text: &str) -> Result<Vec<u32>, TokenizerError> {
    let encoding =
        guarded(|| tokenizer.encode_fast(text, false).map_err(|error| error.to_string()));
    Ok(encoding.map_err(TokenizerError::Text)?.get_ids().to_vec())
}

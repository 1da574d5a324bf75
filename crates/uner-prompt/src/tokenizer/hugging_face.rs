//! `tokenizer.json`, by the `tokenizers` crate.

use super::TokenizerError;
use super::config::{self, Config, SpecialIds};
use serde_json::json;
use std::path::Path;
use std::sync::OnceLock;

/// Usual names, for a `tokenizer.json` that stands alone.
const BOS: [&str; 3] = ["<s>", "<|begin_of_text|>", "<|startoftext|>"];
const EOS: [&str; 3] = ["</s>", "<|end_of_text|>", "<|endoftext|>"];

/// A tokenizer of the `tokenizers` crate and its configuration.
#[derive(Debug)]
pub(super) struct HuggingFace {
    /// Takes special tokens in a text as plain text.
    plain: tokenizers::Tokenizer,
    /// Recognises them; made when first asked for.
    special: OnceLock<tokenizers::Tokenizer>,
    config: Config,
}

impl HuggingFace {
    pub(super) fn read(bytes: &[u8], config: Config) -> Result<Self, String> {
        let tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
        Self::new(tokenizer, config)
    }

    /// Lengths are decided elsewhere and never silently, so truncation and padding of the file are switched off.
    pub(super) fn new(mut plain: tokenizers::Tokenizer, config: Config) -> Result<Self, String> {
        plain.with_truncation(None).map_err(|error| error.to_string())?;
        plain.with_padding(None);
        plain.set_encode_special_tokens(true);
        Ok(Self { plain, special: OnceLock::new(), config })
    }

    /// What `tokenizer.json` says.
    pub(super) fn json(&self) -> Result<serde_json::Value, TokenizerError> {
        serde_json::to_value(&self.plain).map_err(|error| TokenizerError::Text(error.to_string()))
    }

    pub(super) fn special_ids(&self) -> Result<SpecialIds, String> {
        let bos = self.special_id("bos_token", &BOS)?;
        let eos = self.special_id("eos_token", &EOS)?;
        let pad = config::token(&self.config, "pad_token").and_then(|token| self.plain.token_to_id(token));
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

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        encode(&self.plain, text)
    }

    pub(super) fn encode_with_special_tokens(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let tokenizer = self.special.get_or_init(|| {
            let mut tokenizer = self.plain.clone();
            tokenizer.set_encode_special_tokens(false);
            tokenizer
        });
        encode(tokenizer, text)
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.plain.decode(ids, true).map_err(|error| TokenizerError::Text(error.to_string()))
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.plain.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let text = self.plain.to_string(true).map_err(|error| TokenizerError::Text(error.to_string()))?;
        fs_err::write(dir.join("tokenizer.json"), text)?;
        let mut config = self.config.clone();
        config.entry("tokenizer_class").or_insert_with(|| json!("PreTrainedTokenizerFast"));
        config.entry("clean_up_tokenization_spaces").or_insert_with(|| json!(false));
        let text = serde_json::to_string_pretty(&config).map_err(std::io::Error::from)?;
        fs_err::write(dir.join(config::FILE), text)?;
        Ok(())
    }
}

fn encode(tokenizer: &tokenizers::Tokenizer, text: &str) -> Result<Vec<u32>, TokenizerError> {
    let encoding =
        tokenizer.encode_fast(text, false).map_err(|error| TokenizerError::Text(error.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}

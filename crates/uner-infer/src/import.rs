//! Imports a GGUF file as a model folder: weights, tokenizer and chat template.

use std::path::Path;

use safetensors::Dtype;
use serde_json::json;
use uner_model::folder;
use uner_model::gguf::{Algorithm, Gguf, TokenKind, Vocabulary};
use uner_prompt::{PieceKind, PromptError, SpecialTokens, Tokenizer};

use crate::error::InferError;
use crate::export::{whole_folder, write_chat_template};
use crate::load::refuse;

/// Writes the model of a file as a Hugging Face folder, which is complete or absent.
///
/// # Errors
/// When the tokenizer is not supported, tensors do not fit the metadata, or a file cannot be
/// written.
pub fn import(
    file: &Gguf,
    dtype: Dtype,
    max_shard_bytes: usize,
    output: &Path,
) -> Result<(), InferError> {
    let vocabulary = file.vocabulary();
    // Before the weights are written, which takes longer.
    let tokenizer = match tokenizer_of(vocabulary) {
        Ok(tokenizer) => tokenizer,
        Err(problem) => return refuse(file.path(), problem),
    };
    whole_folder(output, |folder| {
        file.write_folder(dtype, folder, max_shard_bytes)?;
        tokenizer.save(folder).map_err(PromptError::from)?;
        write_chat_template(vocabulary.chat_template.as_deref(), folder)?;
        let ends: Vec<u32> = vocabulary.eos.into_iter().chain(vocabulary.end_of_turn).collect();
        let generation = json!({
            "bos_token_id": vocabulary.bos,
            "eos_token_id": ends,
            "pad_token_id": vocabulary.padding,
        });
        fs_err::write(folder.join("generation_config.json"), format!("{generation:#}"))?;
        Ok(folder::write_sums(folder)?)
    })
}

/// Builds the tokenizer of a file's vocabulary.
///
/// # Errors
/// Names the key at fault, or says that the vocabulary is not supported.
pub fn tokenizer_of(vocabulary: &Vocabulary) -> Result<Tokenizer, String> {
    let needed = |name: &str, id: Option<u32>| {
        id.ok_or_else(|| format!("`tokenizer.ggml.{name}` is missing or not in the vocabulary"))
    };
    let eos = needed("eos_token_id", vocabulary.eos)?;
    let special = SpecialTokens {
        // Qwen has no token that begins a text.
        bos: vocabulary.bos.unwrap_or(eos),
        eos,
        unknown: vocabulary.unknown,
        padding: vocabulary.padding,
        add_bos: vocabulary.add_bos,
    };
    let pieces = vocabulary.tokens.iter().map(|(text, score, kind)| {
        let kind = match kind {
            TokenKind::Normal => PieceKind::Normal,
            TokenKind::Unknown => PieceKind::Unknown,
            // A row without a token is never made from text either.
            TokenKind::Control | TokenKind::Unused => PieceKind::Control,
            TokenKind::UserDefined => PieceKind::UserDefined,
            TokenKind::Byte => PieceKind::Byte,
        };
        (text.clone(), *score, kind)
    });
    let vocabulary = uner_prompt::Vocabulary {
        pieces: pieces.collect(),
        algorithm: match &vocabulary.algorithm {
            Algorithm::Scored { space_prefix } => {
                uner_prompt::Algorithm::Scored { space_prefix: *space_prefix }
            }
            Algorithm::ByteLevel { pre_tokenizer, merges } => uner_prompt::Algorithm::ByteLevel {
                pre_tokenizer: pre_tokenizer.clone(),
                merges: merges.clone(),
            },
        },
    };
    Tokenizer::from_vocabulary(&vocabulary, &special).map_err(|error| error.to_string())
}

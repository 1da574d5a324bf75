//! A tokenizer as a vocabulary with the rule that makes tokens of a text, as other formats store
//! it.

mod byte_level;
mod json;
mod scored;
#[cfg(test)]
mod tests;

use super::config::Config;
use super::hugging_face::HuggingFace;
use super::sentencepiece::SentencePiece;
use super::{Model, SpacePrefix, Tokenizer, TokenizerError};
use serde_json::json;

/// The kind of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// Text.
    Normal,
    /// Stands for text that is not in the vocabulary.
    Unknown,
    /// Never made from text.
    Control,
    /// Text that is matched before a text is split.
    UserDefined,
    /// One byte.
    Byte,
}

/// How pieces are made of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Algorithm {
    /// SentencePiece BPE: of two neighbouring pairs, the one whose piece has the higher score is
    /// merged first.
    Scored {
        /// Whether a space is put before a text.
        space_prefix: bool,
    },
    /// Byte-level BPE.
    ByteLevel {
        /// llama.cpp's name of the rules that split a text into words.
        pre_tokenizer: String,
        /// Two pieces, with a space between them; the first pair is merged first.
        merges: Vec<String>,
    },
}

/// Pieces by id, with the rule that makes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Text, score and kind. Scores are 0 for byte-level BPE.
    pub pieces: Vec<(String, f32, PieceKind)>,
    /// The rule.
    pub algorithm: Algorithm,
}

/// The ids of special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a sequence.
    pub bos: u32,
    /// Ends a sequence.
    pub eos: u32,
    /// Stands for text that the vocabulary lacks.
    pub unknown: Option<u32>,
    /// Padding.
    pub padding: Option<u32>,
    /// Whether transformers puts `bos` before a text.
    pub add_bos: bool,
}

impl Tokenizer {
    /// The tokenizer as a vocabulary.
    ///
    /// # Errors
    /// It is neither of LLaMA's kind (BPE with byte fallback) nor byte-level BPE with words that
    /// llama.cpp splits, too.
    pub fn vocabulary(&self) -> Result<Vocabulary, TokenizerError> {
        let found = match &self.model {
            Model::SentencePiece(model) => scored::of_sentencepiece(model.file()),
            Model::HuggingFace(model) => {
                let file = model.json()?;
                if file["model"]["byte_fallback"] == true {
                    scored::of_json(&file)
                } else {
                    byte_level::of_json(&file)
                }
            }
        };
        found.map_err(|problem| {
            TokenizerError::Text(format!("it cannot be written as a vocabulary: {problem}"))
        })
    }

    /// Builds the tokenizer of a vocabulary.
    ///
    /// # Errors
    /// An id or a merge names no piece, the 256 bytes are incomplete, or the words are split by
    /// rules that are not known.
    pub fn from_vocabulary(
        vocabulary: &Vocabulary,
        special: &SpecialTokens,
    ) -> Result<Self, TokenizerError> {
        let model = match &vocabulary.algorithm {
            // A SentencePiece model has no place for user-defined pieces that our reader accepts.
            Algorithm::Scored { space_prefix: true } if !has_user_defined(vocabulary) => {
                let file = scored::model_file(vocabulary, special);
                SentencePiece::read(&file, SpacePrefix::EveryPiece)
                    .map(|model| Model::SentencePiece(Box::new(model)))
            }
            Algorithm::Scored { space_prefix } => {
                let file = scored::to_json(vocabulary, *space_prefix, special);
                file.and_then(|file| read(&file, vocabulary, special))
            }
            Algorithm::ByteLevel { pre_tokenizer, merges } => {
                let file = byte_level::to_json(vocabulary, pre_tokenizer, merges, special);
                file.and_then(|file| read(&file, vocabulary, special))
            }
        };
        let model = model.map_err(TokenizerError::Text)?;
        let special = match &model {
            Model::SentencePiece(model) => model.special_ids(),
            Model::HuggingFace(model) => model.special_ids().map_err(TokenizerError::Text)?,
        };
        Ok(Self::new(model, special))
    }
}

fn has_user_defined(vocabulary: &Vocabulary) -> bool {
    vocabulary.pieces.iter().any(|(.., kind)| *kind == PieceKind::UserDefined)
}

/// Builds a tokenizer of a `tokenizer.json`.
fn read(
    file: &serde_json::Value,
    vocabulary: &Vocabulary,
    special: &SpecialTokens,
) -> Result<Model, String> {
    let mut config = Config::new();
    let named = [
        ("bos_token", Some(special.bos)),
        ("eos_token", Some(special.eos)),
        ("unk_token", special.unknown),
        ("pad_token", special.padding),
    ];
    for (key, id) in named {
        let Some(id) = id else { continue };
        let piece = vocabulary.pieces.get(id as usize);
        let (text, ..) = piece.ok_or_else(|| format!("`{key}` {id} is not in the vocabulary"))?;
        config.insert(key.to_owned(), json!(text));
    }
    let model = HuggingFace::read(file.to_string().as_bytes(), config)?;
    Ok(Model::HuggingFace(Box::new(model)))
}

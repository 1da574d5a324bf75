//! Text → token ids, from Hugging Face's `tokenizer.json` and SentencePiece's `tokenizer.model`.
//!
//! Each segment is encoded separately, without beginning- or end-of-sequence; these are added when
//! a conversation is put together. Some tokenizers (SentencePiece) put a space before a text. They
//! do so only if the segment begins a text. A literal `</s>` in a text becomes ordinary tokens;
//! only [`Tokenizer::encode_with_special_tokens`] reads it as a special token.

mod add;
mod bytes;
mod cache;
mod config;
mod guard;
mod hugging_face;
mod merge;
mod proto;
mod sentencepiece;
mod train;
mod vocabulary;

use hugging_face::HuggingFace;
use sentencepiece::SentencePiece;
use std::path::{Path, PathBuf};
use uner_data::regular;
pub use vocabulary::{Algorithm, PieceKind, SpecialTokens, Vocabulary};

/// Errors of a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file is missing or cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file's content does not match its name.
    #[error("tokenizer `{path}`: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A text cannot be encoded, or ids cannot be decoded.
    #[error("tokenizer: {0}")]
    Text(String),
    /// The vocabulary is too small for the characters of the training texts.
    #[error(
        "vocab_size `{vocab_size}` is too small for 259 special and byte tokens and `{num_characters}` characters of the texts; raise it"
    )]
    VocabularyTooSmall {
        /// The requested size.
        vocab_size: usize,
        /// Number of distinct frequent characters.
        num_characters: usize,
    },
}

/// Whether text after a special token gets its own leading space mark. Applies to SentencePiece
/// models only (a `tokenizer.json` defines it itself). Hugging Face calls this `legacy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpacePrefix {
    /// Every piece of text gets one, as in transformers 4.28, which UniversalNER was
    /// trained with: `</s>USER` becomes `</s>`, `▁USER`. (`legacy: true`, the default.)
    EveryPiece,
    /// Only the start of the text gets one: `</s>USER` becomes `</s>`, `USER`. (`legacy: false`.)
    StartOnly,
}

/// Files that a tokenizer can be in, the first that exists.
const FILES: [&str; 2] = ["tokenizer.json", "tokenizer.model"];

/// The tokenizer file of a model folder, whether it exists or not.
pub fn tokenizer_in(folder: &Path) -> PathBuf {
    let mut files = FILES.iter().map(|file| folder.join(file));
    files.find(|file| file.exists()).unwrap_or_else(|| folder.join(FILES[0]))
}

/// A tokenizer with its special tokens.
#[derive(Debug)]
pub struct Tokenizer {
    model: Model,
    special: config::SpecialIds,
    /// Cached ids of segments that begin a text.
    segments: cache::SegmentCache,
    /// Cached ids of segments that continue a text.
    continuations: cache::SegmentCache,
}

#[derive(Debug)]
enum Model {
    HuggingFace(Box<HuggingFace>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// Reads a `tokenizer.json` or a SentencePiece `*.model` (BPE). Special tokens and `legacy`
    /// come from the `tokenizer_config.json` beside it, if it exists.
    ///
    /// # Errors
    /// The file is missing, has neither format, or has no beginning- or end-of-sequence token.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let bytes = regular::read(path)?;
        let config = config::read_beside(path)?;
        if path.extension().is_some_and(|extension| extension == "model") {
            let model = SentencePiece::read(&bytes, config::space_prefix(&config))
                .map_err(|reason| invalid(path, reason))?;
            let special = model.special_ids();
            return Ok(Self::new(Model::SentencePiece(Box::new(model)), special));
        }
        let model = HuggingFace::read(&bytes, config).map_err(|reason| invalid(path, reason))?;
        let special = model.special_ids().map_err(|reason| invalid(path, reason))?;
        Ok(Self::new(Model::HuggingFace(Box::new(model)), special))
    }

    fn new(model: Model, special: config::SpecialIds) -> Self {
        Self {
            model,
            special,
            segments: cache::SegmentCache::default(),
            continuations: cache::SegmentCache::default(),
        }
    }

    /// Returns the tokenizer with another rule for space marks after special tokens. Changes
    /// nothing for a `tokenizer.json`.
    #[must_use]
    pub fn with_space_prefix(mut self, space_prefix: SpacePrefix) -> Self {
        if let Model::SentencePiece(model) = &mut self.model {
            model.space_prefix = space_prefix;
        }
        self
    }

    /// Trains a LLaMA-like tokenizer: BPE over words with their leading space mark, and byte
    /// fallback. Ids 0, 1, 2 are `<unk>`, `<s>`, `</s>`; the 256 bytes follow. The order of the
    /// texts does not change the result.
    ///
    /// # Errors
    /// `vocab_size` is too small for the characters of the texts.
    pub fn train(
        texts: impl Iterator<Item = impl AsRef<str>>,
        vocab_size: usize,
    ) -> Result<Self, TokenizerError> {
        let model = train::train(texts, vocab_size)?;
        let special = model.special_ids().map_err(TokenizerError::Text)?;
        Ok(Self::new(Model::HuggingFace(Box::new(model)), special))
    }

    /// Ids of a text, without beginning- or end-of-sequence. Special tokens in it are plain text.
    ///
    /// # Errors
    /// A step of the tokenizer file fails on this text.
    pub fn encode_segment(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.segments.get_or(text, |text| match &self.model {
            Model::HuggingFace(model) => model.encode(text, false),
            Model::SentencePiece(model) => Ok(model.encode(text, false)),
        })
    }

    /// As [`Self::encode_segment`], for a text that continues another: no space is put before it.
    ///
    /// # Errors
    /// As [`Self::encode_segment`].
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.continuations.get_or(text, |text| match &self.model {
            Model::HuggingFace(model) => model.encode(text, true),
            Model::SentencePiece(model) => Ok(model.encode(text, true)),
        })
    }

    /// Ids of a text in which literal special tokens (`</s>`) are recognised, as in the released
    /// code of UniversalNER.
    ///
    /// # Errors
    /// As [`Self::encode_segment`].
    pub fn encode_with_special_tokens(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_special(text, false)
    }

    /// As [`Self::encode_with_special_tokens`], for a text that begins or `continues` another.
    pub(crate) fn encode_special(
        &self,
        text: &str,
        continues: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        match &self.model {
            Model::HuggingFace(model) => model.encode_with_special_tokens(text, continues),
            Model::SentencePiece(model) => Ok(model.encode_with_special_tokens(text, continues)),
        }
    }

    /// The text of ids, without special tokens and without the space mark at its start.
    ///
    /// # Errors
    /// An id is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocab_size()) {
            return Err(TokenizerError::Text(format!(
                "id `{id}` is outside the vocabulary of `{}`",
                self.vocab_size()
            )));
        }
        match &self.model {
            Model::HuggingFace(model) => model.decode(ids),
            Model::SentencePiece(model) => Ok(model.decode(ids)),
        }
    }

    /// The text of ids, including special tokens.
    ///
    /// # Errors
    /// An id is not in the vocabulary.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        match &self.model {
            Model::HuggingFace(model) => model.decode_with_special(ids),
            Model::SentencePiece(model) => Ok(model.decode_with_special(ids)),
        }
    }

    /// Start and length, in bytes, of the first special token in a text; the longest, if several
    /// start at the same index.
    pub(crate) fn find_special(&self, text: &str) -> Option<(usize, usize)> {
        match &self.model {
            Model::HuggingFace(model) => model.find_special(text),
            Model::SentencePiece(model) => {
                model.next_special(text).map(|(start, _, length)| (start, length))
            }
        }
    }

    /// Whether a token stands for one byte, such as `<0x0A>`: a text has it as a character only if
    /// its neighbours complete one.
    pub fn is_byte(&self, id: u32) -> bool {
        bytes::byte_of(&self.token(id)).is_some()
    }

    /// The text of a token; empty for an unknown id.
    pub(crate) fn token(&self, id: u32) -> String {
        match &self.model {
            Model::HuggingFace(model) => model.token(id),
            Model::SentencePiece(model) => model.token(id),
        }
    }

    /// Beginning-of-sequence id.
    pub fn bos(&self) -> u32 {
        self.special.bos
    }

    /// End-of-sequence id.
    pub fn eos(&self) -> u32 {
        self.special.eos
    }

    /// Padding id: the configured one, else `<unk>`, else end-of-sequence. Any id works, since
    /// padding carries no loss and is not attended to.
    pub fn pad(&self) -> u32 {
        self.special.pad
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        match &self.model {
            Model::HuggingFace(model) => model.vocab_size(),
            Model::SentencePiece(model) => model.vocab_size(),
        }
    }

    /// Writes `tokenizer.json` or `tokenizer.model`, and `tokenizer_config.json`, in the format of
    /// transformers.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        match &self.model {
            Model::HuggingFace(model) => model.save(dir),
            Model::SentencePiece(model) => model.save(dir),
        }
    }
}

fn invalid(path: &Path, reason: String) -> TokenizerError {
    TokenizerError::Invalid { path: path.to_owned(), reason }
}

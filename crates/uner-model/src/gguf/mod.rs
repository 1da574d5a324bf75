//! GGUF, the file format of llama.cpp: export of a model folder to a file, and import of a file.

mod config;
mod dequantize;
mod names;
mod read;
mod vocabulary;
mod write;

pub use read::Gguf;
pub use write::write;

/// Kind of a token in llama.cpp (`llama_token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenKind {
    /// Text.
    Normal = 1,
    /// Stands for text that the vocabulary lacks.
    Unknown = 2,
    /// A control token, such as the beginning of a sequence.
    Control = 3,
    /// Text that is matched before the rest is split.
    UserDefined = 4,
    /// A row of the embedding without a token.
    Unused = 5,
    /// One byte.
    Byte = 6,
}

impl TokenKind {
    /// The kind with a number of llama.cpp.
    fn of(number: i64) -> Option<Self> {
        let all = [
            Self::Normal,
            Self::Unknown,
            Self::Control,
            Self::UserDefined,
            Self::Unused,
            Self::Byte,
        ];
        all.into_iter().find(|kind| *kind as i64 == number)
    }
}

/// How a vocabulary makes tokens of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Algorithm {
    /// SentencePiece BPE (`llama`): of all neighbours that can be joined, the pair whose token has
    /// the highest score is joined first.
    Scored {
        /// Whether a space is put before a text.
        space_prefix: bool,
    },
    /// Byte-level BPE (`gpt2`): bytes are joined in the order of the merges.
    ByteLevel {
        /// llama.cpp's name of the rules that split a text into words, such as `llama-bpe`.
        pre_tokenizer: String,
        /// Two tokens, with a space between them.
        merges: Vec<String>,
    },
}

/// A vocabulary, in the order of its ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Text, score and kind of every token. Scores are 0 for byte-level BPE.
    pub tokens: Vec<(String, f32, TokenKind)>,
    /// How they are made of a text.
    pub algorithm: Algorithm,
    /// The token that begins a sequence.
    pub bos: Option<u32>,
    /// The token that ends a sequence.
    pub eos: Option<u32>,
    /// The token that ends a turn of a chat, if it is another one.
    pub end_of_turn: Option<u32>,
    /// The token that stands for text that the vocabulary lacks.
    pub unknown: Option<u32>,
    /// The padding token.
    pub padding: Option<u32>,
    /// Whether other programs put `bos` before a text.
    pub add_bos: bool,
    /// The template that renders messages (Jinja).
    pub chat_template: Option<String>,
}

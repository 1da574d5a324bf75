//! The text protocol in both directions: example → conversation → segments → tokens with their loss
//! mask, and answer → entities. Training and inference call the same functions, so they cannot
//! diverge.
//!
//! ```text
//! Example ── ner::conversation ──► Conversation ── render ──► [Segment]
//!                                                  encode ──► Tokens ── fit ──► Fitted
//! text, type ── ner::prompt ─────► Conversation ── render_prompt ────────── encode_prompt ──► ids
//! generated text ── ner::read ──────► entities
//! ```
//!
//! A [`Template`] is data (`configs/templates/*.toml`), not code. A [`Tokenizer`] is read from
//! `tokenizer.json` or SentencePiece's `tokenizer.model`, or trained from texts.

pub mod answer;
mod chat;
pub mod conversation;
pub mod encode;
pub mod error;
mod export;
pub mod fit;
pub mod jinja;
pub mod ner;
mod pattern;
pub mod render;
pub mod template;
pub mod tokenizer;

pub use answer::{
    Characters, ParsedAnswer, ParsedTypedAnswer, answer, parse_answer, parse_instructuie_answer,
    parse_typed_answer,
};
pub use conversation::{Conversation, IGNORE_INDEX, Message, Role, Segment, Tokens};
pub use encode::{decode, encode, encode_prompt};
pub use error::PromptError;
pub use fit::{Fitted, cut, fit, permute_queries};
pub use jinja::ChatTemplate;
pub use render::{render, render_prompt, render_string};
pub use template::Template;
pub use tokenizer::{
    PieceKind, ScoredVocabulary, SpacePrefix, Tokenizer, TokenizerError, tokenizer_in,
};

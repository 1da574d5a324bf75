//! The text protocol in both directions: example → conversation → segments → tokens with their loss
//! mask, and answer → entities. Training and inference call the same functions, so they cannot
//! diverge.
//!
//! ```text
//! Example ── mission::conversation ► Conversation ── render ──► [Segment]
//!                                                  encode ──► Tokens ── fit ──► Fitted
//! text, type ── mission::prompt ─► Conversation ── render_prompt ────────── encode_prompt ──► ids
//! generated text ── mission::read ───► entities
//! ```
//!
//! A [`Template`] is data (`configs/templates/*.toml`), not code. A [`Tokenizer`] is read from
//! `tokenizer.json` or SentencePiece's `tokenizer.model`, or trained from texts.
//!
//! ```
//! use uner_data::{Entity, Example, Span};
//! use uner_prompt::{Template, mission, render};
//!
//! let entity = Entity {
//!     text: "Tim Cook".to_owned(),
//!     entity_type: "person".to_owned(),
//!     span: Some(Span { start: 0, end: 8 }),
//! };
//! let example = Example::new("1".to_owned(), "Tim Cook runs Apple.".to_owned(), vec![entity]);
//! let template = Template::load("zero-shot")?;
//! let segments = render(&mission::conversation(&example, &template, None), &template)?;
//! let trained: Vec<&str> =
//!     segments.iter().filter(|segment| segment.trained).map(|segment| &*segment.text).collect();
//! assert_eq!(trained, [" [\"Tim Cook\"]"]);
//! # Ok::<(), uner_prompt::PromptError>(())
//! ```

pub mod answer;
mod chat;
pub mod conversation;
pub mod encode;
pub mod error;
mod export;
pub mod fit;
pub mod grounded;
pub mod jinja;
pub mod mission;
mod pattern;
pub mod render;
pub mod template;
pub mod tokenizer;
pub mod twice;

pub use answer::{
    Characters, ParsedAnswer, ParsedTypedAnswer, answer, parse_answer, parse_instructuie_answer,
    parse_typed_answer,
};
pub use conversation::{Conversation, IGNORE_INDEX, Message, Role, Segment, Tokens};
pub use encode::{decode, encode, encode_prompt};
pub use error::PromptError;
pub use fit::{Fitted, cut, drop_overlong, fit, permute_queries};
pub use grounded::{GroundedItem, Grounding, GroundingError, Pieces};
pub use jinja::ChatTemplate;
pub use render::{render, render_prompt, render_string};
pub use template::Template;
pub use tokenizer::{
    Algorithm, PieceKind, SpacePrefix, SpecialTokens, Tokenizer, TokenizerError, Vocabulary,
    tokenizer_in,
};
pub use twice::{TwiceEncoder, TwiceRead};

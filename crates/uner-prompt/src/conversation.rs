//! The stage types between an example and a batch.

use serde::{Deserialize, Serialize};

/// The label of a position that carries no loss.
pub const IGNORE_INDEX: i64 = -100;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The asking side (`human` in the official data).
    #[serde(rename = "human")]
    User,
    /// The model (`gpt` in the official data).
    #[serde(rename = "gpt")]
    Assistant,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    #[serde(rename = "from")]
    pub role: Role,
    /// What is said, without any template text.
    #[serde(rename = "value")]
    pub text: String,
}

impl Message {
    /// A turn of the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, text: text.into() }
    }

    /// A turn of the assistant.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { role: Role::Assistant, text: text.into() }
    }
}

/// A chat before templating: user and assistant alternate, the user starts. The first exchange is
/// the passage and its acknowledgement; every further exchange is one query and its answer. (The
/// `instructuie` form has no acknowledgement: its only exchange is the query.)
///
/// Serialises as the official training data:
/// `{"conversations": [{"from": "human", "value": "…"}, …]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns, in order.
    #[serde(rename = "conversations")]
    pub messages: Vec<Message>,
}

/// A rendered piece of text that is tokenised on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Template and message text.
    pub text: String,
    /// Whether its tokens carry loss.
    pub trained: bool,
    /// Whether the end-of-sequence token follows (it carries loss as the text does). True for
    /// exactly the assistant's turns, so it also ends an exchange.
    pub end_of_turn: bool,
}

/// The segments as one text, `⏎` for each end of turn.
pub fn text(segments: &[Segment]) -> String {
    let end = |segment: &Segment| if segment.end_of_turn { "⏎" } else { "" };
    segments.iter().flat_map(|segment| [segment.text.as_str(), end(segment)]).collect()
}

/// Token ids and their loss mask, built together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Token ids, beginning-of-sequence first.
    pub ids: Vec<u32>,
    /// `true` where the token is trained on; as long as `ids`.
    pub loss_mask: Vec<bool>,
    /// End (exclusive index into `ids`) of each exchange: the passage with its acknowledgement,
    /// then one per query. Strictly increasing; the last entry is `ids.len()`. ([`crate::cut`] may
    /// drop the borders behind its cut, but keeps this.)
    pub exchanges: Vec<usize>,
}

impl Tokens {
    /// The labels of the official data: the id itself where it is trained on, [`IGNORE_INDEX`]
    /// elsewhere; aligned with `ids` (the shift by one belongs to the loss).
    pub fn labels(&self) -> Vec<i64> {
        self.ids
            .iter()
            .zip(&self.loss_mask)
            .map(|(id, trained)| if *trained { i64::from(*id) } else { IGNORE_INDEX })
            .collect()
    }

    /// Number of tokens that carry loss.
    pub fn num_trained(&self) -> usize {
        self.loss_mask.iter().filter(|trained| **trained).count()
    }
}

//! The data types between an example and a batch.

use serde::{Deserialize, Serialize};

/// The label of a position without loss.
pub const IGNORE_INDEX: i64 = -100;

/// The side that speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The side that asks (`human` in the official data).
    #[serde(rename = "human")]
    User,
    /// The model (`gpt` in the official data).
    #[serde(rename = "gpt")]
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The side that speaks.
    #[serde(rename = "from")]
    pub role: Role,
    /// The text of the turn, without template text.
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

/// A chat before templating. User and assistant alternate, and the user starts. The first exchange
/// is the passage and its acknowledgement; every further exchange is one query and its answer. (The
/// `instructuie` form has no acknowledgement: its only exchange is the query.)
///
/// Serialises as the official training data does:
/// `{"conversations": [{"from": "human", "value": "…"}, …]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns, in order.
    #[serde(rename = "conversations")]
    pub messages: Vec<Message>,
}

/// A rendered piece of text that is tokenised separately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Template and message text.
    pub text: String,
    /// Whether the segment's tokens carry loss.
    pub trained: bool,
    /// Whether the end-of-sequence token follows. It carries loss if the text does. True for the
    /// assistant's turns only, so it also ends an exchange.
    pub end_of_turn: bool,
}

/// The segments as one text, with `⏎` for each end of turn.
pub fn text(segments: &[Segment]) -> String {
    let end = |segment: &Segment| if segment.end_of_turn { "⏎" } else { "" };
    segments.iter().flat_map(|segment| [segment.text.as_str(), end(segment)]).collect()
}

/// Token ids with their loss mask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Token ids. The first is beginning-of-sequence, unless a chat template writes none.
    pub ids: Vec<u32>,
    /// `true` where the token is trained on; the same length as `ids`.
    pub loss_mask: Vec<bool>,
    /// End (exclusive index into `ids`) of each exchange: the passage with its acknowledgement,
    /// then one per query. Strictly increasing; the last entry is `ids.len()`. (Also true after
    /// [`crate::cut`], which may drop the ends after its cut.)
    pub exchanges: Vec<usize>,
}

impl Tokens {
    /// The labels of the official data, aligned with `ids`: the id where it is trained on,
    /// [`IGNORE_INDEX`] elsewhere. (The loss shifts them by one.)
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

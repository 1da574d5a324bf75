//! The stage types between an example and a batch.

use serde::{Deserialize, Serialize};

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

/// A chat before templating: user and assistant alternate, the user starts. The first exchange is the passage and
/// its acknowledgement; every further exchange is one query and its answer.
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
}

/// Token ids and their loss mask, built together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Token ids.
    pub ids: Vec<u32>,
    /// `true` where the token is trained on; as long as `ids`.
    pub loss_mask: Vec<bool>,
    /// End (exclusive index into `ids`) of each exchange: the passage with its acknowledgement, then one per
    /// query. The last entry is `ids.len()`.
    pub exchanges: Vec<usize>,
}

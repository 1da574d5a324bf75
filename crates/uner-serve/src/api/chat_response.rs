//! The next turn of a chat, in the protocol of OpenAI.

use serde::Serialize;
use uner_infer::Completion;
use utoipa::ToSchema;

/// The next turn of a chat.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatResponse<'a> {
    id: &'a str,
    /// Always `chat.completion`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The name of the model.
    model: &'a str,
    /// One choice.
    choices: [Choice<'a>; 1],
    usage: Usage,
}

#[derive(Debug, Serialize, ToSchema)]
struct Choice<'a> {
    index: usize,
    message: Turn<'a>,
    /// `stop`, or `length` if the text is cut off.
    finish_reason: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Turn<'a> {
    role: &'static str,
    content: &'a str,
}

/// Numbers of tokens.
#[expect(clippy::struct_field_names, reason = "the names of the protocol")]
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

/// A piece of a turn, an event of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChunk<'a> {
    id: &'a str,
    /// Always `chat.completion.chunk`.
    object: &'static str,
    created: u64,
    model: &'a str,
    /// One choice; none in the event with the numbers of tokens.
    choices: Vec<ChunkChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkChoice<'a> {
    index: usize,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
}

/// The role or text that a piece adds.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<&'a str>,
}

/// Fields that the response and every event of a stream have.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

impl Head {
    /// The response with a turn.
    pub(super) fn response<'a>(&'a self, completion: &'a Completion) -> ChatResponse<'a> {
        let message = Turn { role: "assistant", content: &completion.text };
        let choice = Choice { index: 0, message, finish_reason: finish_reason(completion) };
        ChatResponse {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: [choice],
            usage: Usage::of(completion),
        }
    }

    /// The event with a piece of a turn; the last one says how it ended.
    pub(super) fn chunk<'a>(
        &'a self,
        delta: Delta<'a>,
        finish_reason: Option<&'static str>,
    ) -> ChatChunk<'a> {
        self.event(vec![ChunkChoice { index: 0, delta, finish_reason }], None)
    }

    /// The event with the numbers of tokens.
    pub(super) fn usage(&self, completion: &Completion) -> ChatChunk<'_> {
        self.event(Vec::new(), Some(Usage::of(completion)))
    }

    fn event<'a>(&'a self, choices: Vec<ChunkChoice<'a>>, usage: Option<Usage>) -> ChatChunk<'a> {
        ChatChunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        }
    }
}

impl Usage {
    fn of(completion: &Completion) -> Self {
        let Completion { prompt_tokens, tokens, .. } = *completion;
        Self { prompt_tokens, completion_tokens: tokens, total_tokens: prompt_tokens + tokens }
    }
}

pub(super) fn finish_reason(completion: &Completion) -> &'static str {
    if completion.ended { "stop" } else { "length" }
}

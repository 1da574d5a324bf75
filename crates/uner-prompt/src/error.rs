//! Errors of conversations and templates.

/// A conversation that cannot be rendered, a template that cannot be read, or a passage that does
/// not fit.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The conversation has no messages.
    #[error("the conversation has no messages")]
    Empty,
    /// The first turn is the model's.
    #[error(
        "the conversation starts with the assistant (`gpt`); the first turn must be the user's (`human`)"
    )]
    StartsWithAssistant,
    /// A question has no answer.
    #[error(
        "the conversation has `{0}` turns; every user turn needs an answer, so the number must be even"
    )]
    OddTurns(usize),
    /// Two consecutive turns are of the same side.
    #[error(
        "turn `{turn}` of the conversation is the {role}'s, like the one before it; user and assistant must alternate"
    )]
    NotAlternating {
        /// The second of the two turns, counted from 1.
        turn: usize,
        /// The side of both turns.
        role: &'static str,
    },
    /// The conversation has no user turn.
    #[error("the conversation has no user turn to answer")]
    NothingToAsk,
    /// The passage leaves no room for any query.
    #[error(
        "the passage and its first query need `{needed}` tokens (the passage alone `{passage}`), more than max_seq_len `{max_seq_len}`; \
         shorten the passage or raise train.max_seq_len"
    )]
    TooLong {
        /// Tokens of the passage exchange with the first query.
        needed: usize,
        /// Tokens of the passage exchange.
        passage: usize,
        /// The limit.
        max_seq_len: usize,
    },
    /// The template does not exist.
    #[error("unknown template `{name}`{hint}; known: {known}; or give the path of a TOML file")]
    UnknownTemplate {
        /// The requested name.
        name: String,
        /// `; did you mean `x`?`, or nothing.
        hint: String,
        /// The names of the built-in templates.
        known: String,
    },
    /// A template's TOML does not parse, has unknown keys, or lacks required ones.
    #[error("template `{path}`: {reason}")]
    Template {
        /// File or built-in name.
        path: String,
        /// The parser's message.
        reason: String,
    },
    /// A model has no chat template, or its chat template cannot be used for training.
    #[error("{0}")]
    Chat(String),
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] crate::tokenizer::TokenizerError),
}

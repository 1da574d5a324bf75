//! What can be wrong with a conversation or a template.

/// A conversation that cannot be rendered, a template that cannot be read, or a passage that does
/// not fit.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// No messages at all.
    #[error("the conversation has no messages")]
    Empty,
    /// The first turn is the model's.
    #[error(
        "the conversation starts with the assistant (`gpt`); the first turn must be the user's (`human`)"
    )]
    StartsWithAssistant,
    /// A question without an answer.
    #[error(
        "the conversation has `{0}` turns; every user turn needs an answer, so the number must be even"
    )]
    OddTurns(usize),
    /// Two turns of the same side follow each other.
    #[error(
        "turn `{turn}` of the conversation is the {role}'s, like the one before it; user and assistant must alternate"
    )]
    NotAlternating {
        /// Index of the offending turn, from 1.
        turn: usize,
        /// Who speaks twice.
        role: &'static str,
    },
    /// There is nothing to ask: no user turn.
    #[error("the conversation has no user turn to ask")]
    NothingToAsk,
    /// The passage leaves no room for a single query.
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
    /// No such template.
    #[error("unknown template `{name}`{hint}; known: {known}; or give the path of a TOML file")]
    UnknownTemplate {
        /// What was asked for.
        name: String,
        /// `; did you mean `x`?`, or nothing.
        hint: String,
        /// Names built in.
        known: String,
    },
    /// A template's TOML does not parse, has unknown keys, or lacks some.
    #[error("template `{path}`: {reason}")]
    Template {
        /// File or built-in name.
        path: String,
        /// The parser's message.
        reason: String,
    },
    /// A model has no chat template, or conversations cannot be trained by it.
    #[error("{0}")]
    Chat(String),
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] crate::tokenizer::TokenizerError),
}

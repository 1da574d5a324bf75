//! Errors that end a run, and failures of single requests, which do not.

use std::path::PathBuf;

/// A run that cannot start, or that was ended.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A key of the description has an unusable value.
    #[error("`{key}` of the endpoint is `{value}`: {problem}")]
    Config {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The environment variable with the key is not set, or has no key. The value is never shown.
    #[error("the key of the endpoint: the environment variable `{variable}` {problem}")]
    Key {
        /// The variable.
        variable: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// Another process writes the journal.
    #[error(
        "`{}` is in use by another run; wait until it ends, or choose another journal",
        .0.display()
    )]
    JournalInUse(PathBuf),
    /// A line of the journal was not written by this crate.
    #[error(
        "{}:{line}: this is not a line of a journal of answers; choose another file, or remove the line",
        .file.display()
    )]
    NotAJournal {
        /// The journal.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The journal cannot be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The endpoint refused a request for a reason that all requests share.
    #[error(
        "`{url}` refused model `{model}` with status `{status}`: {message}; check `url`, `model` and the key in `api_key_env`"
    )]
    Denied {
        /// The base of the API.
        url: String,
        /// The model.
        model: String,
        /// The HTTP status.
        status: u16,
        /// The endpoint's message.
        message: String,
    },
    /// Too many requests failed in succession.
    #[error(
        "`{failures}` requests to `{url}` failed in succession, the last one so: {last}; answers so far are in the journal, so run the same again when the endpoint works"
    )]
    Unreachable {
        /// The base of the API.
        url: String,
        /// The number of failures.
        failures: usize,
        /// The last failure.
        last: Failure,
    },
}

/// A request without an answer. Other requests go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (attempts: `{attempts}`)")]
pub struct Failure {
    /// The problem of the last attempt.
    pub problem: Problem,
    /// The number of attempts.
    pub attempts: u32,
}

/// The problem of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The prompt, with the answer, is longer than the model's context. Not tried again.
    #[error(
        "the prompt does not fit the model: {0}; shorten the passage, or use a model with a longer context"
    )]
    ContextLength(String),
    /// The endpoint refused the request. Not tried again.
    #[error("the endpoint refused the request with status `{status}`: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The endpoint's message.
        message: String,
    },
    /// The endpoint is overloaded, limits its users, or failed.
    #[error("the endpoint returned status `{status}`: {message}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// The endpoint's message.
        message: String,
    },
    /// A response that is not a chat completion.
    #[error(
        "the response is not a chat completion: {0}; check that `url` is the base of an OpenAI-compatible API"
    )]
    Malformed(String),
    /// No connection, or one that ended before the response did.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// The time for an attempt passed.
    #[error("no answer within `{0}` s; raise `timeout_seconds`, or lower `concurrency`")]
    Timeout(u64),
}

//! What may follow a prompt.

use std::sync::Arc;

/// The tokens that may come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Any token.
    Any,
    /// One of these, ascending; at least one.
    OneOf(Arc<[u32]>),
    /// None: the answer has ended.
    Nothing,
}

/// Says which tokens may follow a prompt and the tokens after it.
pub trait Decoder: Send {
    /// The tokens that may come next.
    fn next(&mut self) -> Next;
    /// Appends a token, one of those that [`next`](Self::next) allows. Returns whether it belongs
    /// to the answer; a token that only ends it does not.
    fn push(&mut self, token: u32) -> bool;
    /// Whether the answer would be complete and empty, in the decoder's sense, after this token.
    fn makes_empty(&self, token: u32) -> bool;
}

/// Allows every token until one ends the answer.
#[derive(Debug)]
pub struct FreeDecoder<F> {
    /// Whether a token ends the answer.
    ends: F,
    ended: bool,
}

impl<F: Fn(u32) -> bool> FreeDecoder<F> {
    /// A decoder whose answer ends before a token for which `ends` is true.
    pub fn new(ends: F) -> Self {
        Self { ends, ended: false }
    }
}

impl<F: Fn(u32) -> bool + Send> Decoder for FreeDecoder<F> {
    fn next(&mut self) -> Next {
        if self.ended { Next::Nothing } else { Next::Any }
    }

    fn push(&mut self, token: u32) -> bool {
        self.ended = (self.ends)(token);
        !self.ended
    }

    fn makes_empty(&self, _token: u32) -> bool {
        false
    }
}

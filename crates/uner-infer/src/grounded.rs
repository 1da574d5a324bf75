//! Decoding that only names substrings of the passage.

use std::sync::Arc;

use uner_prompt::grounded::{Grounding, State};

use crate::engine::{Decoder, Next};

/// Allows the tokens of a [`Grounding`].
pub(crate) struct GroundedDecoder {
    grounding: Arc<Grounding>,
    tokens: Vec<u32>,
    state: State,
    /// The token that ends an answer which could go on.
    end: u32,
    is_ended: bool,
}

impl GroundedDecoder {
    pub(crate) fn new(grounding: Arc<Grounding>, end: u32) -> Self {
        Self { tokens: Vec::new(), state: grounding.start(), grounding, end, is_ended: false }
    }
}

impl Decoder for GroundedDecoder {
    fn next(&mut self) -> Next {
        if self.is_ended {
            return Next::Nothing;
        }
        let allowed = self.grounding.allowed(&self.state);
        if !self.grounding.is_complete(&self.state) {
            return Next::OneOf(allowed);
        }
        if allowed.is_empty() {
            return Next::Nothing;
        }
        let mut allowed = allowed.to_vec();
        allowed.push(self.end);
        allowed.sort_unstable();
        Next::OneOf(allowed.into())
    }

    fn push(&mut self, token: u32) -> bool {
        if token == self.end {
            self.is_ended = true;
            return false;
        }
        self.tokens.push(token);
        self.state = self.grounding.advance(&self.state, token).expect("one of the allowed tokens");
        true
    }

    fn makes_empty(&self, token: u32) -> bool {
        let mut tokens = self.tokens.clone();
        let is_complete = if token == self.end {
            true
        } else {
            tokens.push(token);
            let next = self.grounding.advance(&self.state, token);
            next.is_some_and(|state| self.grounding.is_complete(&state))
        };
        is_complete && self.grounding.items(&tokens, true).is_empty()
    }
}

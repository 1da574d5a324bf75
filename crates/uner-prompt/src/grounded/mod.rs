//! Grounded decoding: while a model generates an answer, only tokens are allowed that keep the
//! answer in the template's format and every mention a non-empty substring of the passage.
//!
//! The format is a small automaton over bytes (`layout`); a mention in progress is a range
//! of the passage's sorted suffixes (a suffix array, Manber and Myers 1993), all of which begin
//! with the bytes of the mention so far. Both are crossed with the vocabulary, a prefix tree of
//! the bytes of its tokens ([`Pieces`]), so a token may hold any part of the format and of a
//! mention, or a part of a character.
//!
//! Every allowed token leads to a state from which tokens of the vocabulary complete the answer. An
//! answer that is a list of substrings is never refused (repetitions and any order are allowed), so
//! constrained decoding changes an answer only where it is not such a list.
//!
//! ```text
//! Tokenizer ── Pieces::new ──► Pieces ┐
//! passage, types, Template ───────────┴─ Grounding::new ──► Grounding
//! Grounding::start ──► State ── allowed ──► token ids
//!                        └───── advance(token) ──► State …     mentions ──► text, type, tokens
//! ```

mod error;
mod items;
mod layout;
mod passage;
mod pieces;
#[cfg(test)]
mod tests;
mod walk;

use crate::mission;
use crate::template::{AskForm, Template};
pub use error::GroundingError;
pub use items::GroundedItem;
use layout::{Layout, START};
use passage::{Match, Passage};
pub use pieces::Pieces;
use std::sync::{Arc, OnceLock};

/// The answers to one prompt that name only substrings of its passage.
///
/// With [`AskForm::PerType`] it does not depend on the type: use one for all types of a passage.
#[derive(Debug)]
pub struct Grounding {
    form: AskForm,
    /// Mentions of an item.
    arity: usize,
    types: Vec<String>,
    layout: Layout,
    passage: Passage,
    pieces: Arc<Pieces>,
    /// For each node of the layout, whether tokens can complete the answer from there.
    is_live: Vec<bool>,
    /// For each node of the layout, the allowed tokens, computed at first use.
    allowed: Vec<OnceLock<Arc<[u32]>>>,
}

/// A point in an answer: all the ways to read the answer so far. Equal states allow the same
/// continuations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State(Vec<Position>);

/// One way to read the answer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Position {
    /// At a node of the layout.
    Layout(u32),
    /// Inside a mention that leads to a node of the layout.
    Mention(Match, u32),
}

impl Grounding {
    /// The answers to a prompt for `types` about `passage`, in the form of `template`, as tokens of
    /// `pieces`. Characters of the passage that the vocabulary cannot write are in no mention.
    ///
    /// # Errors
    /// The vocabulary cannot write the form, or the form is [`AskForm::InstructUie`] and a type
    /// makes its answers ambiguous.
    pub fn new(
        passage: &str,
        types: &[&str],
        template: &Template,
        pieces: Arc<Pieces>,
    ) -> Result<Self, GroundingError> {
        let form = template.form;
        let layout = Layout::new(template, types);
        let is_live = layout.live(&pieces, true);
        if !layout.goes_on(&is_live) {
            return Err(GroundingError::unwritable(form, types, &pieces));
        }
        let passage = if form == AskForm::InstructUie {
            error::check_types(types)?;
            Passage::instructuie(passage, types, &pieces)
        } else {
            Passage::json(passage, template.answer_characters, &pieces)
        };
        let is_live = if passage.is_empty() { layout.live(&pieces, false) } else { is_live };
        let allowed = is_live.iter().map(|_| OnceLock::new()).collect();
        let types = types.iter().map(ToString::to_string).collect();
        let arity = mission::of(template).arity();
        Ok(Self { form, arity, types, layout, passage, pieces, is_live, allowed })
    }

    /// The state before the first token. The answer may begin with one blank, since many tokenizers
    /// join the blank after the assistant's name with the answer's first character.
    pub fn start(&self) -> State {
        State(vec![Position::Layout(START)])
    }

    /// The ids of the tokens that continue the answer, ascending. Empty if the answer can only end.
    /// The set of a state outside a mention, such as the large one where a mention begins, is
    /// computed once.
    pub fn allowed(&self, state: &State) -> Arc<[u32]> {
        match state.0[..] {
            [Position::Layout(node)] => {
                Arc::clone(self.allowed[node as usize].get_or_init(|| self.walk(state)))
            }
            _ => self.walk(state),
        }
    }

    /// The state after one more token; `None` if the token is not allowed.
    pub fn advance(&self, state: &State, token: u32) -> Option<State> {
        let bytes = self.pieces.bytes(token);
        if bytes.is_empty() {
            return None;
        }
        let mut positions = state.0.clone();
        for byte in bytes {
            positions = self.step(&positions, *byte);
        }
        positions.retain(|position| self.is_live(*position));
        (!positions.is_empty()).then_some(State(positions))
    }

    /// Whether the answer may end here. In the JSON forms, it then has to.
    pub fn is_complete(&self, state: &State) -> bool {
        state.0.iter().any(|position| match position {
            Position::Layout(node) => *node == layout::END,
            Position::Mention(mention, _) => {
                self.form == AskForm::InstructUie && self.passage.may_end(*mention)
            }
        })
    }

    /// The tokens that follow without a choice, as many as there are (exactly one is allowed, and
    /// the answer may not end), and the state after them.
    pub fn forced(&self, state: &State) -> (Vec<u32>, State) {
        let (mut tokens, mut state) = (Vec::new(), state.clone());
        while !self.is_complete(&state)
            && let [token] = self.allowed(&state)[..]
            && let Some(next) = self.advance(&state, token)
        {
            tokens.push(token);
            state = next;
        }
        (tokens, state)
    }
}

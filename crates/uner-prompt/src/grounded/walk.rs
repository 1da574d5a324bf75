//! The automaton: the answers of a prompt, byte by byte and token by token.

use super::passage::Match;
use super::pieces::Pieces;
use super::{Grounding, Position, State};
use std::sync::Arc;

impl Grounding {
    /// The tokens that lead from any position of a state to a live one, ascending.
    pub(super) fn walk(&self, state: &State) -> Arc<[u32]> {
        let mut tokens = Vec::new();
        for position in &state.0 {
            self.visit(Pieces::ROOT, *position, &mut tokens);
        }
        tokens.sort_unstable();
        tokens.dedup();
        tokens.into()
    }

    /// Collects the tokens below a node of the vocabulary that continue a position.
    fn visit(&self, piece: usize, position: Position, tokens: &mut Vec<u32>) {
        match position {
            Position::Layout(node) => match self.layout.after_mention(node) {
                Some(after) => self.visit_mention(piece, (self.passage.anywhere(), after), tokens),
                None => self.visit_layout(piece, node, tokens),
            },
            Position::Mention(mention, after) => {
                self.visit_mention(piece, (mention, after), tokens);
                if self.passage.is_boundary(mention) {
                    self.visit_layout(piece, after, tokens);
                }
            }
        }
    }

    fn visit_layout(&self, piece: usize, node: u32, tokens: &mut Vec<u32>) {
        for (byte, next) in self.layout.edges(node) {
            if let Some(child) = self.pieces.child(piece, *byte) {
                self.enter(child, Position::Layout(*next), tokens);
            }
        }
    }

    fn visit_mention(&self, piece: usize, (mention, after): (Match, u32), tokens: &mut Vec<u32>) {
        for (byte, next) in self.passage.extensions(mention) {
            if let Some(child) = self.pieces.child(piece, byte) {
                self.enter(child, Position::Mention(next, after), tokens);
            }
        }
    }

    fn enter(&self, piece: usize, position: Position, tokens: &mut Vec<u32>) {
        let here = self.pieces.tokens(piece);
        if !here.is_empty() && self.is_live(position) {
            tokens.extend_from_slice(here);
        }
        self.visit(piece, position, tokens);
    }

    /// Whether tokens can complete the answer from here.
    pub(super) fn is_live(&self, position: Position) -> bool {
        match position {
            Position::Layout(node) => self.is_live[node as usize],
            Position::Mention(mention, _) => self.passage.is_live(mention),
        }
    }

    /// The positions after one more byte, sorted.
    pub(super) fn step(&self, positions: &[Position], byte: u8) -> Vec<Position> {
        let mut next = Vec::with_capacity(positions.len());
        for position in positions {
            let (mention, node) = match *position {
                Position::Layout(node) => match self.layout.after_mention(node) {
                    Some(after) => (Some((self.passage.anywhere(), after)), None),
                    None => (None, Some(node)),
                },
                Position::Mention(mention, after) => {
                    (Some((mention, after)), self.passage.is_boundary(mention).then_some(after))
                }
            };
            let mention = mention.and_then(|(mention, after)| {
                Some(Position::Mention(self.passage.extend(mention, byte)?, after))
            });
            let node = node.and_then(|node| self.layout.next(node, byte));
            next.extend(mention);
            next.extend(node.map(Position::Layout));
        }
        next.sort_unstable();
        next.dedup();
        next
    }
}

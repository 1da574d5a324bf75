//! Everything of an answer but its mentions, as an automaton over bytes.

use super::pieces::Pieces;
use crate::answer::{Characters, json_string};
use crate::template::AskForm;

/// A mention begins here.
pub(super) const BEGIN: u32 = 0;
/// A mention may end here; the edge is the byte that ends it.
pub(super) const AFTER_MENTION: u32 = 1;
/// The answer is complete.
pub(super) const END: u32 = 2;
/// Nothing has been written.
pub(super) const START: u32 = 3;

/// The layout of a form, with its types: for each node, its edges (byte, node).
#[derive(Debug)]
pub(super) struct Layout {
    edges: Vec<Vec<(u8, u32)>>,
}

impl Layout {
    pub(super) fn new(form: AskForm, types: &[&str], characters: Characters) -> Self {
        let mut layout = Self { edges: vec![Vec::new(); START as usize + 1] };
        match form {
            AskForm::PerType => layout.add_list("\"", "\""),
            AskForm::AllInOne => {
                let [before_type, after_type] = [layout.add_node(), layout.add_node()];
                layout.add(AFTER_MENTION, "\", ", before_type);
                for entity_type in types {
                    layout.add(before_type, &json_string(entity_type, characters), after_type);
                }
                let listed = layout.add_brackets("[\"");
                layout.add(after_type, "]", listed);
            }
            AskForm::InstructUie => layout.add_pairs(types),
        }
        layout
    }

    /// The edges of a node.
    pub(super) fn edges(&self, node: u32) -> &[(u8, u32)] {
        &self.edges[node as usize]
    }

    /// The node that a byte leads to.
    pub(super) fn next(&self, node: u32, byte: u8) -> Option<u32> {
        self.edges(node).iter().find(|(label, _)| *label == byte).map(|(_, next)| *next)
    }

    /// For each node, whether tokens can complete the answer from there, if `has_mentions` says
    /// that the passage has text to name. Only tokens that hold no part of a mention are
    /// considered: they suffice if the vocabulary has the single characters of its tokens, as that
    /// of byte pair encoding has.
    pub(super) fn live(&self, pieces: &Pieces, has_mentions: bool) -> Vec<bool> {
        let mut live = vec![false; self.edges.len()];
        live[END as usize] = true;
        live[BEGIN as usize] = has_mentions;
        loop {
            let before = live.clone();
            // Later nodes mostly follow earlier ones, so few rounds are needed.
            for node in (0..self.edges.len()).rev() {
                live[node] |= self.reaches_live(node as u32, Pieces::ROOT, pieces, &live);
            }
            if live == before {
                return live;
            }
        }
    }

    /// Whether a token, of which the way to `piece` is already read, ends at a live node.
    fn reaches_live(&self, node: u32, piece: usize, pieces: &Pieces, live: &[bool]) -> bool {
        self.edges(node).iter().any(|(byte, next)| {
            pieces.child(piece, *byte).is_some_and(|child| {
                live[*next as usize] && !pieces.tokens(child).is_empty()
                    || self.reaches_live(*next, child, pieces, live)
            })
        })
    }

    /// `[]`, or a list of items with text before and after the mention.
    fn add_list(&mut self, before: &str, after: &str) {
        let listed = self.add_brackets(before);
        self.add(AFTER_MENTION, after, listed);
    }

    /// The brackets and commas of a list. Returns the node after an item.
    fn add_brackets(&mut self, before_mention: &str) -> u32 {
        let [opened, listed] = [self.add_node(), self.add_node()];
        self.add(START, "[", opened);
        self.add(START, " [", opened);
        self.add(opened, "]", END);
        self.add(opened, before_mention, BEGIN);
        self.add(listed, "]", END);
        self.add(listed, &format!(", {before_mention}"), BEGIN);
        listed
    }

    /// `None`, or `type: mention; type: mention`.
    fn add_pairs(&mut self, types: &[&str]) {
        let [first, next] = [self.add_node(), self.add_node()];
        self.add(START, " ", first);
        // Before the types, of which one may begin with it.
        self.add(START, "None", END);
        self.add(first, "None", END);
        self.add(AFTER_MENTION, "; ", next);
        for entity_type in types {
            for from in [START, first, next] {
                self.add(from, &format!("{entity_type}: "), BEGIN);
            }
        }
    }

    fn add_node(&mut self) -> u32 {
        self.edges.push(Vec::new());
        self.edges.len() as u32 - 1
    }

    /// Adds a text between two nodes; shares the nodes of texts that begin alike.
    fn add(&mut self, from: u32, text: &str, to: u32) {
        let mut node = from;
        let last = text.len() - 1;
        for (index, byte) in text.bytes().enumerate() {
            node = self.next(node, byte).unwrap_or_else(|| {
                let next = if index == last { to } else { self.add_node() };
                self.edges[node as usize].push((byte, next));
                next
            });
        }
    }
}

//! Everything of an answer but its mentions, as an automaton over bytes.

use super::pieces::Pieces;
use crate::answer::json_string;
use crate::mission;
use crate::template::{AskForm, Template};

/// The first mention of an item begins here.
const BEGIN: u32 = 0;
/// It may end here; the edge is the byte that ends it.
pub(super) const AFTER_MENTION: u32 = 1;
/// The answer is complete.
pub(super) const END: u32 = 2;
/// Nothing has been written.
pub(super) const START: u32 = 3;

/// The layout of a form, with its types: for each node, its edges (byte, node).
#[derive(Debug)]
pub(super) struct Layout {
    edges: Vec<Vec<(u8, u32)>>,
    /// Nodes where a mention begins, with the nodes after the mention.
    mentions: Vec<(u32, u32)>,
}

impl Layout {
    pub(super) fn new(template: &Template, types: &[&str]) -> Self {
        let characters = template.answer_characters;
        let edges = vec![Vec::new(); START as usize + 1];
        let mut layout = Self { edges, mentions: vec![(BEGIN, AFTER_MENTION)] };
        match template.form {
            AskForm::PerType => layout.add_items(mission::of(template).arity()),
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

    /// The node after a mention that begins at a node; `None` if none begins there.
    pub(super) fn after_mention(&self, node: u32) -> Option<u32> {
        self.mentions.iter().find(|(begin, _)| *begin == node).map(|(_, after)| *after)
    }

    /// Whether all texts between mentions are live.
    pub(super) fn goes_on(&self, live: &[bool]) -> bool {
        live[START as usize] && self.mentions.iter().all(|(_, after)| live[*after as usize])
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
        for (begin, _) in &self.mentions {
            live[*begin as usize] = has_mentions;
        }
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

    /// A list of strings, or of lists of `arity` strings each.
    fn add_items(&mut self, arity: usize) {
        let [before, after] = if arity == 1 { ["\"", "\""] } else { ["[\"", "\"]"] };
        let listed = self.add_brackets(before);
        let mut last = AFTER_MENTION;
        for _ in 1..arity {
            let [begin, next] = [self.add_node(), self.add_node()];
            self.add(last, "\", \"", begin);
            self.mentions.push((begin, next));
            last = next;
        }
        self.add(last, after, listed);
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

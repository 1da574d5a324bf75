//! The vocabulary as a prefix tree of bytes.

use crate::tokenizer::Tokenizer;
use std::collections::VecDeque;
use std::ops::Range;

/// The bytes that each token adds to a text, as a prefix tree. Build it once per tokenizer.
///
/// Control tokens and the unknown token add nothing and are never part of an answer.
#[derive(Debug)]
pub struct Pieces {
    /// By token id.
    bytes: Vec<Vec<u8>>,
    /// In breadth-first order, so that the children of a node are adjacent, in the order of their
    /// bytes. The root is the first.
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    labels: Vec<u8>,
    /// The tokens in the order of their bytes.
    tokens: Vec<u32>,
}

/// A node of the tree: the bytes on the way to it are a prefix of tokens.
#[derive(Debug, Default, Clone)]
struct Node {
    /// Indices into `nodes`.
    children: Range<u32>,
    /// Indices into `tokens`, of those that end here.
    tokens: Range<u32>,
}

impl Pieces {
    /// The root of the tree.
    pub(super) const ROOT: usize = 0;

    /// The prefix tree of a tokenizer's vocabulary.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self::from_bytes(tokenizer.added_bytes())
    }

    fn from_bytes(bytes: Vec<Vec<u8>>) -> Self {
        let mut tokens: Vec<u32> =
            (0..bytes.len() as u32).filter(|id| !bytes[*id as usize].is_empty()).collect();
        tokens.sort_by(|a, b| bytes[*a as usize].cmp(&bytes[*b as usize]));
        let (mut nodes, mut labels) = (vec![Node::default()], vec![0]);
        // Nodes without children yet, with the tokens that begin with their bytes.
        let mut open = VecDeque::from([(Self::ROOT, 0..tokens.len(), 0)]);
        while let Some((node, range, depth)) = open.pop_front() {
            let byte = |token: &u32| bytes[*token as usize].get(depth).copied();
            let within = &tokens[range.clone()];
            let here = within.partition_point(|token| byte(token).is_none());
            nodes[node].tokens = range.start as u32..(range.start + here) as u32;
            let (first, mut start) = (nodes.len(), range.start + here);
            for group in within[here..].chunk_by(|a, b| byte(a) == byte(b)) {
                open.push_back((nodes.len(), start..start + group.len(), depth + 1));
                nodes.push(Node::default());
                labels.extend(byte(&group[0]));
                start += group.len();
            }
            nodes[node].children = first as u32..nodes.len() as u32;
        }
        Self { bytes, nodes, labels, tokens }
    }

    /// The bytes that a token adds to a text, a space for its space mark included. Empty for a
    /// token that is never part of an answer, and for an unknown id.
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// The child of a node that a byte leads to.
    pub(super) fn child(&self, node: usize, byte: u8) -> Option<usize> {
        let Range { start, end } = self.nodes[node].children.clone();
        let labels = &self.labels[start as usize..end as usize];
        labels.binary_search(&byte).ok().map(|index| start as usize + index)
    }

    /// The tokens that end at a node.
    pub(super) fn tokens(&self, node: usize) -> &[u32] {
        let Range { start, end } = self.nodes[node].tokens.clone();
        &self.tokens[start as usize..end as usize]
    }

    /// Whether a token is this one byte.
    pub(super) fn can_write(&self, byte: u8) -> bool {
        self.child(Self::ROOT, byte).is_some_and(|node| !self.tokens(node).is_empty())
    }

    /// For each index in `text`, and its end, whether tokens can write exactly the rest.
    pub(super) fn writable_rests(&self, text: &[u8]) -> Vec<bool> {
        let mut writable = vec![false; text.len() + 1];
        writable[text.len()] = true;
        for start in (0..text.len()).rev() {
            let mut node = Self::ROOT;
            for (index, byte) in text.iter().enumerate().skip(start) {
                let Some(child) = self.child(node, *byte) else { break };
                node = child;
                if writable[index + 1] && !self.tokens(node).is_empty() {
                    writable[start] = true;
                    break;
                }
            }
        }
        writable
    }
}

//! Token ids with what the model has to predict.

use std::ops::Range;

use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_prompt::Tokens;

/// A sequence as the model reads it. Tokens of other sequences in its row are invisible to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The class of each token, [`IGNORE_INDEX`] where it carries no loss; the same length as
    /// `ids`. A language model predicts the next token's id.
    pub labels: Vec<i32>,
    /// The entities of a passage that a span head reads.
    pub spans: Option<SpanSequence>,
}

/// The entities of a passage that is read twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanSequence {
    /// Index of the first token of the second reading. The tokens from there on are tagged.
    pub second: usize,
    /// The types that are asked, without repetition.
    pub types: Vec<AskedType>,
}

/// A type that is asked of a passage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AskedType {
    /// The token ids of the type.
    pub ids: Vec<u32>,
    /// The tokens of each entity, counted from the start of the second reading.
    pub entities: Vec<Range<usize>>,
}

impl Sequence {
    /// A sequence whose tokens have labels.
    pub fn new(ids: Vec<u32>, labels: Vec<i32>) -> Self {
        Self { ids, labels, spans: None }
    }

    /// A passage that a span head reads.
    pub fn of_spans(ids: Vec<u32>, spans: SpanSequence) -> Self {
        let labels = vec![IGNORE_INDEX; ids.len()];
        Self { ids, labels, spans: Some(spans) }
    }

    /// An entity type that passages of the same batch are asked.
    pub(crate) fn of_type(ids: Vec<u32>) -> Self {
        let labels = vec![IGNORE_INDEX; ids.len()];
        Self::new(ids, labels)
    }
}

impl From<Tokens> for Sequence {
    /// Each token predicts the next one, if that is trained on. The last predicts nothing: no token
    /// predicts the first token of another conversation.
    fn from(Tokens { ids, loss_mask, .. }: Tokens) -> Self {
        let next = ids.iter().zip(&loss_mask).skip(1);
        let mut labels: Vec<i32> =
            next.map(|(&id, &trained)| if trained { id as i32 } else { IGNORE_INDEX }).collect();
        labels.resize(ids.len(), IGNORE_INDEX);
        Self::new(ids, labels)
    }
}

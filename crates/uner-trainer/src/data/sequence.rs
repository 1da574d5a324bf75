//! Token ids with the class that each token has to predict.

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
}

impl Sequence {
    /// Tokens that carry loss.
    pub fn num_trained(&self) -> usize {
        self.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
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
        Self { ids, labels }
    }
}

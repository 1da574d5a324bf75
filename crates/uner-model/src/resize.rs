//! Makes room for tokens that were added to a vocabulary.

use std::ops::Range;

use burn::module::Param;
use burn::tensor::Tensor;

use crate::Llama;
use crate::linear::Linear;

impl Llama {
    /// Gives the tokens with these ids rows in the embedding and the head: the mean of the rows of
    /// the tokens before them, so that a new token is at first as likely as others (Hewitt 2021,
    /// "Initializing New Word Embeddings for Pretrained Language Models").
    ///
    /// Rows that a padded embedding has for such ids are overwritten; otherwise it grows.
    ///
    /// # Panics
    /// When the first id is 0 or has no row before it.
    #[must_use]
    pub fn with_tokens(mut self, ids: Range<usize>) -> Self {
        let embedding = &mut self.model.embed_tokens;
        for layer in [Some(embedding), self.lm_head.as_mut()].into_iter().flatten() {
            resize(layer, &ids);
        }
        self
    }
}

fn resize(layer: &mut Linear, ids: &Range<usize>) {
    let weight = layer.weight.val();
    let [rows, columns] = weight.dims();
    assert!((1..=rows).contains(&ids.start), "ids {ids:?} after {rows} rows");
    let before: Tensor<2> = weight.clone().slice([0..ids.start, 0..columns]);
    let new = before.clone().mean_dim(0).repeat_dim(0, ids.len());
    let mut parts = vec![before, new];
    if ids.end < rows {
        parts.push(weight.slice([ids.end..rows, 0..columns]));
    }
    layer.weight = Param::from_tensor(Tensor::cat(parts, 0));
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use crate::weights::random;
    use crate::{Llama, LlamaConfig};

    fn model(tied: bool) -> Llama {
        let text = format!(
            r#"{{"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 1, "vocab_size": 6, "tie_word_embeddings": {tied}}}"#
        );
        let config: LlamaConfig = serde_json::from_str(&text).unwrap();
        random(&config, 1, &Device::flex())
    }

    fn rows(layer: &crate::linear::Linear) -> Vec<Vec<f32>> {
        let values: Vec<f32> = layer.weight.val().try_into_vec_as().unwrap();
        values.chunks(4).map(<[f32]>::to_vec).collect()
    }

    fn mean(rows: &[Vec<f32>]) -> Vec<f32> {
        let sum = |column: usize| rows.iter().map(|row| row[column]).sum::<f32>();
        (0..4).map(|column| sum(column) / rows.len() as f32).collect()
    }

    #[test]
    fn new_rows_are_the_mean_of_the_others() {
        let before = model(false);
        let after = before.clone().with_tokens(6..8);
        for (before, after) in [
            (&before.model.embed_tokens, &after.model.embed_tokens),
            (before.lm_head.as_ref().unwrap(), after.lm_head.as_ref().unwrap()),
        ] {
            let (before, after) = (rows(before), rows(after));
            assert_eq!(after[..6], before);
            for row in &after[6..] {
                for (value, expected) in row.iter().zip(mean(&before)) {
                    assert!((value - expected).abs() < 1e-6, "{value} {expected}");
                }
            }
            assert_eq!(after.len(), 8);
        }
    }

    #[test]
    fn rows_of_a_padded_embedding_are_used_first() {
        let before = model(true);
        let after = before.clone().with_tokens(3..5);
        let [old, new] = [&before, &after].map(|model| rows(&model.model.embed_tokens));
        assert!(after.lm_head.is_none());
        assert_eq!(new.len(), 6);
        assert_eq!((&new[..3], &new[5]), (&old[..3], &old[5]));
        assert_eq!(new[3], new[4]);
        assert!((new[3][0] - mean(&old[..3])[0]).abs() < 1e-6);
    }
}

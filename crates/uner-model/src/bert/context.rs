//! The inputs of the encoder besides its words.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use uner_kernels::attention::PADDING;
use uner_kernels::dropout;
use uner_kernels::dropout::DropoutSite;

use super::BertConfig;

/// Inputs of every layer besides the hidden states.
#[derive(Debug, Clone)]
pub struct EncoderContext<'a> {
    /// The encoder's dimensions.
    pub config: &'a BertConfig,
    /// Number of rows in the batch.
    pub rows: usize,
    /// Position of each token in its text, `[rows · tokens]`.
    pub positions: Tensor<1, Int>,
    /// True where a token (third axis) is invisible to another (second axis), `[rows, tokens,
    /// tokens]`: it belongs to another text, or is padding.
    pub masked: Tensor<3, Bool>,
    /// Dropout; `None` outside training.
    pub dropout: Option<EncoderDropout>,
}

/// Dropout of hidden states and attention weights. The keys and the layer determine which elements
/// of hidden states are dropped, so that any layout of the batch drops the same ones. Which
/// attention weights are dropped also depends on the positions of their tokens in the row.
#[derive(Debug, Clone)]
pub struct EncoderDropout {
    /// One key per token, `[rows · tokens]`.
    pub keys: Tensor<1, Int>,
    /// One key per row, head and token, `[rows · heads · tokens]`.
    pub head_keys: Tensor<1, Int>,
}

impl<'a> EncoderContext<'a> {
    /// The context of `rows` rows of equal length without dropout; `positions` and `document` (the
    /// text of each token, or padding) list the tokens row by row.
    pub fn new(
        config: &'a BertConfig,
        positions: &[i32],
        document: &[i32],
        rows: usize,
        device: &Device,
    ) -> Self {
        let tokens = document.len() / rows.max(1);
        let ints = |values: &[i32]| {
            Tensor::<1, Int>::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
        };
        let document = ints(document).reshape([rows, tokens]);
        let query = document.clone().reshape([rows, tokens, 1]).expand([rows, tokens, tokens]);
        let key = document.reshape([rows, 1, tokens]).expand([rows, tokens, tokens]);
        let masked = query.not_equal(key.clone()).bool_or(key.equal_elem(PADDING));
        Self { config, rows, positions: ints(positions), masked, dropout: None }
    }

    /// The same context with dropout in training. `keys` has one key per token.
    #[must_use]
    pub fn with_dropout(self, keys: &[i32]) -> Self {
        let heads = self.config.num_attention_heads;
        let tokens = keys.len() / self.rows.max(1);
        let of_head = |head: usize| (head as i32).wrapping_mul(0x3C6E_F372);
        let head_keys: Vec<i32> = keys
            .chunks(tokens.max(1))
            .flat_map(|row| {
                (0..heads).flat_map(move |head| row.iter().map(move |key| key ^ of_head(head)))
            })
            .collect();
        let ints = |values: Vec<i32>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &self.positions.device())
        };
        let dropout = EncoderDropout { keys: ints(keys.to_vec()), head_keys: ints(head_keys) };
        Self { dropout: Some(dropout), ..self }
    }

    /// Drops elements of hidden states, `[rows · tokens, hidden_size]`, at a numbered site.
    pub(super) fn drop_out(&self, x: Tensor<2>, site: u32) -> Tensor<2> {
        let Some(EncoderDropout { keys, .. }) = &self.dropout else { return x };
        dropout(
            x,
            keys,
            DropoutSite { layer_key: site, probability: self.config.hidden_dropout_prob },
        )
    }

    /// Drops elements of the states of the tokens `at` some indices, before the classifier.
    pub(super) fn drop_out_at(&self, x: Tensor<2>, at: &Tensor<1, Int>) -> Tensor<2> {
        let Some(EncoderDropout { keys, .. }) = &self.dropout else { return x };
        let keys = keys.clone().select(0, at.clone());
        dropout(
            x,
            &keys,
            DropoutSite { layer_key: u32::MAX, probability: self.config.hidden_dropout_prob },
        )
    }

    /// Drops attention weights, `[rows, heads, tokens, tokens]`, at a numbered site.
    pub(super) fn drop_weights(&self, weights: Tensor<4>, site: u32) -> Tensor<4> {
        let Some(EncoderDropout { head_keys, .. }) = &self.dropout else { return weights };
        let shape @ [rows, heads, queries, keys] = weights.dims();
        let flat = weights.reshape([rows * heads * queries, keys]);
        let probability = self.config.attention_probs_dropout_prob;
        dropout(flat, head_keys, DropoutSite { layer_key: site, probability }).reshape(shape)
    }
}

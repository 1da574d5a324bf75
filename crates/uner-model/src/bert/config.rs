//! The dimensions of a BERT encoder, as `config.json` of transformers lists them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Dimensions and labels of a token classifier. Unknown keys of the file are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Always `bert`.
    pub model_type: String,
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of a token.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads of attention, which divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Width between the two products of the feed-forward layer.
    pub intermediate_size: usize,
    /// The longest text in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the segment embedding; a single text has segment 0.
    pub type_vocab_size: usize,
    /// Added to the variance in layer norms.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Probability that an element of a hidden state is dropped in training.
    #[serde(default = "dropout")]
    pub hidden_dropout_prob: f64,
    /// Probability that an attention weight is dropped in training.
    #[serde(default = "dropout")]
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of random weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// The labels by number, as decimal text; empty if the folder has no classifier.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub id2label: BTreeMap<String, String>,
    /// All other keys.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

fn layer_norm_eps() -> f64 {
    1e-12
}

fn dropout() -> f64 {
    0.1
}

fn initializer_range() -> f64 {
    0.02
}

impl BertConfig {
    /// The width of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// The labels in the order of their numbers.
    pub fn labels(&self) -> Vec<String> {
        let number = |index: usize| self.id2label.get(&index.to_string()).cloned();
        (0..self.id2label.len()).map_while(number).collect()
    }

    /// The same encoder with a classifier of these labels.
    #[must_use]
    pub fn with_labels(mut self, labels: &[String]) -> Self {
        self.id2label =
            labels.iter().enumerate().map(|(id, label)| (id.to_string(), label.clone())).collect();
        let ids = labels.iter().enumerate().map(|(id, label)| (label.clone(), id.into()));
        self.other.insert("label2id".to_owned(), ids.collect::<serde_json::Map<_, _>>().into());
        self.other.insert("architectures".to_owned(), ["BertForTokenClassification"].into());
        self
    }

    /// Checks that the encoder can be computed as described.
    ///
    /// # Errors
    /// Names the key that has an unsupported value.
    pub(crate) fn check(&self) -> Result<(), String> {
        let text = |key: &str| self.other.get(key).and_then(serde_json::Value::as_str);
        if self.model_type != "bert" {
            return Err(format!(
                "`model_type` is `{}`; a token classifier needs a `bert` encoder",
                self.model_type
            ));
        }
        for (key, expected) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
            if let Some(other) = text(key).filter(|value| *value != expected) {
                return Err(format!("`{key}` is `{other}`; only `{expected}` is supported"));
            }
        }
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || !hidden.is_multiple_of(heads) {
            return Err(format!(
                "`hidden_size` is {hidden}, which {heads} attention heads do not divide"
            ));
        }
        if self.labels().len() != self.id2label.len() {
            return Err("`id2label` does not number its labels from 0".to_owned());
        }
        Ok(())
    }
}

//! BERT (Devlin et al. 2019) with a linear classifier of tokens: the supervised baseline of
//! `UniversalNER`. Embeddings of words, positions and segments; transformer layers, each norm after
//! its sum; and a label for each token.
//!
//! All tokens of a text see each other. Rows of a batch may hold several texts; the hidden states
//! of all rows are one `[rows · tokens, hidden_size]` tensor.

mod config;
mod context;
mod files;
mod layer;

pub use config::BertConfig;
pub use context::{EncoderContext, EncoderDropout};
pub use files::{checkpoint_name, load, load_encoder, read_config, write};
pub use layer::{Dense, Layer, LayerNorm};

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use uner_kernels::Input;

use crate::error::WeightsError;
use crate::source::ParameterSource;

/// The checkpoint name of the word embedding.
pub const WORDS: &str = "bert.embeddings.word_embeddings.weight";

/// An encoder with a classifier.
#[derive(Module, Debug)]
pub struct TokenClassifier {
    /// The encoder.
    pub bert: Bert,
    /// `[labels, hidden_size]`.
    pub classifier: Dense,
}

/// The encoder.
#[derive(Module, Debug)]
pub struct Bert {
    /// The embeddings.
    pub embeddings: Embeddings,
    /// The layers.
    pub encoder: Encoder,
}

/// Embeddings of words, positions and segments, and the norm of their sum.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[vocab_size, hidden_size]`.
    pub word_embeddings: Matrix,
    /// `[max_position_embeddings, hidden_size]`.
    pub position_embeddings: Matrix,
    /// `[type_vocab_size, hidden_size]`.
    pub token_type_embeddings: Matrix,
    /// The norm.
    pub LayerNorm: LayerNorm,
}

/// The rows of an embedding.
#[derive(Module, Debug)]
pub struct Matrix {
    /// `[rows, hidden_size]`.
    pub weight: Param<Tensor<2>>,
}

/// The layers, first to last.
#[derive(Module, Debug)]
pub struct Encoder {
    /// The layers.
    pub layer: Vec<Layer>,
}

impl TokenClassifier {
    /// Builds a classifier. `source` returns each parameter by checkpoint name and shape.
    ///
    /// # Errors
    /// When `source` cannot return a parameter.
    pub fn build(
        config: &BertConfig,
        source: &mut impl ParameterSource,
    ) -> Result<Self, WeightsError> {
        let layers = 0..config.num_hidden_layers;
        let layer = layers
            .map(|layer| Layer::build(config, source, &format!("bert.encoder.layer.{layer}")))
            .collect::<Result<_, _>>()?;
        let embeddings = Embeddings::build(config, source)?;
        let labels = config.id2label.len();
        Ok(Self {
            bert: Bert { embeddings, encoder: Encoder { layer } },
            classifier: Dense::build(source, "classifier", [labels, config.hidden_size])?,
        })
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.classifier.weight.val().device()
    }

    /// The rows of the word embedding for some ids, `[tokens, hidden_size]`.
    pub fn words(&self, ids: &[i32]) -> Tensor<2> {
        let weight = self.bert.embeddings.word_embeddings.weight.val();
        let ids = TensorData::new(ids.to_vec(), [ids.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, &weight.device());
        weight.select(0, ids)
    }

    /// The hidden states of all tokens from the embeddings of their words; both are
    /// `[rows · tokens, hidden_size]`.
    pub fn hidden(&self, words: Tensor<2>, context: &EncoderContext) -> Tensor<2> {
        let mut hidden = self.bert.embeddings.forward(words, context);
        for (index, layer) in self.bert.encoder.layer.iter().enumerate() {
            hidden = layer.forward(hidden, context, index);
        }
        hidden
    }

    /// The logits of every label for the tokens `at` these indices, `[at.len(), labels]`, from the
    /// embeddings of all words, `[rows · tokens, hidden_size]`.
    pub fn logits(&self, words: Tensor<2>, context: &EncoderContext, at: &[i32]) -> Tensor<2> {
        let hidden = self.hidden(words, context);
        let at = TensorData::new(at.to_vec(), [at.len()]);
        let at = Tensor::<1, Int>::from_data(at, &hidden.device());
        let chosen = context.drop_out_at(hidden.select(0, at.clone()), &at);
        self.classifier.forward(&Input::from(chosen))
    }
}

impl Embeddings {
    fn build(config: &BertConfig, source: &mut impl ParameterSource) -> Result<Self, WeightsError> {
        let hidden = config.hidden_size;
        let mut matrix = |part: &str, rows: usize| {
            let name = format!("bert.embeddings.{part}.weight");
            Ok::<_, WeightsError>(Matrix {
                weight: Param::from_tensor(source.tensor(&name, [rows, hidden])?),
            })
        };
        Ok(Self {
            word_embeddings: matrix("word_embeddings", config.vocab_size)?,
            position_embeddings: matrix("position_embeddings", config.max_position_embeddings)?,
            token_type_embeddings: matrix("token_type_embeddings", config.type_vocab_size)?,
            LayerNorm: LayerNorm::build(config, source, "bert.embeddings.LayerNorm")?,
        })
    }

    fn forward(&self, words: Tensor<2>, context: &EncoderContext) -> Tensor<2> {
        let positions = self.position_embeddings.weight.val().select(0, context.positions.clone());
        let segment = self.token_type_embeddings.weight.val().narrow(0, 0, 1);
        context.drop_out(self.LayerNorm.forward(words + segment + positions), 0)
    }
}

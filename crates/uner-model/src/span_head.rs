//! The head of a model that reads entities instead of writing them: token classification after
//! *just pass twice* (arXiv 2604.05158).
//!
//! The passage is read twice. A token of the second reading has seen the whole passage, and is
//! compared with the embedding of each entity type: the hidden state of the last token of the
//! type's name or definition. With `h` the hidden state of a token, `e` that of a type, and `w` the
//! hidden size, the scores of the token's tag for the type are
//!
//! ```text
//! O: 0      B: (W_B·h)·(W_E·e)/√w + b_B      I: (W_I·h)·(W_E·e)/√w + b_I
//! ```
//!
//! A softmax turns them into probabilities. Types do not compete, so entities of different types
//! may overlap, and an answer does not depend on the other types that are asked.

use burn::module::{Module, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal};
use uner_kernels::linear;

use crate::config::LlamaConfig;
use crate::error::WeightsError;
use crate::linear::Matrix;
use crate::source::{ParameterSource, lasting};

/// The tag of a token outside of all entities of a type.
pub const OUTSIDE: i32 = 0;
/// The tag of the first token of an entity.
pub const BEGIN: i32 = 1;
/// The tag of its other tokens.
pub const INSIDE: i32 = 2;
/// In place of a tag in [`SpanLabels`], for a type that is not asked of the token's passage.
pub const NOT_ASKED: i32 = -1;

/// `b_B` and `b_I` of a new head: about one token in twenty begins an entity.
const FIRST_BIAS: f32 = -3.0;
/// The stream of random numbers of a new head; adapters draw from lower ones.
const STREAM: u64 = 1 << 32;

/// A head that compares tokens with entity types.
#[derive(Module, Debug)]
pub struct SpanHead {
    /// `W_B` above `W_I`, `[2 · hidden_size, hidden_size]`.
    pub token_proj: Matrix,
    /// `W_E`, `[hidden_size, hidden_size]`.
    pub type_proj: Matrix,
    /// `b_B` and `b_I`, `[2]`.
    pub bias: Param<Tensor<1>>,
}

/// The tags that a head has to predict, on the device.
#[derive(Debug, Clone)]
pub struct SpanLabels {
    /// Indices of the tokens in the hidden states, `[n]`.
    pub tokens: Tensor<1, Int>,
    /// Indices of the last token of each type, `[t]`.
    pub types: Tensor<1, Int>,
    /// The tag of each token for each type, `[n, t]`; 0 where the type is not asked.
    tags: Tensor<2, Int>,
    /// 1 where the type is asked, else 0, `[n, t]`.
    asked: Tensor<2>,
}

impl SpanLabels {
    /// Copies labels to a device. `tags` has a tag or [`NOT_ASKED`] for each token and type, token
    /// by token.
    ///
    /// # Panics
    /// When `tags` has another length.
    pub fn new(tokens: &[i32], types: &[i32], tags: &[i32], device: &Device) -> Self {
        let shape = [tokens.len(), types.len()];
        let asked: Vec<f32> = tags.iter().map(|&tag| f32::from(tag != NOT_ASKED)).collect();
        let tags: Vec<i32> = tags.iter().map(|&tag| tag.max(0)).collect();
        Self {
            tokens: indices(tokens, device),
            types: indices(types, device),
            tags: Tensor::from_data(TensorData::new(tags, shape), device),
            asked: Tensor::from_data(TensorData::new(asked, shape), (device, DType::F32)),
        }
    }
}

/// Indices on a device, `[n]`.
pub fn indices(indices: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(indices.to_vec(), [indices.len()]), device)
}

impl SpanHead {
    /// Builds a head. `source` returns each parameter by checkpoint name and shape.
    ///
    /// # Errors
    /// When `source` cannot return a parameter.
    pub fn build(
        config: &LlamaConfig,
        source: &mut impl ParameterSource,
    ) -> Result<Self, WeightsError> {
        let [token_proj, type_proj, bias] = Self::names();
        let (token_shape, type_shape, bias_shape) = Self::shapes(config.hidden_size);
        let matrix = |weight| Matrix { weight: Param::from_tensor(weight) };
        Ok(Self {
            token_proj: matrix(source.tensor(token_proj, token_shape)?),
            type_proj: matrix(source.tensor(type_proj, type_shape)?),
            bias: Param::from_tensor(source.tensor(bias, bias_shape)?),
        })
    }

    /// The checkpoint names of the parameters.
    pub(crate) fn names() -> [&'static str; 3] {
        ["span_head.token_proj.weight", "span_head.type_proj.weight", "span_head.bias"]
    }

    /// Their shapes.
    pub(crate) fn shapes(hidden_size: usize) -> ([usize; 2], [usize; 2], [usize; 1]) {
        ([2 * hidden_size, hidden_size], [hidden_size; 2], [2])
    }

    /// A new head. `W_E` is 0, so that at first every token has the same probabilities, whatever
    /// the scale of the hidden states; the rows of `W_B` and `W_I` keep that scale.
    pub(crate) fn new(hidden_size: usize, seed: u64, device: &Device) -> Self {
        let (tokens, types, bias) = Self::shapes(hidden_size);
        let deviation = 1.0 / (hidden_size as f32).sqrt();
        let normal = Normal::new(0.0, deviation).expect("a finite standard deviation");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let count = tokens[0] * tokens[1];
        let values: Vec<f32> = (0..count).map(|_| normal.sample(&mut rng)).collect();
        let parameter = |values: Vec<f32>, shape: [usize; 2]| Matrix {
            weight: Param::from_tensor(lasting(TensorData::new(values, shape), device)),
        };
        let first = TensorData::new(vec![FIRST_BIAS; 2], bias);
        Self {
            token_proj: parameter(values, tokens),
            type_proj: parameter(vec![0.0; types[0] * types[1]], types),
            bias: Param::from_tensor(Tensor::from_data(first, (device, DType::F32))),
        }
    }

    /// The embeddings of types, `[t, hidden_size]`, from the hidden states of their last tokens.
    pub fn embed_types(&self, hidden: Tensor<2>) -> Tensor<2> {
        linear(hidden.cast(DType::F32), self.type_proj.weight.val().cast(DType::F32))
    }

    /// The logarithm of the probability of each tag, `[n, t, 3]`, for the hidden states of
    /// tokens, `[n, hidden_size]`, and the embeddings of types, `[t, hidden_size]`. It is computed
    /// in f32.
    pub fn log_probabilities(&self, hidden: Tensor<2>, types: Tensor<2>) -> Tensor<3> {
        let ([n, width], [t, _]) = (hidden.dims(), types.dims());
        let weight = self.token_proj.weight.val().cast(DType::F32);
        let tokens = linear(hidden.cast(DType::F32), weight).reshape([2 * n, width]);
        let scores = linear(tokens, types).div_scalar((width as f64).sqrt());
        let bias = self.bias.val().cast(DType::F32).reshape([1, 2, 1]);
        let scores = scores.reshape([n, 2, t]).add(bias).swap_dims(1, 2);
        let outside = Tensor::zeros([n, t, 1], (&scores.device(), DType::F32));
        log_softmax(Tensor::cat(vec![outside, scores], 2), 2)
    }

    /// The summed cross-entropy, `[1]`, of the hidden states of a batch, `[tokens, hidden_size]`.
    pub fn loss(&self, hidden: Tensor<2>, labels: &SpanLabels) -> Tensor<1> {
        let SpanLabels { tokens, types, tags, asked } = labels.clone();
        let types = self.embed_types(hidden.clone().select(0, types));
        let all = self.log_probabilities(hidden.select(0, tokens), types);
        let [n, t, _] = all.dims();
        let of_tag = all.gather(2, tags.reshape([n, t, 1])).reshape([n, t]);
        of_tag.mul(asked).sum().neg()
    }
}

/// Parameters of a head for hidden states of this size.
pub(crate) fn num_params(hidden_size: usize) -> usize {
    3 * hidden_size * hidden_size + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in f64, term by term.
    fn reference(head: &SpanHead, hidden: &[f32], types: &[f32], width: usize) -> Vec<f64> {
        let values =
            |matrix: &Matrix| -> Vec<f32> { matrix.weight.val().try_into_vec_as().unwrap() };
        let product = |weight: &[f32], row: usize, x: &[f32]| -> f64 {
            (0..width).map(|k| f64::from(weight[row * width + k]) * f64::from(x[k])).sum()
        };
        let (tokens, embeds) = (values(&head.token_proj), values(&head.type_proj));
        let bias: Vec<f32> = head.bias.val().try_into_vec_as().unwrap();
        let mut all = Vec::new();
        for h in hidden.chunks(width) {
            for e in types.chunks(width) {
                let score = |tag: usize| {
                    let products = (0..width)
                        .map(|k| product(&tokens, tag * width + k, h) * product(&embeds, k, e));
                    products.sum::<f64>() / (width as f64).sqrt() + f64::from(bias[tag])
                };
                let scores = [0.0, score(0), score(1)];
                let total = scores.iter().map(|score| score.exp()).sum::<f64>().ln();
                all.extend(scores.map(|score| score - total));
            }
        }
        all
    }

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|index| (index as f32 * step).sin()).collect()
    }

    #[test]
    fn probabilities_and_loss_equal_their_formula() {
        let (width, device) = (6, Device::flex());
        let matrix = |values: Vec<f32>, shape: [usize; 2]| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values, shape), &device)
        };
        let head = SpanHead::new(width, 1, &device);
        let type_proj =
            Matrix { weight: Param::from_tensor(matrix(wave(36, 0.3), [width, width])) };
        let head = SpanHead { type_proj, ..head };
        // Five tokens, of which the last two are the last ones of two types.
        let hidden = wave(5 * width, 0.7);
        let expected = reference(&head, &hidden[..3 * width], &hidden[3 * width..], width);
        let all = matrix(hidden, [5, width]);
        let types = head.embed_types(all.clone().slice([3..5, 0..width]));
        let got = head.log_probabilities(all.clone().slice([0..3, 0..width]), types);
        let got: Vec<f32> = got.try_into_vec_as().unwrap();
        for (got, expected) in got.iter().zip(&expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-5, "{got} is not {expected}");
        }
        let tags = [BEGIN, OUTSIDE, INSIDE, NOT_ASKED, OUTSIDE, BEGIN];
        let labels = SpanLabels::new(&[0, 1, 2], &[3, 4], &tags, &device);
        let asked = tags.iter().enumerate().filter(|(_, tag)| **tag != NOT_ASKED);
        let sum: f64 = asked.map(|(pair, &tag)| -expected[3 * pair + tag as usize]).sum();
        let got = f64::from(head.loss(all, &labels).into_scalar::<f32>());
        assert!((got - sum).abs() < 1e-5, "{got} is not {sum}");
    }

    #[test]
    fn a_new_head_has_the_same_probabilities_for_every_token() {
        let (width, device) = (4, Device::flex());
        let head = SpanHead::new(width, 3, &device);
        let hidden: Tensor<2> =
            Tensor::from_data(TensorData::new(wave(3 * width, 9.0), [3, width]), &device);
        let types = head.embed_types(hidden.clone().mul_scalar(100.0));
        let all: Vec<f32> = head.log_probabilities(hidden, types).try_into_vec_as().unwrap();
        let outside = -(1.0 + 2.0 * f32::exp(FIRST_BIAS)).ln();
        for token in all.chunks(3) {
            assert!((token[0] - outside).abs() < 1e-6, "{token:?}");
        }
    }
}

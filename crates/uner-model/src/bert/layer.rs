//! A transformer layer of BERT.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::module::layer_norm;
use uner_kernels::{Input, linear};

use super::{BertConfig, EncoderContext};
use crate::error::WeightsError;
use crate::source::ParameterSource;

/// Sites of dropout in a layer: attention weights, and the outputs of its two parts.
const SITES: u32 = 3;

/// A layer: self-attention and a feed-forward layer, each added to its input and normed.
#[derive(Module, Debug)]
pub struct Layer {
    /// Self-attention.
    pub attention: Attention,
    /// The first product of the feed-forward layer.
    pub intermediate: Intermediate,
    /// The second product of the feed-forward layer.
    pub output: Output,
}

/// Self-attention with its output.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries, keys and values; `self` in checkpoints.
    pub self_: SelfAttention,
    /// The output.
    pub output: Output,
}

/// The projections to queries, keys and values.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `[hidden_size, hidden_size]`.
    pub query: Dense,
    /// `[hidden_size, hidden_size]`.
    pub key: Dense,
    /// `[hidden_size, hidden_size]`.
    pub value: Dense,
}

/// The first product of the feed-forward layer.
#[derive(Module, Debug)]
pub struct Intermediate {
    /// `[intermediate_size, hidden_size]`.
    pub dense: Dense,
}

/// A product that is added to the input of its part, and the norm of the sum.
#[derive(Module, Debug)]
pub struct Output {
    /// `[hidden_size, in]`.
    pub dense: Dense,
    /// The norm.
    pub LayerNorm: LayerNorm,
}

/// A linear layer with bias.
#[derive(Module, Debug)]
pub struct Dense {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

/// A layer norm (Ba et al. 2016).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[hidden_size]`.
    pub weight: Param<Tensor<1>>,
    /// `[hidden_size]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    #[module(skip)]
    pub eps: f64,
}

impl Layer {
    pub(super) fn build(
        config: &BertConfig,
        source: &mut impl ParameterSource,
        name: &str,
    ) -> Result<Self, WeightsError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let attention = format!("{name}.attention");
        let mut dense = |part: &str, shape| Dense::build(source, part, shape);
        let projections = SelfAttention {
            query: dense(&format!("{attention}.self.query"), [hidden, hidden])?,
            key: dense(&format!("{attention}.self.key"), [hidden, hidden])?,
            value: dense(&format!("{attention}.self.value"), [hidden, hidden])?,
        };
        let first = dense(&format!("{name}.intermediate.dense"), [inner, hidden])?;
        Ok(Self {
            attention: Attention {
                self_: projections,
                output: Output::build(config, source, &format!("{attention}.output"), hidden)?,
            },
            intermediate: Intermediate { dense: first },
            output: Output::build(config, source, &format!("{name}.output"), inner)?,
        })
    }

    /// Maps `[rows · tokens, hidden_size]` to the same shape; `index` is the layer's number.
    pub(super) fn forward(
        &self,
        hidden: Tensor<2>,
        context: &EncoderContext,
        index: usize,
    ) -> Tensor<2> {
        let first_site = 1 + SITES * index as u32;
        let attended = self.attention.self_.forward(hidden.clone(), context, first_site);
        let hidden = self.attention.output.forward(attended, hidden, context, first_site + 1);
        let inner = gelu(self.intermediate.dense.forward(&Input::from(hidden.clone())));
        self.output.forward(inner, hidden, context, first_site + 2)
    }
}

/// `x/2 · (1 + erf(x/√2))` (Hendrycks & Gimpel 2016). The backward pass of burn's own function is,
/// except on the CPU, that of an approximation by tanh, whose gradients differ by a thousandth.
fn gelu(x: Tensor<2>) -> Tensor<2> {
    let cdf = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    x * cdf
}

impl SelfAttention {
    fn forward(&self, hidden: Tensor<2>, context: &EncoderContext, site: u32) -> Tensor<2> {
        let [all, width] = hidden.dims();
        let rows = context.rows;
        let [_, tokens, _] = context.masked.dims();
        let (heads, head_dim) = (context.config.num_attention_heads, context.config.head_dim());
        let x = Input::from(hidden);
        let of_heads = |layer: &Dense| {
            layer.forward(&x).reshape([rows, tokens, heads, head_dim]).swap_dims(1, 2)
        };
        let (q, k, v) = (of_heads(&self.query), of_heads(&self.key), of_heads(&self.value));
        let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar(1.0 / (head_dim as f64).sqrt());
        let mask = context.masked.clone().unsqueeze_dim::<4>(1);
        // Padding sees nothing. A finite score leaves it an arbitrary mean, which nobody reads.
        let scores = scores.mask_fill(mask.expand([rows, heads, tokens, tokens]), -1e9);
        let weights = context.drop_weights(softmax(scores, 3), site);
        weights.matmul(v).swap_dims(1, 2).reshape([all, width])
    }
}

impl Output {
    fn build(
        config: &BertConfig,
        source: &mut impl ParameterSource,
        name: &str,
        width: usize,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            dense: Dense::build(source, &format!("{name}.dense"), [config.hidden_size, width])?,
            LayerNorm: LayerNorm::build(config, source, &format!("{name}.LayerNorm"))?,
        })
    }

    /// Adds the product of `x` to `base`, and norms the sum.
    fn forward(
        &self,
        x: Tensor<2>,
        base: Tensor<2>,
        context: &EncoderContext,
        site: u32,
    ) -> Tensor<2> {
        let product = context.drop_out(self.dense.forward(&Input::from(x)), site);
        self.LayerNorm.forward(product + base)
    }
}

impl Dense {
    pub(super) fn build(
        source: &mut impl ParameterSource,
        name: &str,
        shape: [usize; 2],
    ) -> Result<Self, WeightsError> {
        let weight = source.tensor(&format!("{name}.weight"), shape)?;
        let bias = source.tensor(&format!("{name}.bias"), [shape[0]])?;
        Ok(Self { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) })
    }

    pub(super) fn forward(&self, x: &Input) -> Tensor<2> {
        linear(x.clone(), self.weight.val()) + self.bias.val().unsqueeze()
    }
}

impl LayerNorm {
    pub(super) fn build(
        config: &BertConfig,
        source: &mut impl ParameterSource,
        name: &str,
    ) -> Result<Self, WeightsError> {
        let mut vector = |part: &str| {
            let values = source.tensor(&format!("{name}.{part}"), [config.hidden_size])?;
            Ok::<_, WeightsError>(Param::from_tensor(values))
        };
        Ok(Self { weight: vector("weight")?, bias: vector("bias")?, eps: config.layer_norm_eps })
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.weight.val(), Some(self.bias.val()), self.eps)
    }
}

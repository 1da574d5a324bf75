//! The model, top to bottom (Touvron et al. 2023): embedding, transformer blocks (attention and a
//! gated feed-forward layer, each after an RMS norm), a final norm and the language-model head.
//!
//! The hidden states of all rows are one `[rows · tokens, hidden_size]` tensor; only attention
//! separates rows.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use uner_kernels::device::activations;
use uner_kernels::dropout::DropoutSite;
use uner_kernels::{
    Input, QuantizedWeight, RotaryTable, Visibility, add_linear, add_rms_norm, attention,
    dropped_linear, fork_rms_norm, linear, linear_sum, quantized_linear, rms_norm, rope, swiglu,
};

use crate::cache::{KvCache, LayerCache};
use crate::config::{Adapter, LlamaConfig};
use crate::error::WeightsError;
use crate::source::ParameterSource;

/// A LLaMA model.
#[derive(Module, Debug)]
pub struct Llama {
    /// Everything but the head.
    pub model: Decoder,
    /// The head; `None` if it is tied to the embedding.
    pub lm_head: Option<Linear>,
    /// Settings and base of the adapter, if the model has one; then only its factors are trained.
    #[module(skip)]
    pub adapter: Option<Adapter>,
}

/// Embedding, blocks and final norm.
#[derive(Module, Debug)]
pub struct Decoder {
    /// `[vocab_size, hidden_size]`.
    pub embed_tokens: Linear,
    /// The blocks, first to last.
    pub layers: Vec<Block>,
    /// The norm before the head.
    pub norm: RmsNorm,
}

/// One transformer block.
#[derive(Module, Debug)]
pub struct Block {
    /// Norm before attention.
    pub input_layernorm: RmsNorm,
    /// Self-attention.
    pub self_attn: Attention,
    /// Norm before the feed-forward layer.
    pub post_attention_layernorm: RmsNorm,
    /// Feed-forward layer.
    pub mlp: Mlp,
}

/// The projections around attention.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[num_attention_heads · head_dim, hidden_size]`.
    pub q_proj: Linear,
    /// `[num_key_value_heads · head_dim, hidden_size]`.
    pub k_proj: Linear,
    /// `[num_key_value_heads · head_dim, hidden_size]`.
    pub v_proj: Linear,
    /// `[hidden_size, num_attention_heads · head_dim]`.
    pub o_proj: Linear,
}

/// The gated feed-forward layer.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[intermediate_size, hidden_size]`.
    pub gate_proj: Linear,
    /// `[intermediate_size, hidden_size]`.
    pub up_proj: Linear,
    /// `[hidden_size, intermediate_size]`.
    pub down_proj: Linear,
}

/// A linear layer without bias, with an optional low-rank adapter (`LoRA`, Hu et al. 2021):
/// `x·Wᵀ + s·(x·Aᵀ)·Bᵀ`. The product `B·A` is never computed.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`; `[0, 0]` if it is frozen and quantised.
    pub weight: Param<Tensor<2>>,
    /// The quantised weight, if the layer is quantised.
    #[module(skip)]
    pub quantized: Option<QuantizedWeight>,
    /// `[rank, in]`.
    pub lora_A: Option<Matrix>,
    /// `[out, rank]`.
    pub lora_B: Option<Matrix>,
    /// `alpha / rank`.
    #[module(skip)]
    pub lora_scale: f64,
    /// The CRC-32 of the layer's name; with a token's key it determines the layer's dropout.
    #[module(skip)]
    pub layer_key: u32,
    /// `[out, in]`, f32: an optional sum that the gradient of the weight is added to. The result is
    /// then the gradient of this tensor, and the weight has none: see [`linear_sum`].
    #[module(skip)]
    pub gradient_sum: Option<Tensor<2>>,
}

/// One factor of an adapter.
#[derive(Module, Debug)]
pub struct Matrix {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
}

/// The weight of a root-mean-square norm.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[hidden_size]`.
    pub weight: Param<Tensor<1>>,
}

/// Inputs of every block besides the hidden states.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The model's dimensions.
    pub config: &'a LlamaConfig,
    /// Number of rows in the batch.
    pub rows: usize,
    /// Rotation angles of every token's position.
    pub rotary: RotaryTable,
    /// Which tokens see which.
    pub visibility: Visibility,
    /// Dropout on the inputs of an adapter; `None` outside training.
    pub dropout: Option<Dropout>,
}

/// Dropout on the inputs of an adapter. The keys and the layer determine which inputs are dropped,
/// so a recomputed block drops the same ones.
#[derive(Debug, Clone)]
pub struct Dropout {
    /// One key per token, `[rows · tokens]`.
    pub keys: Tensor<1, Int>,
    /// Share of the inputs that become 0.
    pub probability: f64,
}

impl<'a> Context<'a> {
    /// Creates the context of `rows` rows of equal length; `positions` lists them row by row.
    pub fn new(
        config: &'a LlamaConfig,
        positions: &[i32],
        rows: usize,
        visibility: Visibility,
        device: &Device,
    ) -> Self {
        let rotary = RotaryTable::new(positions, rows, &config.inverse_frequencies(), device)
            .scaled(config.rope_attention_factor());
        Self { config, rows, rotary, visibility, dropout: None }
    }
}

impl Llama {
    /// Builds a model. `source` returns each parameter by checkpoint name and shape.
    ///
    /// # Errors
    /// When `source` cannot return a parameter.
    pub fn build(
        config: &LlamaConfig,
        source: &mut impl ParameterSource,
    ) -> Result<Self, WeightsError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let embed_tokens = Linear::build(source, "model.embed_tokens", vocab, hidden)?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| Block::build(config, source, &format!("model.layers.{layer}")))
            .collect::<Result<_, _>>()?;
        let norm = RmsNorm::build(source, "model.norm", hidden)?;
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            Some(Linear::build(source, "lm_head", vocab, hidden)?)
        };
        Ok(Self { model: Decoder { embed_tokens, layers, norm }, lm_head, adapter: None })
    }

    /// Embeds every token: `[tokens]` ids to `[tokens, hidden_size]`.
    pub fn embed(&self, ids: &[i32]) -> Tensor<2> {
        let weight = self.model.embed_tokens.weight.val();
        let ids = TensorData::new(ids.to_vec(), [ids.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, &weight.device());
        weight.select(0, ids).cast(self.activations())
    }

    /// Creates an empty cache for `rows` rows of up to `capacity` tokens, on the model's device and
    /// in the type of its activations.
    pub fn cache(&self, config: &LlamaConfig, rows: usize, capacity: usize) -> KvCache {
        let shape = [rows, capacity, config.num_key_value_heads, config.head_dim];
        let storage = (&self.head().device(), self.activations());
        KvCache::new(config.num_hidden_layers, shape, storage)
    }

    /// The element type of hidden states, keys and values.
    pub fn activations(&self) -> DType {
        let weight = self.model.embed_tokens.weight.val();
        activations(weight.dtype(), &weight.device())
    }

    /// The layer of the language-model head: the embedding if the two are tied.
    pub fn head_layer(&self) -> &Linear {
        self.lm_head.as_ref().unwrap_or(&self.model.embed_tokens)
    }

    /// The matrix of the language-model head, `[vocab_size, hidden_size]`.
    pub fn head(&self) -> Tensor<2> {
        self.head_layer().weight.val()
    }

    /// Computes the input of the head: the normed hidden states of every token,
    /// `[rows · tokens, hidden_size]`.
    ///
    /// With a cache, the tokens continue the cached ones, and their keys and values are appended to
    /// it.
    pub fn hidden(
        &self,
        ids: &[i32],
        context: &Context,
        mut cache: Option<&mut [LayerCache]>,
    ) -> Tensor<2> {
        let mut hidden = self.embed(ids);
        for (layer, block) in self.model.layers.iter().enumerate() {
            hidden =
                block.forward(hidden, context, cache.as_mut().map(|layers| &mut layers[layer]));
        }
        self.model.norm.forward(hidden, context.config)
    }

    /// Computes the logits of hidden states: `[n, hidden_size]` to `[n, vocab_size]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        linear(hidden, self.head())
    }
}

impl Block {
    /// Builds a block. `source` returns each parameter by checkpoint name and shape; `name` is the
    /// block's own name, such as `model.layers.3`.
    ///
    /// # Errors
    /// When `source` cannot return a parameter.
    pub fn build(
        config: &LlamaConfig,
        source: &mut impl ParameterSource,
        name: &str,
    ) -> Result<Self, WeightsError> {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        Ok(Self {
            input_layernorm: RmsNorm::build(source, &format!("{name}.input_layernorm"), hidden)?,
            self_attn: Attention {
                q_proj: Linear::of_block(
                    source,
                    &format!("{name}.self_attn.q_proj"),
                    queries,
                    hidden,
                )?,
                k_proj: Linear::of_block(
                    source,
                    &format!("{name}.self_attn.k_proj"),
                    keys,
                    hidden,
                )?,
                v_proj: Linear::of_block(
                    source,
                    &format!("{name}.self_attn.v_proj"),
                    keys,
                    hidden,
                )?,
                o_proj: Linear::of_block(
                    source,
                    &format!("{name}.self_attn.o_proj"),
                    hidden,
                    queries,
                )?,
            },
            post_attention_layernorm: RmsNorm::build(
                source,
                &format!("{name}.post_attention_layernorm"),
                hidden,
            )?,
            mlp: Mlp {
                gate_proj: Linear::of_block(
                    source,
                    &format!("{name}.mlp.gate_proj"),
                    intermediate,
                    hidden,
                )?,
                up_proj: Linear::of_block(
                    source,
                    &format!("{name}.mlp.up_proj"),
                    intermediate,
                    hidden,
                )?,
                down_proj: Linear::of_block(
                    source,
                    &format!("{name}.mlp.down_proj"),
                    hidden,
                    intermediate,
                )?,
            },
        })
    }

    /// Returns the linear layers with their names in the block.
    pub fn linears(&mut self) -> [(&'static str, &mut Linear); 7] {
        let Self { self_attn, mlp, .. } = self;
        [
            ("self_attn.q_proj", &mut self_attn.q_proj),
            ("self_attn.k_proj", &mut self_attn.k_proj),
            ("self_attn.v_proj", &mut self_attn.v_proj),
            ("self_attn.o_proj", &mut self_attn.o_proj),
            ("mlp.gate_proj", &mut mlp.gate_proj),
            ("mlp.up_proj", &mut mlp.up_proj),
            ("mlp.down_proj", &mut mlp.down_proj),
        ]
    }

    /// Maps `[rows · tokens, hidden_size]` to the same shape.
    pub fn forward(
        &self,
        hidden: Tensor<2>,
        context: &Context,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<2> {
        let (hidden, normed) = self.input_layernorm.forward_fork(hidden, context.config);
        let attended = self.self_attn.forward(normed, context, cache);
        let (hidden, normed) =
            self.post_attention_layernorm.forward_add(attended, hidden, context.config);
        self.mlp.forward_onto(hidden, normed, context)
    }
}

impl Attention {
    fn forward(
        &self,
        x: Tensor<2>,
        context: &Context,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<2> {
        let LlamaConfig { num_attention_heads, num_key_value_heads, head_dim, .. } =
            *context.config;
        let rows = context.rows;
        let tokens = x.dims()[0] / rows;
        let heads = |x: Tensor<2>, count| x.reshape([rows, tokens, count, head_dim]);
        let x = Input::from(x);
        let q = heads(self.q_proj.forward(&x, context), num_attention_heads);
        let k = heads(self.k_proj.forward(&x, context), num_key_value_heads);
        let v = heads(self.v_proj.forward(&x, context), num_key_value_heads);
        let (q, k) = rope(q, k, &context.rotary);
        let (k, v) = match cache {
            Some(cache) => cache.append(k, v),
            None => (k, v),
        };
        let attended = attention(q, k, v, &context.visibility);
        let attended = attended.reshape([rows * tokens, num_attention_heads * head_dim]);
        self.o_proj.forward(&attended.into(), context)
    }
}

impl Mlp {
    /// Returns the sum of `base` and the layer's output for `x`.
    fn forward_onto(&self, base: Tensor<2>, x: Tensor<2>, context: &Context) -> Tensor<2> {
        let x = Input::from(x);
        let gated = swiglu(self.gate_proj.forward(&x, context), self.up_proj.forward(&x, context));
        self.down_proj.forward_onto(base, &gated.into(), context)
    }
}

impl Linear {
    fn build(
        source: &mut impl ParameterSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Self, WeightsError> {
        let weight = Param::from_tensor(source.tensor(&format!("{name}.weight"), [rows, columns])?);
        let layer_key = crc32fast::hash(name.as_bytes());
        let (quantized, lora_A, lora_B, gradient_sum) = (None, None, None, None);
        Ok(Self { weight, quantized, lora_A, lora_B, lora_scale: 1.0, layer_key, gradient_sum })
    }

    fn forward(&self, x: &Input, context: &Context) -> Tensor<2> {
        match (&self.lora_A, &self.lora_B) {
            (Some(down), Some(up)) => {
                let low = match &context.dropout {
                    Some(Dropout { keys, probability }) => {
                        let draw =
                            DropoutSite { layer_key: self.layer_key, probability: *probability };
                        dropped_linear(x.clone(), keys, down.weight.val(), draw)
                    }
                    None => linear(x.clone(), down.weight.val()),
                };
                // Scaling `low` is cheap: it has only `rank` columns.
                add_linear(self.product(x), low.mul_scalar(self.lora_scale), up.weight.val())
            }
            _ => self.product(x),
        }
    }

    /// Returns the sum of `base` and the layer's output; a plain matrix does this in one product.
    fn forward_onto(&self, base: Tensor<2>, x: &Input, context: &Context) -> Tensor<2> {
        if self.lora_A.is_none() && self.quantized.is_none() && self.gradient_sum.is_none() {
            return add_linear(base, x.tensor.clone(), self.weight.val());
        }
        base.add(self.forward(x, context))
    }

    /// Computes `x · weightᵀ` for a plain or a quantised weight.
    fn product(&self, x: &Input) -> Tensor<2> {
        let x = x.clone();
        match (&self.quantized, &self.gradient_sum) {
            (Some(weight), _) => quantized_linear(x, weight),
            (None, Some(sum)) => linear_sum(x, self.weight.val(), sum.clone()),
            (None, None) => linear(x, self.weight.val()),
        }
    }

    /// `[out, in]`.
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.quantized.as_ref().map_or_else(|| self.weight.dims(), QuantizedWeight::dims)
    }

    /// Builds a layer of a block, quantised if the source has a `base_format`.
    fn of_block(
        source: &mut impl ParameterSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Self, WeightsError> {
        let layer = Self::build(source, name, rows, columns)?;
        let Some(form) = source.base_format() else { return Ok(layer) };
        let weight = layer.weight.val();
        let nothing = Param::from_tensor(Tensor::empty([0, 0], &weight.device()));
        Ok(Self {
            quantized: Some(QuantizedWeight::new(weight, form.into())),
            weight: nothing,
            ..layer
        })
    }
}

impl RmsNorm {
    fn build(
        source: &mut impl ParameterSource,
        name: &str,
        hidden: usize,
    ) -> Result<Self, WeightsError> {
        Ok(Self { weight: Param::from_tensor(source.tensor(&format!("{name}.weight"), [hidden])?) })
    }

    /// Maps `[tokens, hidden_size]` to the same shape.
    pub fn forward(&self, x: Tensor<2>, config: &LlamaConfig) -> Tensor<2> {
        rms_norm(x, self.weight.val(), config.rms_norm_eps)
    }

    /// Returns `x` for further use, and its norm.
    fn forward_fork(&self, x: Tensor<2>, config: &LlamaConfig) -> (Tensor<2>, Tensor<2>) {
        fork_rms_norm(x, self.weight.val(), config.rms_norm_eps)
    }

    fn forward_add(
        &self,
        x: Tensor<2>,
        residual: Tensor<2>,
        config: &LlamaConfig,
    ) -> (Tensor<2>, Tensor<2>) {
        add_rms_norm(x, residual, self.weight.val(), config.rms_norm_eps)
    }
}

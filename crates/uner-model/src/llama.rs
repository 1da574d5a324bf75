//! The model, top to bottom (Touvron et al. 2023): embedding, blocks of attention and gated
//! feed-forward behind RMS norms, a final norm and the language-model head.
//!
//! Tokens of all rows travel as one `[rows · tokens, hidden_size]` tensor; only attention sees
//! rows.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use uner_kernels::device::activations;
use uner_kernels::dropout::Draw;
use uner_kernels::{
    Input, QuantizedWeight, RotaryTable, Visibility, add_linear, add_rms_norm, attention,
    dropped_linear, fork_rms_norm, linear, linear_sum, quantized_linear, rms_norm, rope, swiglu,
};

use crate::adapter::Adapter;
use crate::cache::LayerCache;
use crate::config::LlamaConfig;
use crate::weights::{Source, WeightsError};

/// A LLaMA with its configuration.
#[derive(Module, Debug)]
pub struct Llama {
    /// Everything but the head.
    pub model: Decoder,
    /// The head; `None` where it is the embedding.
    pub lm_head: Option<Linear>,
    /// What is trained in place of all this, where there is something.
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

/// A bias-free matrix, `[out, in]`, and its low-rank adapter where it has one: `x·Wᵀ + s·(x·Aᵀ)·Bᵀ`
/// (Hu et al. 2021). The product `B·A` is never formed.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`; `[0, 0]` where it is frozen and quantised.
    pub weight: Param<Tensor<2>>,
    /// The weight in fewer bits.
    #[module(skip)]
    pub quantized: Option<QuantizedWeight>,
    /// `[rank, in]`.
    pub lora_A: Option<Matrix>,
    /// `[out, rank]`.
    pub lora_B: Option<Matrix>,
    /// `alpha / rank`.
    #[module(skip)]
    pub lora_scale: f64,
    /// A number for this layer, from its name: what dropout draws by.
    #[module(skip)]
    pub place: u32,
    /// `[out, in]`, f32: the sum that the gradient of the weight is to be added to, where there is
    /// one. It has that gradient then, and the weight has none: see [`linear_sum`].
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

/// What every block needs to know of a batch besides its hidden states.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The model's dimensions.
    pub config: &'a LlamaConfig,
    /// Rows of the batch.
    pub rows: usize,
    /// Angles of every token's position.
    pub rotary: RotaryTable,
    /// Which token sees which.
    pub visibility: Visibility,
    /// What is dropped from the inputs of an adapter; `None` outside of training.
    pub dropout: Option<Dropout>,
}

/// Which inputs of an adapter are dropped: a function of these keys and of the layer, so that a
/// block that is run again drops the same.
#[derive(Debug, Clone)]
pub struct Dropout {
    /// One for every token, `[rows · tokens]`.
    pub keys: Tensor<1, Int>,
    /// Share of the inputs that become 0.
    pub probability: f64,
}

impl<'a> Context<'a> {
    /// The context of `rows` equally long rows; `positions` are given row by row.
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
    /// A model whose parameters come from `source`, asked for by checkpoint name and shape.
    ///
    /// # Errors
    /// What the source says of a parameter it cannot give.
    pub fn build(config: &LlamaConfig, source: &mut impl Source) -> Result<Self, WeightsError> {
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

    /// The embedding of every token: `[tokens]` ids to `[tokens, hidden_size]`.
    pub fn embed(&self, ids: &[i32]) -> Tensor<2> {
        let weight = self.model.embed_tokens.weight.val();
        let ids = TensorData::new(ids.to_vec(), [ids.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, &weight.device());
        weight.select(0, ids).cast(self.activations())
    }

    /// The type that hidden states, keys and values have.
    pub fn activations(&self) -> DType {
        let weight = self.model.embed_tokens.weight.val();
        activations(weight.dtype(), &weight.device())
    }

    /// The layer of the language-model head: the embedding where they are tied.
    pub fn head_layer(&self) -> &Linear {
        self.lm_head.as_ref().unwrap_or(&self.model.embed_tokens)
    }

    /// The matrix of the language-model head, `[vocab_size, hidden_size]`.
    pub fn head(&self) -> Tensor<2> {
        self.head_layer().weight.val()
    }

    /// The normed hidden states of every token, `[rows · tokens, hidden_size]`, ready for the head.
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

    /// The logits of the given hidden states: `[n, hidden_size]` to `[n, vocab_size]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        linear(hidden, self.head())
    }
}

impl Block {
    /// A block whose parameters come from `source`, asked for by checkpoint name and shape; `name`
    /// is the block's own, such as `model.layers.3`.
    ///
    /// # Errors
    /// What the source says of a parameter it cannot give.
    pub fn build(
        config: &LlamaConfig,
        source: &mut impl Source,
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

    /// The linear layers, by their names in the block.
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

    /// `[rows · tokens, hidden_size]` to the same.
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
    /// The sum of `base` and what the layers make of `x`.
    fn forward_onto(&self, base: Tensor<2>, x: Tensor<2>, context: &Context) -> Tensor<2> {
        let x = Input::from(x);
        let gated = swiglu(self.gate_proj.forward(&x, context), self.up_proj.forward(&x, context));
        self.down_proj.forward_onto(base, &gated.into(), context)
    }
}

impl Linear {
    fn build(
        source: &mut impl Source,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Self, WeightsError> {
        let weight = Param::from_tensor(source.tensor(&format!("{name}.weight"), [rows, columns])?);
        let place = crc32fast::hash(name.as_bytes());
        let (quantized, lora_A, lora_B, gradient_sum) = (None, None, None, None);
        Ok(Self { weight, quantized, lora_A, lora_B, lora_scale: 1.0, place, gradient_sum })
    }

    fn forward(&self, x: &Input, context: &Context) -> Tensor<2> {
        match (&self.lora_A, &self.lora_B) {
            (Some(down), Some(up)) => {
                let low = match &context.dropout {
                    Some(Dropout { keys, probability }) => {
                        let draw = Draw { place: self.place, probability: *probability };
                        dropped_linear(x.clone(), keys, down.weight.val(), draw)
                    }
                    None => linear(x.clone(), down.weight.val()),
                };
                // Scaled where it is narrow.
                add_linear(self.product(x), low.mul_scalar(self.lora_scale), up.weight.val())
            }
            _ => self.product(x),
        }
    }

    /// The sum of `base` and the layer's output: in one product where the layer is one.
    fn forward_onto(&self, base: Tensor<2>, x: &Input, context: &Context) -> Tensor<2> {
        if self.lora_A.is_none() && self.quantized.is_none() && self.gradient_sum.is_none() {
            return add_linear(base, x.tensor.clone(), self.weight.val());
        }
        base.add(self.forward(x, context))
    }

    /// `x · weightᵀ`, in whatever form the weight is.
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

    /// The layer of a block: quantised where the source says so.
    fn of_block(
        source: &mut impl Source,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Self, WeightsError> {
        let layer = Self::build(source, name, rows, columns)?;
        let Some(form) = source.base_form() else { return Ok(layer) };
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
    fn build(source: &mut impl Source, name: &str, hidden: usize) -> Result<Self, WeightsError> {
        Ok(Self { weight: Param::from_tensor(source.tensor(&format!("{name}.weight"), [hidden])?) })
    }

    /// `[tokens, hidden_size]` to the same.
    pub fn forward(&self, x: Tensor<2>, config: &LlamaConfig) -> Tensor<2> {
        rms_norm(x, self.weight.val(), config.rms_norm_eps)
    }

    /// `x` again, to be used on, and its norm.
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

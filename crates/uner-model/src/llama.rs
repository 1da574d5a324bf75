//! The model, top to bottom (Touvron et al. 2023): embedding, transformer blocks (attention and a
//! gated feed-forward layer, each after an RMS norm), a final norm and the language-model head.
//! Models of other [families](crate::config::Family) add biases, or norms of heads.
//!
//! The hidden states of all rows are one `[rows · tokens, hidden_size]` tensor; only attention
//! separates rows.

use burn::module::{Module, Param};
use burn::tensor::{DType, Int, Tensor, TensorData};
use uner_kernels::device::activations;
use uner_kernels::{Input, add_rms_norm, attention, fork_rms_norm, linear, rms_norm, rope, swiglu};

use crate::cache::{KvCache, LayerCache};
use crate::config::{Adapter, LlamaConfig, Target};
use crate::context::{AttentionPattern, Context};
use crate::error::WeightsError;
use crate::linear::Linear;
use crate::source::ParameterSource;
use crate::span_head::SpanHead;

/// A LLaMA model.
#[derive(Module, Debug)]
pub struct Llama {
    /// Everything but the head.
    pub model: Decoder,
    /// The head; `None` if it is tied to the embedding.
    pub lm_head: Option<Linear>,
    /// The head that reads entities; such a model has no language-model head of its own.
    pub span_head: Option<SpanHead>,
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
    /// The norm of each head's queries, `[head_dim]`, before the rotation.
    pub q_norm: Option<RmsNorm>,
    /// The norm of each head's keys, `[head_dim]`, before the rotation.
    pub k_norm: Option<RmsNorm>,
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

/// The weight of a root-mean-square norm.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[hidden_size]`, or `[head_dim]` for a norm of heads.
    pub weight: Param<Tensor<1>>,
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
        let span_head = config.span_head.then(|| SpanHead::build(config, source)).transpose()?;
        let model = Decoder { embed_tokens, layers, norm };
        Ok(Self { model, lm_head, span_head, adapter: None })
    }

    /// Embeds every token: `[tokens]` ids to `[tokens, hidden_size]`.
    pub fn embed(&self, ids: &[i32]) -> Tensor<2> {
        let weight = self.model.embed_tokens.weight.val();
        let ids = TensorData::new(ids.to_vec(), [ids.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, &weight.device());
        weight.select(0, ids).cast(self.activations())
    }

    /// Creates a cache for `slots` tokens, on the model's device and in the type of its
    /// activations.
    pub fn cache(&self, config: &LlamaConfig, slots: usize) -> KvCache {
        let shape = [slots, config.num_key_value_heads, config.head_dim];
        let storage = (&self.head().device(), self.activations());
        KvCache::new(config.num_hidden_layers, shape, storage)
    }

    /// Bytes that a token takes in the cache.
    pub fn cache_bytes_per_token(&self, config: &LlamaConfig) -> usize {
        let LlamaConfig { num_hidden_layers, num_key_value_heads, head_dim, .. } = *config;
        2 * num_hidden_layers * num_key_value_heads * head_dim * self.activations().size()
    }

    /// Packs the weights of all blocks for inference on the CPU, one after the other: the model
    /// computes faster, and can no longer be trained or saved.
    #[must_use]
    pub fn pack(mut self) -> Self {
        for block in &mut self.model.layers {
            block.linears().into_iter().for_each(|(_, linear)| linear.pack());
        }
        self
    }

    /// As [`Self::pack`]; and weights of 8 bits become products that quantise their input to 8
    /// bits, too, which are faster and less exact.
    #[must_use]
    pub fn pack_int8(mut self) -> Self {
        for block in &mut self.model.layers {
            block.linears().into_iter().for_each(|(_, linear)| linear.pack_int8());
        }
        self.pack()
    }

    /// The same model with the weights of `base` in place of its own, but for its adapter: two
    /// adapters of one base, or a base and its adapter, then need the memory of one.
    ///
    /// # Panics
    /// When the models have different numbers of blocks.
    #[must_use]
    pub fn sharing(mut self, base: &Self) -> Self {
        assert_eq!(self.model.layers.len(), base.model.layers.len(), "blocks of one base");
        let mut shared = base.clone();
        for (own, block) in self.model.layers.iter_mut().zip(&mut shared.model.layers) {
            for ((_, own), (_, linear)) in own.linears().into_iter().zip(block.linears()) {
                linear.lora_A = own.lora_A.take();
                linear.lora_B = own.lora_B.take();
                linear.lora_scale = own.lora_scale;
            }
        }
        shared.span_head = self.span_head;
        shared.adapter = self.adapter;
        shared
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
    /// With a cache, the keys and values of the tokens are stored in it.
    ///
    /// # Panics
    /// When one of cache and [`AttentionPattern::Cached`] is given without the other.
    pub fn hidden(
        &self,
        ids: &[i32],
        context: &Context,
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let mut hidden = self.embed(ids);
        for (layer, block) in self.model.layers.iter().enumerate() {
            let cache = cache.as_mut().map(|cache| cache.layer(layer));
            hidden = block.forward_with(hidden, context, cache);
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
    pub fn build<S: ParameterSource>(
        config: &LlamaConfig,
        source: &mut S,
        name: &str,
    ) -> Result<Self, WeightsError> {
        let norm = |source: &mut S, part: &str| {
            RmsNorm::build(source, &format!("{name}.{part}"), config.hidden_size)
        };
        Ok(Self {
            input_layernorm: norm(source, "input_layernorm")?,
            self_attn: Attention::build(config, source, &format!("{name}.self_attn"))?,
            post_attention_layernorm: norm(source, "post_attention_layernorm")?,
            mlp: Mlp::build(config, source, &format!("{name}.mlp"))?,
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
    pub fn forward(&self, hidden: Tensor<2>, context: &Context) -> Tensor<2> {
        self.forward_with(hidden, context, None)
    }

    fn forward_with(
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
    fn build(
        config: &LlamaConfig,
        source: &mut impl ParameterSource,
        name: &str,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            q_proj: Linear::of_block(config, source, name, Target::QProj)?,
            k_proj: Linear::of_block(config, source, name, Target::KProj)?,
            v_proj: Linear::of_block(config, source, name, Target::VProj)?,
            o_proj: Linear::of_block(config, source, name, Target::OProj)?,
            q_norm: RmsNorm::of_heads(config, source, &format!("{name}.q_norm"))?,
            k_norm: RmsNorm::of_heads(config, source, &format!("{name}.k_norm"))?,
        })
    }

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
        let heads = |x: Tensor<2>, norm: Option<&RmsNorm>, count: usize| {
            let normed = match norm {
                Some(norm) => {
                    norm.forward(x.reshape([rows * tokens * count, head_dim]), context.config)
                }
                None => x,
            };
            normed.reshape([rows, tokens, count, head_dim])
        };
        let x = Input::from(x);
        let (q_norm, k_norm) = (self.q_norm.as_ref(), self.k_norm.as_ref());
        let q = heads(self.q_proj.forward(&x, context), q_norm, num_attention_heads);
        let k = heads(self.k_proj.forward(&x, context), k_norm, num_key_value_heads);
        let v = heads(self.v_proj.forward(&x, context), None, num_key_value_heads);
        let (q, k) = rope(q, k, &context.rotary);
        let attended = match (&context.pattern, cache) {
            (AttentionPattern::Packed(visibility), None) => attention(q, k, v, visibility),
            (AttentionPattern::Cached(layout), Some(cache)) => {
                let [q, k, v] = [q, k, v].map(|x| x.squeeze_dim::<3>(0));
                cache.attend(q, k, v, layout).unsqueeze()
            }
            _ => panic!("a cache belongs to the pattern `Cached`"),
        };
        let attended = attended.reshape([rows * tokens, num_attention_heads * head_dim]);
        self.o_proj.forward(&attended.into(), context)
    }
}

impl Mlp {
    fn build(
        config: &LlamaConfig,
        source: &mut impl ParameterSource,
        name: &str,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            gate_proj: Linear::of_block(config, source, name, Target::GateProj)?,
            up_proj: Linear::of_block(config, source, name, Target::UpProj)?,
            down_proj: Linear::of_block(config, source, name, Target::DownProj)?,
        })
    }

    /// Returns the sum of `base` and the layer's output for `x`.
    fn forward_onto(&self, base: Tensor<2>, x: Tensor<2>, context: &Context) -> Tensor<2> {
        let x = Input::from(x);
        let gated = swiglu(self.gate_proj.forward(&x, context), self.up_proj.forward(&x, context));
        self.down_proj.forward_onto(base, &gated.into(), context)
    }
}

impl RmsNorm {
    fn build(
        source: &mut impl ParameterSource,
        name: &str,
        width: usize,
    ) -> Result<Self, WeightsError> {
        Ok(Self { weight: Param::from_tensor(source.tensor(&format!("{name}.weight"), [width])?) })
    }

    /// Builds a norm of heads, if the model has them.
    fn of_heads(
        config: &LlamaConfig,
        source: &mut impl ParameterSource,
        name: &str,
    ) -> Result<Option<Self>, WeightsError> {
        config.has_head_norms().then(|| Self::build(source, name, config.head_dim)).transpose()
    }

    /// Maps `[n, width]` to the same shape.
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

//! A linear layer with its adapter, in the forms that its weight may have.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use uner_kernels::dropout::DropoutSite;
use uner_kernels::{
    Input, PackedWeight, QuantFormat, QuantizedWeight, add_linear, dropped_linear, linear,
    linear_sum, packed_linear, quantized_linear,
};

use crate::config::{LlamaConfig, Target};
use crate::context::{Context, Dropout};
use crate::error::WeightsError;
use crate::source::ParameterSource;

/// A linear layer with an optional bias and an optional low-rank adapter (`LoRA`, Hu et al. 2021):
/// `x·Wᵀ + s·(x·Aᵀ)·Bᵀ + b`. The product `B·A` is never computed.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`; `[0, 0]` if it is frozen and quantised, or packed.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The quantised weight, if the layer is quantised.
    #[module(skip)]
    pub quantized: Option<QuantizedWeight>,
    /// The weight in the order of products on the CPU, in place of `weight` ([`Llama::pack`]).
    #[module(skip)]
    pub packed: Option<PackedWeight>,
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

impl Linear {
    /// Builds a layer without bias.
    pub(crate) fn build(
        source: &mut impl ParameterSource,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Self, WeightsError> {
        let weight = Param::from_tensor(source.tensor(&format!("{name}.weight"), [rows, columns])?);
        let layer_key = crc32fast::hash(name.as_bytes());
        let (quantized, packed, lora_A, lora_B, gradient_sum) = (None, None, None, None, None);
        Ok(Self {
            weight,
            bias: None,
            quantized,
            packed,
            lora_A,
            lora_B,
            lora_scale: 1.0,
            layer_key,
            gradient_sum,
        })
    }

    pub(crate) fn forward(&self, x: &Input, context: &Context) -> Tensor<2> {
        let y = match (&self.lora_A, &self.lora_B) {
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
        };
        self.with_bias(y)
    }

    /// Returns the sum of `base` and the layer's output; a plain matrix does this in one product.
    pub(crate) fn forward_onto(&self, base: Tensor<2>, x: &Input, context: &Context) -> Tensor<2> {
        let is_plain = self.quantized.is_none() && self.packed.is_none();
        if is_plain && self.lora_A.is_none() && self.gradient_sum.is_none() {
            return self.with_bias(add_linear(base, x.tensor.clone(), self.weight.val()));
        }
        base.add(self.forward(x, context))
    }

    /// Adds the bias in the type of `y`, `[tokens, out]`: on the CPU a bias may be bf16.
    fn with_bias(&self, y: Tensor<2>) -> Tensor<2> {
        let Some(bias) = &self.bias else { return y };
        let dtype = y.dtype();
        y.add(bias.val().cast(dtype).unsqueeze())
    }

    /// Computes `x · weightᵀ` for a plain, a packed or a quantised weight.
    fn product(&self, x: &Input) -> Tensor<2> {
        if let Some(weight) = &self.packed {
            return packed_linear(x.tensor.clone(), weight);
        }
        let x = x.clone();
        match (&self.quantized, &self.gradient_sum) {
            (Some(weight), _) => quantized_linear(x, weight),
            (None, Some(sum)) => linear_sum(x, self.weight.val(), sum.clone()),
            (None, None) => linear(x, self.weight.val()),
        }
    }

    /// `[out, in]`.
    pub(crate) fn dims(&self) -> [usize; 2] {
        match (&self.quantized, &self.packed) {
            (Some(weight), _) => weight.dims(),
            (None, Some(weight)) => weight.dims(),
            (None, None) => self.weight.dims(),
        }
    }

    /// Packs the weight in f32, unless it is quantised.
    pub(crate) fn pack(&mut self) {
        if self.quantized.is_none() && self.packed.is_none() {
            let weight = self.weight.val();
            self.weight = Param::from_tensor(Tensor::empty([0, 0], &weight.device()));
            self.packed = Some(PackedWeight::new(weight));
        }
    }

    /// Packs a weight that is quantised to 8 bits.
    pub(crate) fn pack_int8(&mut self) {
        if let Some(weight) = self.quantized.take_if(|weight| weight.form() == QuantFormat::Int8) {
            self.packed = Some(PackedWeight::quantized(&weight));
        }
    }

    /// Builds a layer of the module `module`, such as `model.layers.3.mlp`, with its bias if the
    /// model has one there. The weight is quantised if the source has a `base_format`.
    pub(crate) fn of_block(
        config: &LlamaConfig,
        source: &mut impl ParameterSource,
        module: &str,
        target: Target,
    ) -> Result<Self, WeightsError> {
        let name = format!("{module}.{}", target.name());
        let [columns, rows] = target.dims(config);
        let mut layer = Self::build(source, &name, rows, columns)?;
        if target.has_bias(config) {
            let bias = source.tensor(&format!("{name}.bias"), [rows])?;
            layer.bias = Some(Param::from_tensor(bias));
        }
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

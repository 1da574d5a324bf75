//! A linear layer with a frozen weight of 8 or 4 bits, and one scale per group of 64 numbers in a
//! row.
//!
//! - 8 bits: `w ≈ absmax / 127 · c`, where `c` is an integer from -127 to 127.
//! - 4 bits: `NormalFloat` (Dettmers et al. 2023, "`QLoRA`: Efficient Finetuning of Quantized
//!   LLMs", §3 and appendix E): `w ≈ absmax · NF4[c]`, where `NF4` are 16 quantiles of a normal
//!   distribution, scaled to [-1, 1]. The scales stay f32 (no double quantisation).
//!
//! Weights are dequantised where they are used: on the CPU one panel of rows at a time, on a GPU
//! into a temporary in the type of `x`, which is freed after the product.

mod backward;
mod code;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::input::{Input, InputGradient};
use crate::profile::{Pass, counted, timed};

/// Numbers that share a scale (a group).
pub const GROUP: usize = 64;

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantFormat {
    /// An integer of 8 bits.
    Int8,
    /// The index of a quantile, in 4 bits.
    Nf4,
}

impl QuantFormat {
    /// Codes per word of 32 bits, the first in the lowest bits.
    pub(crate) fn per_word(self) -> usize {
        match self {
            Self::Int8 => 4,
            Self::Nf4 => 8,
        }
    }
}

/// Format and shape of a weight, `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How its numbers are stored.
    pub form: QuantFormat,
    /// Outputs of the layer.
    pub rows: usize,
    /// Inputs of the layer. A row is stored up to the end of its last group.
    pub columns: usize,
}

impl Layout {
    /// Groups per row.
    pub(crate) fn groups(self) -> usize {
        self.columns.div_ceil(GROUP)
    }

    /// Words per row.
    pub(crate) fn words(self) -> usize {
        self.groups() * GROUP / self.form.per_word()
    }
}

/// A quantised weight, `[out, in]`.
///
/// # Shapes
/// Words `[out, words]`, scales `[out, groups]`.
#[derive(Debug, Clone)]
pub struct QuantizedWeight {
    words: Tensor<2, Int>,
    scales: Tensor<2>,
    layout: Layout,
}

impl QuantizedWeight {
    /// Quantises a weight to the nearest codes; the result is on the weight's device. The CPU
    /// computes it, because the numbers pass through it on their way from a file.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn new(weight: Tensor<2>, form: QuantFormat) -> Self {
        let ([rows, columns], device) = (weight.dims(), weight.device());
        let layout = Layout { form, rows, columns };
        let values: Vec<f32> = weight.try_into_vec_as().expect("a weight that can be read back");
        let (words, scales) = code::quantized(&values, layout);
        let words = TensorData::new(words, [rows, layout.words()]);
        Self {
            words: Tensor::from_data(words, (&device, DType::I32)),
            scales: Tensor::from_data(
                TensorData::new(scales, [rows, layout.groups()]),
                (&device, DType::F32),
            ),
            layout,
        }
    }

    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.layout.rows, self.layout.columns]
    }

    /// How its numbers are stored.
    pub fn form(&self) -> QuantFormat {
        self.layout.form
    }

    /// Words and scales of a weight of 8 bits, on the CPU.
    ///
    /// # Panics
    /// When the weight has another format; when the device cannot be read.
    pub(crate) fn int8_codes(&self) -> (Vec<i32>, Vec<f32>) {
        let form = self.layout.form;
        assert_eq!(form, QuantFormat::Int8, "a product of 8 bits packs `Int8`, not `{form:?}`");
        let readable = "a weight that can be read back";
        (
            self.words.clone().try_into_vec_as().expect(readable),
            self.scales.clone().try_into_vec_as().expect(readable),
        )
    }

    /// Dequantises the weight to f32, on the CPU.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn widened(&self) -> Vec<f32> {
        let readable = "a weight that can be read back";
        let words: Vec<i32> = self.words.clone().try_into_vec_as().expect(readable);
        let scales: Vec<f32> = self.scales.clone().try_into_vec_as().expect(readable);
        code::widened(&words, &scales, self.layout)
    }
}

/// The products of a backend.
pub trait QuantizedLinearKernels: Backend {
    /// `x · weightᵀ`.
    fn quantized_forward(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self>;
    /// The gradient of `x`: `dy · weight`, plus `addend` if given.
    fn quantized_backward_x(
        dy: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
        addend: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self>;
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait QuantizedLinearOps: Backend {
    /// See [`quantized_linear`].
    fn quantized_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
        gradient: InputGradient,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl QuantizedLinearOps for burn::backend::Cube {
    fn quantized_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::quantized_forward(x, words, scales, layout)
    }
}

#[cfg(feature = "flex")]
impl QuantizedLinearOps for burn::backend::Flex {
    fn quantized_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::quantized_forward(x, words, scales, layout)
    }
}

/// Computes `x · weightᵀ`. Only `x` has a gradient, which does not depend on `x`.
///
/// # Shapes
/// - `x`: `[tokens, in]`
/// - `weight`: `[out, in]`
/// - returns `[tokens, out]` in the type of `x`
///
/// # Panics
/// When the two `in` differ.
pub fn quantized_linear(x: impl Into<Input>, weight: &QuantizedWeight) -> Tensor<2> {
    let Input { tensor: x, gradient } = x.into();
    assert_eq!(
        x.dims()[1],
        weight.layout.columns,
        "`x` {:?} does not fit the weight {:?}",
        x.dims(),
        weight.layout
    );
    timed("quantized_linear", Pass::Forward, || {
        counted(x.dims()[0], weight.layout.rows, weight.layout.columns);
        Tensor::from_dispatch(<Dispatch as QuantizedLinearOps>::quantized_linear(
            x.into_dispatch(),
            weight.words.clone().into_dispatch(),
            weight.scales.clone().into_dispatch(),
            weight.layout,
            gradient,
        ))
    })
}

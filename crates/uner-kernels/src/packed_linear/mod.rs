//! A linear layer for inference on the CPU, whose weight is stored in the order in which a product
//! reads it.
//!
//! The product of `gemm` copies the weight into that order at every call, which is most of the work
//! for the few rows of a decoding step. Here every output adds its terms in the order of `in`,
//! whatever the number of rows, so a row of the result has the same bits in every batch.
//!
//! The weight has f32, or 8 bits and a scale per group: a decoding step takes the time of reading
//! the weights, so it takes a quarter of it.

mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod float;
mod int8;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::profile::{Pass, counted, timed};
use crate::quantized_linear::QuantizedWeight;
use cpu::Panels;
use float::FloatPanels;
use int8::Int8Panels;

/// Outputs whose weights lie side by side: two vectors of AVX-512.
pub(crate) const PANEL: usize = 32;

/// A packed weight, `[out, in]`.
#[derive(Debug, Clone)]
pub struct PackedWeight(Stored);

#[derive(Debug, Clone)]
enum Stored {
    Float(FloatPanels),
    Int8(Int8Panels),
}

impl PackedWeight {
    /// Packs a weight, `[out, in]`, f32 or bf16.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn new(weight: Tensor<2>) -> Self {
        let dims = weight.dims();
        let values: Vec<f32> = weight.try_into_vec_as().expect("a weight that can be read back");
        Self(Stored::Float(FloatPanels::new(&values, dims)))
    }

    /// Packs a weight of 8 bits. Its products quantise `x` to 8 bits, too.
    ///
    /// # Panics
    /// When the weight has another format; when the device cannot be read.
    pub fn quantized(weight: &QuantizedWeight) -> Self {
        let (words, scales) = weight.int8_codes();
        Self(Stored::Int8(Int8Panels::new(&words, &scales, weight.dims())))
    }

    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        match &self.0 {
            Stored::Float(panels) => panels.dims(),
            Stored::Int8(panels) => panels.dims(),
        }
    }

    /// The weight in f32, row by row.
    pub fn values(&self) -> Vec<f32> {
        match &self.0 {
            Stored::Float(panels) => panels.values(),
            Stored::Int8(panels) => panels.values(),
        }
    }
}

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait PackedLinearOps: Backend {
    /// See [`packed_linear`].
    fn packed_linear(x: FloatTensor<Self>, weight: PackedWeight) -> FloatTensor<Self>;
}

/// Computes `x · weightᵀ`.
///
/// # Shapes
/// - `x`: `[tokens, in]`, f32 on the CPU
/// - returns `[tokens, out]`
///
/// # Panics
/// When the two `in` differ; on a GPU runtime.
pub fn packed_linear(x: Tensor<2>, weight: &PackedWeight) -> Tensor<2> {
    let ([tokens, input], [outputs, inputs]) = (x.dims(), weight.dims());
    assert_eq!(input, inputs, "`x` {:?} does not fit `weight` {:?}", x.dims(), weight.dims());
    timed("packed_linear", Pass::Forward, || {
        counted(tokens, outputs, inputs);
        let y = <Dispatch as PackedLinearOps>::packed_linear(x.into_dispatch(), weight.clone());
        Tensor::from_dispatch(y)
    })
}

//! A linear layer for inference on the CPU, whose weight is stored in the order in which a product
//! reads it.
//!
//! The product of `gemm` copies the weight into that order at every call, which is most of the work
//! for the few rows of a decoding step. Here every output adds its terms in the order of `in`,
//! whatever the number of rows, so a row of the result has the same bits in every batch.

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use std::sync::Arc;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::profile::{Pass, counted, timed};

/// Outputs whose weights lie side by side: two vectors of AVX-512.
pub(crate) const PANEL: usize = 32;

/// A packed weight, `[out, in]`: panels of 32 outputs, `[panels, in, 32]` in f32, the last one
/// filled up with zeros.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    panels: Arc<[f32]>,
    outputs: usize,
    inputs: usize,
}

impl PackedWeight {
    /// Packs a weight, `[out, in]`, f32 or bf16.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn new(weight: Tensor<2>) -> Self {
        let [outputs, inputs] = weight.dims();
        let values: Vec<f32> = weight.try_into_vec_as().expect("a weight that can be read back");
        let mut panels = vec![0.0; outputs.div_ceil(PANEL) * inputs * PANEL];
        let rows = values.chunks_exact(inputs.max(1)).enumerate();
        for (output, row) in rows {
            let panel = &mut panels[output / PANEL * inputs * PANEL..];
            for (column, &value) in row.iter().enumerate() {
                panel[column * PANEL + output % PANEL] = value;
            }
        }
        Self { panels: panels.into(), outputs, inputs }
    }

    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    /// The weight as it was packed, row by row.
    pub fn values(&self) -> Vec<f32> {
        let value = |index: usize| {
            let (output, column) = (index / self.inputs, index % self.inputs);
            self.panels[(output / PANEL * self.inputs + column) * PANEL + output % PANEL]
        };
        (0..self.outputs * self.inputs).map(value).collect()
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

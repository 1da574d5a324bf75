//! Tensors that are written to a safetensors file.

use std::borrow::Cow;

use burn::tensor::{DType, TensorData};
use safetensors::Dtype;
use safetensors::tensor::View;

use crate::parameters::Parameter;

/// A tensor in host memory, which later steps do not change. It is converted to the element type of
/// the file when it is written.
#[derive(Debug, Clone)]
pub struct HostTensor {
    values: TensorData,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl HostTensor {
    /// Wraps numbers that are in host memory already. They are written in their own type.
    ///
    /// # Panics
    /// When they are neither f32 nor bytes.
    pub fn new(values: TensorData) -> Self {
        let dtype = match values.dtype() {
            DType::F32 => Dtype::F32,
            DType::U8 => Dtype::U8,
            other => panic!("optimizer state is f32 or bytes, not {other:?}"),
        };
        Self { shape: values.shape().to_vec(), values, dtype }
    }

    /// Wraps numbers that were read from a device, `[n]`. They are written in this shape as
    /// `dtype`, which is `F32`, `F16` or `BF16`.
    pub fn of(values: TensorData, shape: Vec<usize>, dtype: Dtype) -> Self {
        Self { values, shape, dtype }
    }
}

impl View for HostTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let dtype = number(self.dtype);
        if self.values.dtype() == dtype {
            return Cow::Borrowed(self.values.as_bytes());
        }
        Cow::Owned(self.values.clone().convert_dtype(dtype).as_bytes().to_vec())
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// A parameter that is read from the device only when it is written.
pub(super) struct Pending {
    pub(super) parameter: Parameter,
    pub(super) dtype: Dtype,
}

impl View for Pending {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.parameter.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.parameter.values.clone().into_data();
        Cow::Owned(values.convert_dtype(number(self.dtype)).as_bytes().to_vec())
    }

    fn data_len(&self) -> usize {
        self.parameter.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Converts an element type of safetensors to burn's.
fn number(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::U8 => DType::U8,
        other => panic!("weights are floats, and moments are floats or bytes, not {other:?}"),
    }
}

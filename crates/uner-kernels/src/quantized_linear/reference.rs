//! The layer in burn operations: the host dequantises the weight, burn multiplies.

use burn::tensor::{Tensor, TensorData};

use super::QuantizedWeight;

/// See [`super::quantized_linear`].
pub fn reference(x: Tensor<2>, weight: &QuantizedWeight) -> Tensor<2> {
    let widened = TensorData::new(weight.widened(), weight.dims());
    let widened = Tensor::<2>::from_data(widened, &x.device()).cast(x.dtype());
    x.matmul(widened.transpose())
}

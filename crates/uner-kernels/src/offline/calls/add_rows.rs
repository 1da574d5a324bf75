use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::add_rows::AddRowsOps;

/// Rows of a model, and rows of a width that no vector divides.
pub(super) fn calls() -> Vec<Call> {
    over(&[4096, 33])
        .map(|(dtype, hidden)| {
            call(format!("{} hidden {hidden}", name(dtype)), move |device| {
                let (sum, rows) = (
                    device.tensor([8, hidden], DType::F32),
                    device.tensor([TOKENS, hidden], dtype),
                );
                let ints = |count| device.tensor([count], DType::I32);
                Cube::add_rows(sum, rows, ints(TOKENS), ints(8), ints(9));
            })
        })
        .collect()
}

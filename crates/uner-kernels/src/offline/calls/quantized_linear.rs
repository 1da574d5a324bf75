use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, TOKENS, call, name, over};
use crate::quantized_linear::{Layout, QuantFormat, QuantizedLinearKernels};

/// A layer of a model, and one whose rows end within a group. One kernel serves both directions.
pub(super) fn calls() -> Vec<Call> {
    let forms = over(&[
        (QuantFormat::Int8, [4_096, 4_096]),
        (QuantFormat::Nf4, [4_096, 4_096]),
        (QuantFormat::Nf4, [33, 70]),
    ]);
    forms
        .map(|(dtype, (form, [rows, columns]))| {
            let layout = Layout { form, rows, columns };
            call(format!("{} {form:?} {rows}x{columns}", name(dtype)), move |device| {
                let words = || device.tensor([rows, layout.words()], DType::I32);
                let scales = || device.tensor([rows, layout.groups()], DType::F32);
                Cube::quantized_forward(
                    device.tensor([TOKENS, columns], dtype),
                    words(),
                    scales(),
                    layout,
                );
                Cube::quantized_backward_x(
                    device.tensor([TOKENS, rows], dtype),
                    words(),
                    scales(),
                    layout,
                    None,
                );
            })
        })
        .collect()
}

//! The calls that are recorded: each op of a GPU runtime, over the element types it serves, the widths of the models
//! that are trained and one width that no vector divides.

use burn::backend::Cube;
use burn::tensor::DType;

use super::recorder::Recorder;
use crate::rms_norm::RmsNormKernels;

/// One call of an op.
pub(super) struct Call {
    /// The directory of the op.
    pub(super) op: &'static str,
    /// Which of its forms, for the label.
    pub(super) form: String,
    pub(super) run: Box<dyn Fn(&Recorder)>,
}

/// The element types that every op serves.
const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
/// Tokens of a call. What is compiled does not depend on them.
const TOKENS: usize = 512;

/// Every call, in the order of the table.
pub(super) fn calls() -> Vec<Call> {
    rms_norm()
}

fn call(op: &'static str, form: String, run: impl Fn(&Recorder) + 'static) -> Call {
    Call { op, form, run: Box::new(run) }
}

/// The name of an element type in labels.
fn name(dtype: DType) -> String {
    format!("{dtype:?}").to_lowercase()
}

fn rms_norm() -> Vec<Call> {
    let widths = [288, 4096, 5120, 7];
    let forms = FLOATS.into_iter().flat_map(|dtype| widths.map(|hidden| (dtype, hidden)));
    forms
        .map(|(dtype, hidden)| {
            call("rms_norm", format!("{} hidden {hidden}", name(dtype)), move |device| {
                let weight = device.tensor([hidden], dtype);
                let rows = || device.tensor([TOKENS, hidden], dtype);
                Cube::rms_norm_forward(rows(), weight.clone(), 1e-6);
                Cube::rms_norm_backward(rows(), weight, 1e-6, rows(), true);
            })
        })
        .collect()
}

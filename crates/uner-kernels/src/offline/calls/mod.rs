//! The recorded calls: each op of a GPU runtime, over the element types it supports, the sizes of
//! the trained models, and sizes that no vector divides.

mod accumulate;
mod adamw;
mod add_rows;
mod attention;
mod cached_attention;
mod dropout;
mod linear;
mod linear_cross_entropy;
mod quantized_linear;
mod rms_norm;
mod rope;
mod sparse_linear;
mod squared_norm;
mod swiglu;

use burn::tensor::DType;

use super::recorder::Recorder;

/// One call of an op, or its forward and its backward pass.
pub(super) struct Call {
    /// The form of the op, for the label.
    pub(super) form: String,
    pub(super) run: Box<dyn Fn(&Recorder)>,
}

/// The element types that every op supports.
const FLOATS: [DType; 2] = [DType::F32, DType::BF16];
/// Tokens of a call. The compiled code does not depend on their number.
const TOKENS: usize = 512;

/// Every call, op by op.
pub(super) fn calls() -> Vec<Call> {
    let ops = [
        accumulate::calls,
        add_rows::calls,
        adamw::calls,
        attention::calls,
        cached_attention::calls,
        dropout::calls,
        linear::calls,
        linear_cross_entropy::calls,
        quantized_linear::calls,
        rms_norm::calls,
        rope::calls,
        sparse_linear::calls,
        squared_norm::calls,
        swiglu::calls,
    ];
    ops.into_iter().flat_map(|calls| calls()).collect()
}

fn call(form: String, run: impl Fn(&Recorder) + 'static) -> Call {
    Call { form, run: Box::new(run) }
}

/// Each element type with each of the sizes.
fn over<T: Copy>(sizes: &[T]) -> impl Iterator<Item = (DType, T)> {
    FLOATS.into_iter().flat_map(|dtype| sizes.iter().map(move |size| (dtype, *size)))
}

/// The name of an element type in labels.
fn name(dtype: DType) -> String {
    format!("{dtype:?}").to_lowercase()
}

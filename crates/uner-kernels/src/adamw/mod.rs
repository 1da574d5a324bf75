//! AdamW (Loshchilov and Hutter 2019): Adam with decay decoupled from the gradient, moments and arithmetic in f32.

#[cfg(feature = "flex")]
mod cpu;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// The operator. It has no gradient.
#[backend_extension(Flex: cfg(feature = "flex"))]
pub trait AdamWOps: Backend {
    /// See [`adamw`]: `(master, grad, exp_avg, exp_avg_sq)` to new `(master, exp_avg, exp_avg_sq)`.
    fn adamw(
        master: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// What AdamW remembers of one parameter.
///
/// # Shapes
/// All `[n]`, f32.
#[derive(Debug, Clone)]
pub struct AdamWState {
    /// The f32 value of a parameter that is stored in a shorter type; `None` where the parameter itself is f32.
    pub master: Option<Tensor<1>>,
    /// First moment.
    pub exp_avg: Tensor<1>,
    /// Second moment.
    pub exp_avg_sq: Tensor<1>,
}

/// The scalars of one update of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate of this update.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the bias-corrected second moment.
    pub eps: f64,
    /// Share of the parameter, times `lr`, that is taken off before the update.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
    /// Factor on the gradient: 1 / trained tokens × clip factor.
    pub grad_scale: f64,
}

/// One update: returns the new parameter and state.
///
/// # Shapes
/// - `param`, `grad`, state: `[n]`
///
/// # Panics
/// When the lengths differ.
pub fn adamw(
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
    step: &AdamWStep,
) -> (Tensor<1>, AdamWState) {
    assert_eq!(param.dims(), grad.dims(), "`param` and `grad` differ in length");
    assert_eq!(param.dims(), state.exp_avg.dims(), "`param` and its moments differ in length");
    let dtype = param.dtype();
    let keeps_master = state.master.is_some();
    let (master, exp_avg, exp_avg_sq) = <Dispatch as AdamWOps>::adamw(
        state.master.unwrap_or(param).into_dispatch(),
        grad.into_dispatch(),
        state.exp_avg.into_dispatch(),
        state.exp_avg_sq.into_dispatch(),
        *step,
    );
    let master = Tensor::from_dispatch(master);
    let state = AdamWState {
        master: keeps_master.then(|| master.clone()),
        exp_avg: Tensor::from_dispatch(exp_avg),
        exp_avg_sq: Tensor::from_dispatch(exp_avg_sq),
    };
    (master.cast(dtype), state)
}

//! AdamW (Loshchilov and Hutter 2019): Adam with decay decoupled from the gradient, moments and arithmetic in f32.

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
#[cfg(feature = "cube")]
use cubecl::prelude::*;

use crate::profile::{Pass, timed};

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait AdamWOps: Backend {
    /// See [`adamw`], of an f32 parameter: returns the new `(param, exp_avg, exp_avg_sq)`.
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// See [`adamw`], of a parameter with a master, whose own value is not read: returns the new
    /// `(param, master, exp_avg, exp_avg_sq)`.
    fn adamw_with_master(
        param: FloatTensor<Self>,
        master: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
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

/// The scalars of an update as the inner loops want them, rounded once.
#[cfg_attr(feature = "cube", derive(CubeType, CubeLaunch))]
#[derive(Clone, Copy)]
struct Factors {
    grad: f32,
    beta1: f32,
    /// 1 - beta1
    rest1: f32,
    beta2: f32,
    /// 1 - beta2
    rest2: f32,
    /// What decay leaves of the parameter.
    keep: f32,
    /// Learning rate over the first moment's bias correction.
    lr: f32,
    /// The reciprocal root of the second moment's bias correction.
    root: f32,
    eps: f32,
}

impl Factors {
    fn new(step: &AdamWStep) -> Self {
        let correction1 = 1.0 - step.beta1.powi(step.step as i32);
        let correction2 = 1.0 - step.beta2.powi(step.step as i32);
        Self {
            grad: step.grad_scale as f32,
            beta1: step.beta1 as f32,
            rest1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            rest2: (1.0 - step.beta2) as f32,
            keep: (1.0 - step.lr * step.weight_decay) as f32,
            lr: (step.lr / correction1) as f32,
            root: (1.0 / correction2.sqrt()) as f32,
            eps: step.eps as f32,
        }
    }
}

/// One update: returns the new parameter and state, in the buffers of the old ones where nobody else holds these.
///
/// # Shapes
/// - `param`, `grad`, state: `[n]`; the types of `param` and `grad` may differ
///
/// # Panics
/// When the lengths differ, or a parameter without a master is not f32.
pub fn adamw(
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
    step: &AdamWStep,
) -> (Tensor<1>, AdamWState) {
    let AdamWState { master, exp_avg, exp_avg_sq } = state;
    for (what, other) in [("gradient", &grad), ("first moment", &exp_avg), ("second moment", &exp_avg_sq)] {
        assert_eq!(param.dims(), other.dims(), "the parameter and its {what} differ in length");
    }
    if let Some(master) = &master {
        assert_eq!(param.dims(), master.dims(), "the parameter and its master differ in length");
    }
    let (param, grad) = (param.into_dispatch(), grad.into_dispatch());
    let (exp_avg, exp_avg_sq) = (exp_avg.into_dispatch(), exp_avg_sq.into_dispatch());
    let (param, master, exp_avg, exp_avg_sq) = timed("adamw", Pass::Forward, || match master {
        None => {
            let (param, exp_avg, exp_avg_sq) =
                <Dispatch as AdamWOps>::adamw(param, grad, exp_avg, exp_avg_sq, *step);
            (param, None, exp_avg, exp_avg_sq)
        }
        Some(master) => {
            let master = master.into_dispatch();
            let (param, master, exp_avg, exp_avg_sq) =
                <Dispatch as AdamWOps>::adamw_with_master(param, master, grad, exp_avg, exp_avg_sq, *step);
            (param, Some(Tensor::from_dispatch(master)), exp_avg, exp_avg_sq)
        }
    });
    let (exp_avg, exp_avg_sq) = (Tensor::from_dispatch(exp_avg), Tensor::from_dispatch(exp_avg_sq));
    (Tensor::from_dispatch(param), AdamWState { master, exp_avg, exp_avg_sq })
}

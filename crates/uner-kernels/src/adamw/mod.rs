//! AdamW (Loshchilov and Hutter 2019): Adam with decay decoupled from the gradient, arithmetic in f32. Moments are f32, or 8 bits
//! each ([`code`]). Parameters are f32; or in a shorter type, rounded to nearest, beside an f32 master; or bf16 without one: then
//! each update rounds to one of the two neighbours by chance, so that the expectation is exact and small updates are not lost.

pub mod code;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, Tensor};
#[cfg(feature = "cube")]
use cubecl::prelude::*;

use crate::profile::{Pass, timed};

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait AdamWOps: Backend {
    /// See [`adamw`], of an f32 parameter, or of a bf16 one, which is rounded at random: returns the new `(param, exp_avg, exp_avg_sq)`.
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
    /// As [`AdamWOps::adamw`] with moments in 8 bits: returns the new `(param, words)`.
    fn adamw_8bit(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, IntTensor<Self>);
    /// As [`AdamWOps::adamw_with_master`] with moments in 8 bits: returns the new `(param, master, words)`.
    fn adamw_8bit_with_master(
        param: FloatTensor<Self>,
        master: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, IntTensor<Self>);
}

/// What AdamW remembers of one parameter.
#[derive(Debug, Clone)]
pub struct AdamWState {
    /// The f32 value, `[n]`, of a parameter that is stored in a shorter type; `None` where the parameter itself is all there is.
    pub master: Option<Tensor<1>>,
    /// First and second moment.
    pub moments: Moments,
}

/// First and second moment of a parameter.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each parameter, not for each element")]
pub enum Moments {
    /// In f32, each `[n]`.
    Float {
        /// First moment.
        exp_avg: Tensor<1>,
        /// Second moment.
        exp_avg_sq: Tensor<1>,
    },
    /// In 8 bits each.
    EightBit {
        /// `[code::num_words(n)]`, 32 bits each: see [`code`]. Zeros are zeros.
        words: Tensor<1, Int>,
    },
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
    /// A number for the parameter: what is rounded at random draws by this, the number of the update and that of the element.
    pub key: u32,
    /// The number of the first element within the parameter, where this is a part of one.
    pub first: usize,
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
/// When the lengths differ, or a parameter without a master is neither f32 nor bf16.
pub fn adamw(
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
    step: &AdamWStep,
) -> (Tensor<1>, AdamWState) {
    check(&param, &grad, &state);
    let AdamWState { master, moments } = state;
    let (param, grad) = (param.into_dispatch(), grad.into_dispatch());
    let master = master.map(Tensor::into_dispatch);
    let (param, master, moments) = timed("adamw", Pass::Forward, || match (master, moments) {
        (None, Moments::Float { exp_avg, exp_avg_sq }) => {
            let (exp_avg, exp_avg_sq) = (exp_avg.into_dispatch(), exp_avg_sq.into_dispatch());
            let (param, exp_avg, exp_avg_sq) =
                <Dispatch as AdamWOps>::adamw(param, grad, exp_avg, exp_avg_sq, *step);
            (param, None, float(exp_avg, exp_avg_sq))
        }
        (Some(master), Moments::Float { exp_avg, exp_avg_sq }) => {
            let (exp_avg, exp_avg_sq) = (exp_avg.into_dispatch(), exp_avg_sq.into_dispatch());
            let (param, master, exp_avg, exp_avg_sq) =
                <Dispatch as AdamWOps>::adamw_with_master(param, master, grad, exp_avg, exp_avg_sq, *step);
            (param, Some(master), float(exp_avg, exp_avg_sq))
        }
        (None, Moments::EightBit { words }) => {
            let (param, words) =
                <Dispatch as AdamWOps>::adamw_8bit(param, grad, words.into_dispatch(), *step);
            (param, None, eight_bit(words))
        }
        (Some(master), Moments::EightBit { words }) => {
            let words = words.into_dispatch();
            let (param, master, words) =
                <Dispatch as AdamWOps>::adamw_8bit_with_master(param, master, grad, words, *step);
            (param, Some(master), eight_bit(words))
        }
    });
    (Tensor::from_dispatch(param), AdamWState { master: master.map(Tensor::from_dispatch), moments })
}

fn float(exp_avg: FloatTensor<Dispatch>, exp_avg_sq: FloatTensor<Dispatch>) -> Moments {
    Moments::Float { exp_avg: Tensor::from_dispatch(exp_avg), exp_avg_sq: Tensor::from_dispatch(exp_avg_sq) }
}

fn eight_bit(words: IntTensor<Dispatch>) -> Moments {
    Moments::EightBit { words: Tensor::from_dispatch(words) }
}

fn check(param: &Tensor<1>, grad: &Tensor<1>, state: &AdamWState) {
    let [count] = param.dims();
    let same = |what: &str, other: [usize; 1], expected: usize| {
        assert_eq!(other, [expected], "the {what} of a parameter of {count} elements");
    };
    same("gradient", grad.dims(), count);
    match &state.moments {
        Moments::Float { exp_avg, exp_avg_sq } => {
            same("first moment", exp_avg.dims(), count);
            same("second moment", exp_avg_sq.dims(), count);
        }
        Moments::EightBit { words } => same("words of moments", words.dims(), code::num_words(count)),
    }
    match &state.master {
        Some(master) => same("master", master.dims(), count),
        None => assert!(
            matches!(param.dtype(), DType::F32 | DType::BF16),
            "a parameter without a master is f32 or bf16, not {:?}",
            param.dtype()
        ),
    }
}

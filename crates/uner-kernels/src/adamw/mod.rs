//! AdamW (Loshchilov and Hutter 2019): Adam with decay decoupled from the gradient, arithmetic in
//! f32. Moments are f32, or 8 bits each ([`code`]). Parameters are f32; or bf16, rounded to
//! nearest, beside the 16 bits that these lack of their f32 values ([`rest`]), the masters; or bf16
//! alone: then each update rounds to one of the two neighbours by chance, so that the expectation
//! is exact and small updates are not lost.

pub mod code;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;
pub mod rest;

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
    /// See [`adamw`], of an f32 parameter, or of a bf16 one, which is rounded at random: returns
    /// the new `(param, exp_avg, exp_avg_sq)`.
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// See [`adamw`], of a parameter with a rest: returns the new
    /// `(param, rest, exp_avg, exp_avg_sq)`.
    fn adamw_with_rest(
        param: FloatTensor<Self>,
        rest: IntTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// As [`AdamWOps::adamw`] with moments in 8 bits: returns the new `(param, words)`.
    fn adamw_8bit(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, IntTensor<Self>);
    /// As [`AdamWOps::adamw_with_rest`] with moments in 8 bits: returns the new
    /// `(param, rest, words)`.
    fn adamw_8bit_with_rest(
        param: FloatTensor<Self>,
        rest: IntTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, IntTensor<Self>, IntTensor<Self>);
    /// See [`parted`].
    fn parted(value: FloatTensor<Self>, dtype: DType) -> (FloatTensor<Self>, IntTensor<Self>);
}

/// What AdamW remembers of one parameter.
#[derive(Debug, Clone)]
pub struct AdamWState {
    /// What a parameter in bf16 lacks of its f32 value, `[rest::num_words(n)]`, 32 bits each: see
    /// [`rest`]; `None` where the parameter itself is all there is.
    pub rest: Option<Tensor<1, Int>>,
    /// First and second moment.
    pub moments: Moments,
}

/// First and second moment of a parameter.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each parameter, not for each element"
)]
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
    /// A number for the parameter: what is rounded at random draws by this, the number of the
    /// update and that of the element.
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

/// One update: returns the new parameter and state, in the buffers of the old ones where nobody
/// else holds these.
///
/// # Shapes
/// - `param`, `grad`, state: `[n]`; the types of `param` and `grad` may differ
///
/// # Panics
/// When the lengths differ, or the parameter is neither f32 nor bf16.
pub fn adamw(
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
    step: &AdamWStep,
) -> (Tensor<1>, AdamWState) {
    check(&param, &grad, &state);
    let AdamWState { rest, moments } = state;
    let (param, grad) = (param.into_dispatch(), grad.into_dispatch());
    let rest = rest.map(Tensor::into_dispatch);
    let (param, rest, moments) = timed("adamw", Pass::Forward, || match (rest, moments) {
        (None, Moments::Float { exp_avg, exp_avg_sq }) => {
            let (exp_avg, exp_avg_sq) = (exp_avg.into_dispatch(), exp_avg_sq.into_dispatch());
            let (param, exp_avg, exp_avg_sq) =
                <Dispatch as AdamWOps>::adamw(param, grad, exp_avg, exp_avg_sq, *step);
            (param, None, float(exp_avg, exp_avg_sq))
        }
        (Some(rest), Moments::Float { exp_avg, exp_avg_sq }) => {
            let (exp_avg, exp_avg_sq) = (exp_avg.into_dispatch(), exp_avg_sq.into_dispatch());
            let (param, rest, exp_avg, exp_avg_sq) = <Dispatch as AdamWOps>::adamw_with_rest(
                param, rest, grad, exp_avg, exp_avg_sq, *step,
            );
            (param, Some(rest), float(exp_avg, exp_avg_sq))
        }
        (None, Moments::EightBit { words }) => {
            let (param, words) =
                <Dispatch as AdamWOps>::adamw_8bit(param, grad, words.into_dispatch(), *step);
            (param, None, eight_bit(words))
        }
        (Some(rest), Moments::EightBit { words }) => {
            let words = words.into_dispatch();
            let (param, rest, words) =
                <Dispatch as AdamWOps>::adamw_8bit_with_rest(param, rest, grad, words, *step);
            (param, Some(rest), eight_bit(words))
        }
    });
    (Tensor::from_dispatch(param), AdamWState { rest: rest.map(Tensor::from_dispatch), moments })
}

/// The values, `[n]`, as a parameter of type `dtype` and its rest, `[rest::num_words(n)]`. The type
/// is bf16; or f32, whose lower 16 bits are then zeros, for devices without bf16.
///
/// # Panics
/// When it is another type.
pub fn parted(value: Tensor<1>, dtype: DType) -> (Tensor<1>, Tensor<1, Int>) {
    assert!(
        matches!(dtype, DType::F32 | DType::BF16),
        "a parameter with a rest is bf16, not {dtype:?}"
    );
    let (param, rest) =
        <Dispatch as AdamWOps>::parted(value.cast(DType::F32).into_dispatch(), dtype);
    (Tensor::from_dispatch(param), Tensor::from_dispatch(rest))
}

fn float(exp_avg: FloatTensor<Dispatch>, exp_avg_sq: FloatTensor<Dispatch>) -> Moments {
    Moments::Float {
        exp_avg: Tensor::from_dispatch(exp_avg),
        exp_avg_sq: Tensor::from_dispatch(exp_avg_sq),
    }
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
        Moments::EightBit { words } => {
            same("words of moments", words.dims(), code::num_words(count));
        }
    }
    if let Some(rest) = &state.rest {
        same("words of rests", rest.dims(), rest::num_words(count));
    }
    let dtype = param.dtype();
    assert!(matches!(dtype, DType::F32 | DType::BF16), "a parameter is f32 or bf16, not {dtype:?}");
}

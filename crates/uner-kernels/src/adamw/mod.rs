//! AdamW (Loshchilov and Hutter 2019): Adam with decoupled weight decay, in f32 arithmetic. Moments
//! are f32, or 8 bits each ([`code`]). Parameters are f32; or bf16 rounded to nearest, beside the
//! 16 bits that complete them to their f32 masters ([`rest`]); or bf16 alone. The last are rounded
//! stochastically at each update, so that the expectation is exact and small updates are not lost.

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
    /// See [`adamw`], for an f32 parameter, or a bf16 one with stochastic rounding. Returns the new
    /// `(param, exp_avg, exp_avg_sq)`.
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// See [`adamw`], for a parameter with a rest. Returns the new
    /// `(param, rest, exp_avg, exp_avg_sq)`.
    fn adamw_with_rest(
        param: FloatTensor<Self>,
        rest: IntTensor<Self>,
        grad: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, IntTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// As [`AdamWOps::adamw`] with 8-bit moments. Returns the new `(param, words)`.
    fn adamw_8bit(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, IntTensor<Self>);
    /// As [`AdamWOps::adamw_with_rest`] with 8-bit moments. Returns the new `(param, rest, words)`.
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

/// Optimizer state of one parameter.
#[derive(Debug, Clone)]
pub struct AdamWState {
    /// The bits that a bf16 parameter lacks of its f32 value, `[rest::num_words(n)]`, 32 bits each:
    /// see [`rest`]. `None` if the parameter alone is the value.
    pub rest: Option<Tensor<1, Int>>,
    /// First and second moment.
    pub moments: Moments,
}

/// First and second moment of a parameter.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one value per parameter, not per element")]
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
        /// `[code::num_words(n)]`, 32 bits each: see [`code`]. Words of zeros are moments of zero.
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
    /// Weight decay: the update first multiplies the parameter by `1 - lr · weight_decay`.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
    /// Factor on the gradient: 1 / trained tokens × clip factor.
    pub grad_scale: f64,
    /// Random key of the parameter. Stochastic rounding hashes it with the step and the element's
    /// index.
    pub key: u32,
    /// Index of the first element within the whole parameter, if this is a shard.
    pub first: usize,
}

/// The scalars of an update, rounded once to f32 for the inner loops.
#[cfg_attr(feature = "cube", derive(CubeType, CubeLaunch))]
#[derive(Clone, Copy)]
struct Factors {
    grad: f32,
    beta1: f32,
    /// 1 - beta1
    one_minus_beta1: f32,
    beta2: f32,
    /// 1 - beta2
    one_minus_beta2: f32,
    /// Factor on the parameter that applies weight decay.
    decay: f32,
    /// Learning rate divided by the first moment's bias correction.
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
            one_minus_beta1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            one_minus_beta2: (1.0 - step.beta2) as f32,
            decay: (1.0 - step.lr * step.weight_decay) as f32,
            lr: (step.lr / correction1) as f32,
            root: (1.0 / correction2.sqrt()) as f32,
            eps: step.eps as f32,
        }
    }
}

/// Makes one update. Returns the new parameter and state, in the buffers of the old ones if they
/// are not shared.
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

/// Splits values, `[n]`, into a parameter of type `dtype` and its rest, `[rest::num_words(n)]`.
/// `dtype` is bf16, or f32 for devices without bf16: the parameter's lower 16 bits are then zeros.
///
/// # Panics
/// When `dtype` is another type.
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

//! Root-mean-square normalisation (Zhang and Sennrich 2019), alone or fused with the residual
//! addition before it: `y = x / sqrt(mean(x²) + eps) · weight`, with statistics in f32.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::{reference, reference_add};

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::profile::{Pass, timed};

/// The forward and the backward kernel of a backend.
pub trait RmsNormKernels: Backend {
    /// The norm of each row.
    fn rms_norm_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self>;
    /// The sum of `x` and `residual`, and the norm of each of its rows.
    fn add_rms_norm_forward(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The gradient of `x`, plus `residual_grad` if given, and, if wanted, that of `weight`.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        dy: FloatTensor<Self>,
        residual_grad: Option<FloatTensor<Self>>,
        wants_weight: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait RmsNormOps: Backend {
    /// See [`rms_norm`].
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
    /// See [`fork_rms_norm`].
    fn fork_rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// See [`add_rms_norm`].
    fn add_rms_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "cube")]
impl RmsNormOps for burn::backend::Cube {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        Self::rms_norm_forward(x, weight, eps)
    }

    fn fork_rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        (x.clone(), Self::rms_norm_forward(x, weight, eps))
    }

    fn add_rms_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        Self::add_rms_norm_forward(x, residual, weight, eps)
    }
}

#[cfg(feature = "flex")]
impl RmsNormOps for burn::backend::Flex {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        Self::rms_norm_forward(x, weight, eps)
    }

    fn fork_rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        (x.clone(), Self::rms_norm_forward(x, weight, eps))
    }

    fn add_rms_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        Self::add_rms_norm_forward(x, residual, weight, eps)
    }
}

/// Computes the norm of each row.
///
/// # Shapes
/// - `x`: `[tokens, hidden]`
/// - `weight`: `[hidden]`
/// - returns `[tokens, hidden]`
///
/// # Panics
/// When the two `hidden` differ.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    check(&x, &weight);
    timed("rms_norm", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as RmsNormOps>::rms_norm(
            x.into_dispatch(),
            weight.into_dispatch(),
            eps,
        ))
    })
}

/// Computes the norm of each row of a tensor that is used elsewhere, too. Returns
/// `(x, rms_norm(x))`; use both. The norm's backward kernel adds the gradient of the returned `x`,
/// without a pass of its own.
///
/// # Shapes
/// - `x`, and both results: `[tokens, hidden]`
/// - `weight`: `[hidden]`
///
/// # Panics
/// When the two `hidden` differ; in the backward pass, when the loss depends on the returned `x`
/// but not on the norm.
pub fn fork_rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> (Tensor<2>, Tensor<2>) {
    check(&x, &weight);
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    let (x, y) = timed("rms_norm", Pass::Forward, || {
        <Dispatch as RmsNormOps>::fork_rms_norm(x, weight, eps)
    });
    (Tensor::from_dispatch(x), Tensor::from_dispatch(y))
}

/// Computes the sum `h = x + residual` and its norm. Returns `(h, rms_norm(h))`; use both, as with
/// [`fork_rms_norm`].
///
/// # Shapes
/// - `x`, `residual`, and both results: `[tokens, hidden]`
/// - `weight`: `[hidden]`
///
/// # Panics
/// When the shapes differ; in the backward pass, when the loss depends on `h` but not on the norm.
pub fn add_rms_norm(
    x: Tensor<2>,
    residual: Tensor<2>,
    weight: Tensor<1>,
    eps: f64,
) -> (Tensor<2>, Tensor<2>) {
    check(&x, &weight);
    assert_eq!(x.dims(), residual.dims(), "`x` and `residual` differ in shape");
    let (x, residual, weight) =
        (x.into_dispatch(), residual.into_dispatch(), weight.into_dispatch());
    let (sum, y) = timed("rms_norm", Pass::Forward, || {
        <Dispatch as RmsNormOps>::add_rms_norm(x, residual, weight, eps)
    });
    (Tensor::from_dispatch(sum), Tensor::from_dispatch(y))
}

fn check(x: &Tensor<2>, weight: &Tensor<1>) {
    assert_eq!(
        x.dims()[1],
        weight.dims()[0],
        "`x` {:?} does not fit `weight` {:?}",
        x.dims(),
        weight.dims()
    );
}

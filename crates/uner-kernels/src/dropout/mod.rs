//! Stateless dropout (Srivastava et al. 2014). A hash of the row's key, the layer's number and the
//! column decides whether an element is dropped. The backward pass, another device or another order
//! of the rows therefore drops the same elements, and no mask is stored.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod linear;
mod reference;

pub use linear::{DroppedLinearKernels, DroppedLinearOps, dropped_linear};
pub use reference::reference;

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

use crate::hash::mix;
use crate::profile::{Pass, timed};

/// The layer's number and the probability of dropping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutSite {
    /// Number of the layer in the network: layers drop independently of each other.
    pub layer_key: u32,
    /// Probability that an element becomes 0.
    pub probability: f64,
}

impl DropoutSite {
    /// Elements whose hash is below this are dropped.
    fn threshold(self) -> u32 {
        (self.probability * 2f64.powi(32)) as u32
    }

    /// Factor of the kept elements, so that the expectation stays the same.
    fn scale(self) -> f32 {
        (1.0 / (1.0 - self.probability)) as f32
    }
}

/// The hash of a row, from which its columns are hashed.
#[inline(always)]
fn start(key: i32, layer_key: u32) -> u32 {
    mix(key as u32 ^ mix(layer_key))
}

/// The kernel of a backend.
pub trait DropoutKernels: Backend {
    /// Applies dropout, in both directions: the gradient of a kept element is scaled like it, that
    /// of a dropped one is 0.
    fn drop_out(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        site: DropoutSite,
    ) -> FloatTensor<Self>;
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait DropoutOps: Backend {
    /// See [`dropout`].
    fn dropout(x: FloatTensor<Self>, keys: IntTensor<Self>, site: DropoutSite)
    -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl DropoutOps for burn::backend::Cube {
    fn dropout(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        site: DropoutSite,
    ) -> FloatTensor<Self> {
        Self::drop_out(x, keys, site)
    }
}

#[cfg(feature = "flex")]
impl DropoutOps for burn::backend::Flex {
    fn dropout(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        site: DropoutSite,
    ) -> FloatTensor<Self> {
        Self::drop_out(x, keys, site)
    }
}

/// Sets a fraction of the elements of `x` to 0 and divides the others by one minus that fraction.
///
/// # Shapes
/// - `x`: `[rows, columns]`
/// - `keys`: `[rows]`, 32 bits each; rows with equal keys drop the same columns
/// - returns `[rows, columns]` in the type of `x`
///
/// # Panics
/// When the number of keys is not `rows`, or the probability is not at least 0 and below 1.
pub fn dropout(x: Tensor<2>, keys: &Tensor<1, Int>, site: DropoutSite) -> Tensor<2> {
    check(&x, keys, site);
    timed("dropout", Pass::Forward, || {
        let keys = keys.clone().into_dispatch();
        Tensor::from_dispatch(<Dispatch as DropoutOps>::dropout(x.into_dispatch(), keys, site))
    })
}

fn check(x: &Tensor<2>, keys: &Tensor<1, Int>, site: DropoutSite) {
    let [rows, _] = x.dims();
    assert_eq!(keys.dims(), [rows], "one key for each row of `x` {:?}", x.dims());
    assert!(
        (0.0..1.0).contains(&site.probability),
        "the probability {} is not in [0, 1)",
        site.probability
    );
}

//! The language-model head and its loss in one: `-log softmax(hidden · weightᵀ)[label]`, for the trained rows only.
//!
//! Rows without a label never reach the matmul, and the logits of the others exist a chunk at a time, so memory is
//! `chunk × vocab`, not `tokens × vocab`.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
mod reference;

pub use reference::{reference, reference_token_losses};

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The kernels of a backend. `rows` and `targets` are those of [`Labels`], `[trained]`.
pub trait LinearCrossEntropyKernels: Backend {
    /// The loss of each trained row, `[trained]`.
    fn losses(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self>;
    /// The summed loss, `[1]`, and its gradients with respect to `hidden` and `weight`. The gradients are formed while a
    /// chunk's logits are at hand, so that these are computed once.
    fn loss_and_gradients(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> [FloatTensor<Self>; 3];
}

/// The differentiable operator.
#[backend_extension(Flex: cfg(feature = "flex"), Autodiff)]
pub trait LinearCrossEntropyOps: Backend {
    /// The loss of each trained row, `[trained]`. Has no gradient.
    fn token_losses(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self>;
    /// See [`linear_cross_entropy`].
    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "flex")]
impl LinearCrossEntropyOps for burn::backend::Flex {
    fn token_losses(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::losses(hidden, weight, rows, targets)
    }

    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        <Self as burn::backend::ops::FloatTensorOps<Self>>::float_sum(Self::losses(
            hidden, weight, rows, targets,
        ))
    }
}

/// Label of a row that is not trained.
pub const IGNORE_INDEX: i32 = -100;

/// Which rows of `hidden` are trained, and on what.
///
/// # Shapes
/// Both tensors are `[trained]`.
#[derive(Debug, Clone)]
pub struct Labels {
    rows: Tensor<1, Int>,
    targets: Tensor<1, Int>,
    count: usize,
}

impl Labels {
    /// From one label per row of `hidden`; [`IGNORE_INDEX`] where the row is not trained.
    pub fn new(labels: &[i32], device: &Device) -> Self {
        let trained: Vec<(i32, i32)> = (0..)
            .zip(labels)
            .filter(|(_, label)| **label != IGNORE_INDEX)
            .map(|(row, &label)| (row, label))
            .collect();
        let tensor = |values: Vec<i32>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device.clone())
        };
        Self {
            count: trained.len(),
            rows: tensor(trained.iter().map(|(row, _)| *row).collect()),
            targets: tensor(trained.iter().map(|(_, target)| *target).collect()),
        }
    }

    /// The number of trained rows.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// The summed loss of the trained rows.
///
/// # Shapes
/// - `hidden`: `[tokens, hidden]`
/// - `weight`: `[vocab, hidden]`
/// - returns `[1]`, f32; 0 when no row is trained
///
/// # Panics
/// When the two `hidden` differ.
pub fn linear_cross_entropy(hidden: Tensor<2>, weight: Tensor<2>, labels: &Labels) -> Tensor<1> {
    check(&hidden, &weight);
    Tensor::from_dispatch(<Dispatch as LinearCrossEntropyOps>::linear_cross_entropy(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        labels.rows.clone().into_dispatch(),
        labels.targets.clone().into_dispatch(),
    ))
}

/// The loss of each trained row, without gradients.
///
/// # Shapes
/// As [`linear_cross_entropy`], but returns `[trained]`.
///
/// # Panics
/// When the two `hidden` differ.
pub fn token_losses(hidden: Tensor<2>, weight: Tensor<2>, labels: &Labels) -> Tensor<1> {
    check(&hidden, &weight);
    Tensor::from_dispatch(<Dispatch as LinearCrossEntropyOps>::token_losses(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        labels.rows.clone().into_dispatch(),
        labels.targets.clone().into_dispatch(),
    ))
}

fn check(hidden: &Tensor<2>, weight: &Tensor<2>) {
    assert_eq!(
        hidden.dims()[1],
        weight.dims()[1],
        "`hidden` {:?} does not fit `weight` {:?}",
        hidden.dims(),
        weight.dims()
    );
}

//! The language-model head fused with its loss: `-log softmax(hidden · weightᵀ)[label]`, for the
//! trained rows only.
//!
//! Rows without a label never reach the matmul. The logits of the others exist one chunk at a time,
//! so memory is `chunk × vocab`, not `tokens × vocab`.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::{reference, reference_token_losses};

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::profile::{Pass, timed};

/// The kernels of a backend. `rows` and `targets` are those of [`Labels`], `[trained]`.
pub trait LinearCrossEntropyKernels: Backend {
    /// The loss of each trained row, `[trained]`.
    fn losses(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self>;
    /// The summed loss, `[1]`, f32, and the `wanted` gradients with respect to `hidden` and
    /// `weight`, in their types. The gradients are computed while a chunk's logits exist, so that
    /// the logits are computed once.
    fn loss_and_gradients(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
        wanted: [bool; 2],
    ) -> (FloatTensor<Self>, [Option<FloatTensor<Self>>; 2]);
    /// A gradient of the loss, times `dloss`, `[1]`, the gradient with respect to the loss.
    fn scale_gradient(gradient: FloatTensor<Self>, dloss: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait LinearCrossEntropyOps: Backend {
    /// The loss of each trained row, `[trained]`. It has no gradient.
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

#[cfg(feature = "cube")]
impl LinearCrossEntropyOps for burn::backend::Cube {
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
        Self::loss_and_gradients(hidden, weight, rows, targets, [false; 2]).0
    }
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

/// Most bytes of logits that exist at a time on the CPU: enough that the weight is read a few times
/// per step, not once per row.
pub const CPU_LOGITS_BYTES: usize = 64 << 20;

/// Most bytes of logits that exist at a time on a GPU. Logits are f32 whatever the operands are:
/// bf16 would round a logit of 20 to the nearest 1/8, and the loss with it. With a vocabulary of
/// 32,000, 256 MiB are 2,048 rows, eight times the number from which arithmetic limits the product,
/// not reading the weight. Each further chunk reads and writes the weight's gradient once more.
pub const GPU_LOGITS_BYTES: usize = 256 << 20;

/// Label of a row that is not trained.
pub const IGNORE_INDEX: i32 = -100;

/// The trained rows of `hidden`, and their target tokens.
///
/// # Shapes
/// Both tensors are `[trained]`.
#[derive(Debug, Clone)]
pub struct Labels {
    rows: Tensor<1, Int>,
    targets: Tensor<1, Int>,
    count: usize,
    /// Rows with and without a label.
    tokens: usize,
    /// The size of the smallest vocabulary that has all the targets. It is checked, because kernels
    /// do not check indices.
    vocab: usize,
}

impl Labels {
    /// Builds labels from one label per row of `hidden`; [`IGNORE_INDEX`] if the row is not
    /// trained.
    ///
    /// # Panics
    /// When another label is negative.
    pub fn new(labels: &[i32], device: &Device) -> Self {
        let trained: Vec<(i32, i32)> = (0..)
            .zip(labels)
            .filter(|(_, label)| **label != IGNORE_INDEX)
            .map(|(row, &label)| (row, label))
            .collect();
        let smallest_vocab = |&(row, target): &(i32, i32)| {
            usize::try_from(target)
                .unwrap_or_else(|_| panic!("row {row} has the negative label {target}"))
                + 1
        };
        let tensor = |values: Vec<i32>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device.clone())
        };
        Self {
            count: trained.len(),
            tokens: labels.len(),
            vocab: trained.iter().map(smallest_vocab).max().unwrap_or(0),
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
/// When the two `hidden` differ, the number of labels is not `tokens`, or a label is not below
/// `vocab`; on a GPU runtime, when `hidden` and `weight` differ in type.
pub fn linear_cross_entropy(hidden: Tensor<2>, weight: Tensor<2>, labels: &Labels) -> Tensor<1> {
    check(&hidden, &weight, labels);
    timed("linear_cross_entropy", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as LinearCrossEntropyOps>::linear_cross_entropy(
            hidden.into_dispatch(),
            weight.into_dispatch(),
            labels.rows.clone().into_dispatch(),
            labels.targets.clone().into_dispatch(),
        ))
    })
}

/// The loss of each trained row, without gradients.
///
/// # Shapes
/// As [`linear_cross_entropy`], but returns `[trained]`.
///
/// # Panics
/// As [`linear_cross_entropy`].
pub fn token_losses(hidden: Tensor<2>, weight: Tensor<2>, labels: &Labels) -> Tensor<1> {
    check(&hidden, &weight, labels);
    timed("linear_cross_entropy", Pass::Forward, || {
        Tensor::from_dispatch(<Dispatch as LinearCrossEntropyOps>::token_losses(
            hidden.into_dispatch(),
            weight.into_dispatch(),
            labels.rows.clone().into_dispatch(),
            labels.targets.clone().into_dispatch(),
        ))
    })
}

fn check(hidden: &Tensor<2>, weight: &Tensor<2>, labels: &Labels) {
    let ([tokens, width], [vocab, weight_width]) = (hidden.dims(), weight.dims());
    assert_eq!(
        width,
        weight_width,
        "`hidden` {:?} does not fit `weight` {:?}",
        hidden.dims(),
        weight.dims()
    );
    assert_eq!(tokens, labels.tokens, "{} labels for `hidden` {:?}", labels.tokens, hidden.dims());
    assert!(labels.vocab <= vocab, "label {} with `weight` {:?}", labels.vocab - 1, weight.dims());
}

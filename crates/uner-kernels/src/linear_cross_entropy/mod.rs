//! The language-model head and its loss in one: `-log softmax(hidden · weightᵀ)[label]`, for the trained rows only.
//!
//! Rows without a label never reach the matmul, and the logits of the others exist a chunk at a time, so memory is
//! `chunk × vocab`, not `tokens × vocab`.

mod reference;

pub use reference::{reference, reference_token_losses};

use burn::tensor::{Device, Int, Tensor, TensorData};

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
    reference(hidden, weight, labels)
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
    reference_token_losses(hidden, weight, labels)
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

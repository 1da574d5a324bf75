//! The loss in burn operations: one matmul over all trained rows.

use burn::tensor::{Tensor, activation::log_softmax};

use super::Labels;

/// See [`super::linear_cross_entropy`].
pub fn reference(hidden: Tensor<2>, weight: Tensor<2>, labels: &Labels) -> Tensor<1> {
    if labels.count == 0 {
        return hidden.sum().mul_scalar(0.0);
    }
    reference_token_losses(hidden, weight, labels).sum()
}

/// See [`super::token_losses`]. A weight of another type is cast to that of `hidden`.
pub fn reference_token_losses(hidden: Tensor<2>, weight: Tensor<2>, labels: &Labels) -> Tensor<1> {
    let weight = weight.cast(hidden.dtype());
    let trained = hidden.select(0, labels.rows.clone());
    let log_probabilities = log_softmax(trained.matmul(weight.transpose()), 1);
    log_probabilities.gather(1, labels.targets.clone().unsqueeze_dim(1)).squeeze_dim::<1>(1).neg()
}

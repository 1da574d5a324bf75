//! The backward pass: scales the gradients, which the forward pass has computed.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};

use super::{LinearCrossEntropyKernels, LinearCrossEntropyOps};
use crate::profile::{Pass, counted, timed};

#[derive(Debug)]
struct LinearCrossEntropyBackward;

impl<B: LinearCrossEntropyKernels> Backward<B, 2> for LinearCrossEntropyBackward {
    /// The gradients of `hidden` and `weight` for a loss gradient of 1, if needed.
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dloss = grads.consume::<B>(&ops.node);
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                let gradient = timed("linear_cross_entropy", Pass::Backward, || {
                    B::scale_gradient(gradient, dloss.clone())
                });
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B, C> LinearCrossEntropyOps for Autodiff<B, C>
where
    B: LinearCrossEntropyKernels + LinearCrossEntropyOps,
    C: CheckpointStrategy,
{
    fn token_losses(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        <Self as burn::backend::AutodiffBackend>::from_inner(B::losses(
            hidden.into_primitive(),
            weight.into_primitive(),
            rows,
            targets,
        ))
    }

    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: IntTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [hidden.node(), weight.node()];
        match LinearCrossEntropyBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let wanted = [hidden.is_tracked(), weight.is_tracked()];
                let (hidden, weight) = (hidden.into_primitive(), weight.into_primitive());
                let ([trained], [vocab, width]) = (rows.shape().dims(), weight.shape().dims());
                // The logits, and one product of the same size per gradient.
                for _ in 0..=wanted.iter().filter(|wanted| **wanted).count() {
                    counted(trained, vocab, width);
                }
                let (loss, gradients) =
                    B::loss_and_gradients(hidden, weight, rows, targets, wanted);
                prep.finish(gradients, loss)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(<B as LinearCrossEntropyOps>::linear_cross_entropy(
                    hidden.into_primitive(),
                    weight.into_primitive(),
                    rows,
                    targets,
                ))
            }
        }
    }
}

//! The backward pass. The statistics are computed again: one more pass over a row in cache, instead of a tensor kept.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, tensor::FloatTensor};

use super::{RmsNormKernels, RmsNormOps};
use crate::profile::{Pass, timed};

#[derive(Debug)]
struct RmsNormBackward;

impl<B: RmsNormKernels> Backward<B, 2> for RmsNormBackward {
    /// `x`, `weight`, `eps`.
    type State = (NodeId, NodeId, f64);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, weight, eps) = ops.state;
        let x = checkpointer.retrieve_node_output(x);
        let weight = checkpointer.retrieve_node_output(weight);
        let (dx, dweight) = timed("rms_norm", Pass::Backward, || {
            B::rms_norm_backward(x, weight, eps, dy, weight_node.is_some())
        });
        if let Some(node) = x_node {
            grads.register::<B>(node.id, dx);
        }
        if let (Some(node), Some(dweight)) = (weight_node, dweight) {
            grads.register::<B>(node.id, dweight);
        }
    }
}

/// The addition before the norm: a step of its own, since a step has one output.
#[derive(Debug)]
struct AddBackward;

impl<B: RmsNormKernels> Backward<B, 2> for AddBackward {
    type State = ();

    fn backward(self, ops: Ops<(), 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dsum = grads.consume::<B>(&ops.node);
        for node in ops.parents.into_iter().flatten() {
            grads.register::<B>(node.id, dsum.clone());
        }
    }
}

impl<B: RmsNormKernels + RmsNormOps, C: CheckpointStrategy> RmsNormOps for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        match RmsNormBackward.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), eps);
                prep.finish(state, B::rms_norm_forward(x.into_primitive(), weight.into_primitive(), eps))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::rms_norm_forward(x.into_primitive(), weight.into_primitive(), eps))
            }
        }
    }

    fn add_rms_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let add = AddBackward.prepare::<C>([x.node(), residual.node()]).compute_bound();
        let (sum, y) = B::add_rms_norm_forward(
            x.into_primitive(),
            residual.into_primitive(),
            weight.clone().into_primitive(),
            eps,
        );
        let sum = add.stateless(sum);
        let y = match RmsNormBackward.prepare::<C>([sum.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&sum), prep.checkpoint(&weight), eps);
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        (sum, y)
    }
}

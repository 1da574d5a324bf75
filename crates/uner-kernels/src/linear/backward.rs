//! The backward pass: `dx = dy · weight`, `dweight = dyᵀ · x`.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, TensorMetadata, tensor::FloatTensor};

use super::{LinearKernels, LinearOps};
use crate::profile::{Pass, counted, timed};

#[derive(Debug)]
struct LinearBackward;

impl<B: LinearKernels> Backward<B, 2> for LinearBackward {
    /// `x` and `weight`, each where the gradient of the other one is wanted.
    type State = [Option<NodeId>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let [x, weight] = ops.state;
        let [tokens, output] = dy.shape().dims();
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight: FloatTensor<B> = checkpointer.retrieve_node_output(weight);
            let [_, input] = weight.shape().dims();
            let dx = timed("linear", Pass::Backward, || {
                counted(tokens, input, output);
                B::linear_backward_x(dy.clone(), weight)
            });
            grads.register::<B>(node.id, dx);
        }
        if let (Some(node), Some(x)) = (weight_node, x) {
            let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
            let [_, input] = x.shape().dims();
            let dweight = timed("linear", Pass::Backward, || {
                counted(output, input, tokens);
                B::linear_backward_weight(dy, x)
            });
            grads.register::<B>(node.id, dweight);
        }
    }
}

impl<B: LinearKernels + LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        match LinearBackward.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [
                    weight.is_tracked().then(|| prep.checkpoint(&x)),
                    x.is_tracked().then(|| prep.checkpoint(&weight)),
                ];
                prep.finish(state, B::linear_forward(x.into_primitive(), weight.into_primitive()))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::linear_forward(x.into_primitive(), weight.into_primitive()))
            }
        }
    }
}

//! The backward pass: `dx = dy · weight`, and `sum + dyᵀ · x` for the sum.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, TensorMetadata, tensor::FloatTensor};

use super::{LinearSumKernels, LinearSumOps};
use crate::profile::{Pass, counted, timed};

#[derive(Debug)]
struct LinearSumBackward;

/// What the backward pass needs to know.
#[derive(Debug, Clone)]
struct State<B: LinearSumKernels> {
    x: NodeId,
    /// Where the gradient of `x` is wanted.
    weight: Option<NodeId>,
    sum: FloatTensor<B>,
}

impl<B: LinearSumKernels> Backward<B, 2> for LinearSumBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x_node, sum_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let State { x, weight, sum } = ops.state;
        let ([tokens, _], [output, input]) = (dy.shape().dims::<2>(), sum.shape().dims());
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight: FloatTensor<B> = checkpointer.retrieve_node_output(weight);
            let dx = timed("linear_sum", Pass::Backward, || {
                counted(tokens, input, output);
                B::linear_backward_x(dy.clone(), weight)
            });
            grads.register::<B>(node.id, dx);
        }
        let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
        if let Some(node) = sum_node {
            let sum = timed("linear_sum", Pass::Backward, || {
                counted(output, input, tokens);
                B::add_weight_gradient(sum, dy, x)
            });
            grads.register::<B>(node.id, sum);
        }
    }
}

impl<B: LinearSumKernels + LinearSumOps, C: CheckpointStrategy> LinearSumOps for Autodiff<B, C> {
    fn linear_sum(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        sum: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        match LinearSumBackward.prepare::<C>([x.node(), sum.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = State {
                    x: prep.checkpoint(&x),
                    weight: x.is_tracked().then(|| prep.checkpoint(&weight)),
                    sum: sum.into_primitive(),
                };
                prep.finish(state, B::linear_forward(x.into_primitive(), weight.into_primitive()))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::linear_forward(x.into_primitive(), weight.into_primitive()))
            }
        }
    }
}

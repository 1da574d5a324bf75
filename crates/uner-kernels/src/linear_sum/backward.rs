//! The backward pass: `dx = dy · weight`, and `sum + dyᵀ · x` for the sum.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, TensorMetadata, tensor::FloatTensor};

use super::{LinearSumKernels, LinearSumOps};
use crate::input::InputGradient;
use crate::linear::backward::input_gradient;
use crate::profile::{Pass, counted, timed};

#[derive(Debug)]
struct LinearSumBackward;

/// The state of the backward pass.
#[derive(Debug, Clone)]
struct State<B: LinearSumKernels> {
    x: NodeId,
    /// Kept if the gradient of `x` is needed.
    weight: Option<NodeId>,
    sum: FloatTensor<B>,
    gradient: InputGradient,
}

impl<B: LinearSumKernels> Backward<B, 2> for LinearSumBackward {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, sum_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let State { x, weight, sum, gradient } = ops.state;
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight = checkpointer.retrieve_node_output(weight);
            let dy = dy.clone();
            let dx = |addend| {
                timed("linear_sum", Pass::Backward, || input_gradient::<B>(dy, weight, addend))
            };
            gradient.add::<B>(node.id, grads, dx);
        }
        let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
        if let Some(node) = sum_node {
            let sum = timed("linear_sum", Pass::Backward, || {
                let ([tokens, _], [output, input]) =
                    (dy.shape().dims::<2>(), sum.shape().dims::<2>());
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
        gradient: InputGradient,
    ) -> FloatTensor<Self> {
        match LinearSumBackward.prepare::<C>([x.node(), sum.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                if x.is_tracked() {
                    gradient.expect_one();
                }
                let state = State {
                    x: prep.checkpoint(&x),
                    weight: x.is_tracked().then(|| prep.checkpoint(&weight)),
                    sum: sum.into_primitive(),
                    gradient,
                };
                prep.finish(state, B::linear_forward(x.into_primitive(), weight.into_primitive()))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::linear_forward(x.into_primitive(), weight.into_primitive()))
            }
        }
    }
}

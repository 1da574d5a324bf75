//! The backward pass: `dx = dy · weight`, `dweight = dyᵀ · x`.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, TensorMetadata, tensor::FloatTensor};

use super::{LinearKernels, LinearOps};
use crate::input::InputGradient;
use crate::profile::{Pass, counted, timed};

#[derive(Debug)]
struct LinearBackward;

impl<B: LinearKernels> Backward<B, 2> for LinearBackward {
    /// `x` and `weight`, each only if the other's gradient is needed, and the gradient of `x`.
    type State = ([Option<NodeId>; 2], InputGradient);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let ([x, weight], gradient) = ops.state;
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight = checkpointer.retrieve_node_output(weight);
            let dy = dy.clone();
            let dx = |addend| {
                timed("linear", Pass::Backward, || input_gradient::<B>(dy, weight, addend))
            };
            gradient.add::<B>(node.id, grads, dx);
        }
        if let (Some(node), Some(x)) = (weight_node, x) {
            let x = checkpointer.retrieve_node_output(x);
            let dweight = timed("linear", Pass::Backward, || weight_gradient::<B>(dy, x));
            grads.register::<B>(node.id, dweight);
        }
    }
}

/// `dy · weight`, plus `addend` if given.
pub(crate) fn input_gradient<B: LinearKernels>(
    dy: FloatTensor<B>,
    weight: FloatTensor<B>,
    addend: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let ([tokens, output], [_, input]) = (dy.shape().dims::<2>(), weight.shape().dims::<2>());
    counted(tokens, input, output);
    B::linear_backward_x(dy, weight, addend)
}

/// `dyᵀ · x`.
pub(crate) fn weight_gradient<B: LinearKernels>(
    dy: FloatTensor<B>,
    x: FloatTensor<B>,
) -> FloatTensor<B> {
    let ([tokens, output], [_, input]) = (dy.shape().dims::<2>(), x.shape().dims::<2>());
    counted(output, input, tokens);
    B::linear_backward_weight(dy, x)
}

impl<B: LinearKernels + LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: InputGradient,
    ) -> FloatTensor<Self> {
        match LinearBackward.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                if x.is_tracked() {
                    gradient.expect_one();
                }
                let nodes = [
                    weight.is_tracked().then(|| prep.checkpoint(&x)),
                    x.is_tracked().then(|| prep.checkpoint(&weight)),
                ];
                let y = B::linear_forward(x.into_primitive(), weight.into_primitive());
                prep.finish((nodes, gradient), y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::linear_forward(x.into_primitive(), weight.into_primitive()))
            }
        }
    }
}

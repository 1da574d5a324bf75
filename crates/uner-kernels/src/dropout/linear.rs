//! A linear layer behind dropout that keeps what came before it: what is dropped is computed again on the way back.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, Backend, Dispatch, TensorMetadata, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

use super::{Draw, DropoutKernels, check};
use crate::linear::LinearKernels;
use crate::profile::{Pass, counted, timed};

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait DroppedLinearOps: Backend {
    /// See [`dropped_linear`].
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        draw: Draw,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl DroppedLinearOps for burn::backend::Cube {
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        draw: Draw,
    ) -> FloatTensor<Self> {
        Self::linear_forward(Self::drop_out(x, keys, draw), weight)
    }
}

#[cfg(feature = "flex")]
impl DroppedLinearOps for burn::backend::Flex {
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        draw: Draw,
    ) -> FloatTensor<Self> {
        Self::linear_forward(Self::drop_out(x, keys, draw), weight)
    }
}

#[derive(Debug)]
struct DroppedLinearBackward;

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct State<B: Backend> {
    /// `x` and `weight`, each where the gradient of the other one is wanted.
    nodes: [Option<NodeId>; 2],
    keys: IntTensor<B>,
    draw: Draw,
}

impl<B: DropoutKernels + LinearKernels> Backward<B, 2> for DroppedLinearBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let State { nodes: [x, weight], keys, draw } = ops.state;
        let [tokens, output] = dy.shape().dims();
        if let (Some(node), Some(x)) = (weight_node, x) {
            let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
            let [_, input] = x.shape().dims();
            let dweight = timed("dropped_linear", Pass::Backward, || {
                counted(output, input, tokens);
                B::linear_backward_weight(dy.clone(), B::drop_out(x, keys.clone(), draw))
            });
            grads.register::<B>(node.id, dweight);
        }
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight: FloatTensor<B> = checkpointer.retrieve_node_output(weight);
            let [_, input] = weight.shape().dims();
            let dx = timed("dropped_linear", Pass::Backward, || {
                counted(tokens, input, output);
                B::drop_out(B::linear_backward_x(dy, weight), keys, draw)
            });
            grads.register::<B>(node.id, dx);
        }
    }
}

impl<B: DropoutKernels + LinearKernels + DroppedLinearOps, C: CheckpointStrategy> DroppedLinearOps
    for Autodiff<B, C>
{
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        draw: Draw,
    ) -> FloatTensor<Self> {
        match DroppedLinearBackward.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [
                    weight.is_tracked().then(|| prep.checkpoint(&x)),
                    x.is_tracked().then(|| prep.checkpoint(&weight)),
                ];
                let state = State { nodes, keys: keys.clone(), draw };
                let y = B::dropped_linear(x.into_primitive(), keys, weight.into_primitive(), draw);
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::dropped_linear(x.into_primitive(), keys, weight.into_primitive(), draw))
            }
        }
    }
}

/// `linear(dropout(x), weight)`. Kept for the backward pass is `x`, which several layers share, and not a copy for each of them with
/// other elements dropped.
///
/// # Shapes
/// - `x`: `[rows, in]`
/// - `keys`: `[rows]`, 32 bits each; rows with equal keys are dropped alike
/// - `weight`: `[out, in]`
/// - returns `[rows, out]`
///
/// # Panics
/// When the two `in` differ, there is not one key a row, or the probability is not at least 0 and below 1.
pub fn dropped_linear(x: Tensor<2>, keys: &Tensor<1, Int>, weight: Tensor<2>, draw: Draw) -> Tensor<2> {
    check(&x, keys, draw);
    let ([rows, input], [output, expected]) = (x.dims(), weight.dims());
    assert_eq!(input, expected, "`x` {:?} does not fit `weight` {:?}", x.dims(), weight.dims());
    timed("dropped_linear", Pass::Forward, || {
        counted(rows, output, input);
        let (x, keys, weight) = (x.into_dispatch(), keys.clone().into_dispatch(), weight.into_dispatch());
        Tensor::from_dispatch(<Dispatch as DroppedLinearOps>::dropped_linear(x, keys, weight, draw))
    })
}

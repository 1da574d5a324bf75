//! The backward pass: `dbase = dy`, `dx = dy · weight`, `dweight = dyᵀ · x`.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, tensor::FloatTensor};

use super::{AddLinearKernels, AddLinearOps};
use crate::linear::backward::{input_gradient, weight_gradient};
use crate::profile::{Pass, timed};

#[derive(Debug)]
struct AddLinearBackward;

impl<B: AddLinearKernels> Backward<B, 3> for AddLinearBackward {
    /// `x` and `weight`, each only if the other's gradient is needed.
    type State = [Option<NodeId>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [base_node, x_node, weight_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let [x, weight] = ops.state;
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight = checkpointer.retrieve_node_output(weight);
            let dx = || input_gradient::<B>(dy.clone(), weight, None);
            grads.register::<B>(node.id, timed("add_linear", Pass::Backward, dx));
        }
        if let (Some(node), Some(x)) = (weight_node, x) {
            let x = checkpointer.retrieve_node_output(x);
            let dweight = || weight_gradient::<B>(dy.clone(), x);
            grads.register::<B>(node.id, timed("add_linear", Pass::Backward, dweight));
        }
        if let Some(node) = base_node {
            grads.register::<B>(node.id, dy);
        }
    }
}

impl<B: AddLinearKernels + AddLinearOps, C: CheckpointStrategy> AddLinearOps for Autodiff<B, C> {
    fn add_linear(
        base: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let forward = |base: FloatTensor<Self>, x: FloatTensor<Self>, weight: FloatTensor<Self>| {
            B::add_linear_forward(
                base.into_primitive(),
                x.into_primitive(),
                weight.into_primitive(),
            )
        };
        let nodes = [base.node(), x.node(), weight.node()];
        match AddLinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [
                    weight.is_tracked().then(|| prep.checkpoint(&x)),
                    x.is_tracked().then(|| prep.checkpoint(&weight)),
                ];
                prep.finish(state, forward(base, x, weight))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(base, x, weight)),
        }
    }
}

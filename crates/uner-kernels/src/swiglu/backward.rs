//! The backward pass. The activation is computed again from `gate` and `up`, which the projections keep anyway.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, tensor::FloatTensor};

use super::{SwigluKernels, SwigluOps};
use crate::profile::{Pass, timed};

#[derive(Debug)]
struct SwigluBackward;

impl<B: SwigluKernels> Backward<B, 2> for SwigluBackward {
    /// `gate` and `up`.
    type State = (NodeId, NodeId);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [gate_node, up_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (gate, up) = ops.state;
        let gate = checkpointer.retrieve_node_output(gate);
        let up = checkpointer.retrieve_node_output(up);
        let (dgate, dup) = timed("swiglu", Pass::Backward, || B::swiglu_backward(gate, up, dy));
        if let Some(node) = gate_node {
            grads.register::<B>(node.id, dgate);
        }
        if let Some(node) = up_node {
            grads.register::<B>(node.id, dup);
        }
    }
}

impl<B: SwigluKernels + SwigluOps, C: CheckpointStrategy> SwigluOps for Autodiff<B, C> {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        match SwigluBackward.prepare::<C>([gate.node(), up.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&gate), prep.checkpoint(&up));
                prep.finish(state, B::swiglu_forward(gate.into_primitive(), up.into_primitive()))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::swiglu_forward(gate.into_primitive(), up.into_primitive()))
            }
        }
    }
}

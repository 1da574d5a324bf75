//! The backward pass. It keeps only `gate` and `up` and recomputes the activation, here and for the
//! next projection, which needs its input. This costs one more pass over memory and saves a tensor.

use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
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

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
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

/// Recomputes the activation in the backward pass, for the layer that needs it.
#[derive(Debug)]
struct Recompute<B> {
    gate: NodeId,
    up: NodeId,
    backend: PhantomData<B>,
}

impl<B: SwigluKernels> RetroForward for Recompute<B> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let [gate, up] = [self.gate, self.up].map(|node| states.get_state::<FloatTensor<B>>(&node));
        states.save(out_node, timed("swiglu", Pass::Forward, || B::swiglu_forward(gate, up)));
    }
}

impl<B: SwigluKernels + SwigluOps, C: CheckpointStrategy> SwigluOps for Autodiff<B, C> {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let recompute =
            Recompute::<B> { gate: gate.node().id(), up: up.node().id(), backend: PhantomData };
        let prep = SwigluBackward.prepare::<BalancedCheckpointing>([gate.node(), up.node()]);
        match prep.memory_bound().retro_forward(recompute).parents([&gate, &up]).stateful() {
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

//! The backward pass. It recomputes the statistics instead of keeping them, which costs one more
//! pass over a row in cache. If the projections need their input, it also recomputes the output,
//! which costs one more pass over memory.
//!
//! The norm's input is used elsewhere, too: it is the residual. burn would add the two gradients in
//! a separate pass over three tensors. Instead, the norm's kernel adds the other one. A node of the
//! graph has one output, hence the nodes `x → y` and `y → x again`. The second runs first in the
//! backward pass: it stores its gradient for the norm and passes none on.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, tensor::FloatTensor};

use super::{RmsNormKernels, RmsNormOps};
use crate::profile::{Pass, timed};

/// The other gradient of the norm's input; empty if only the norm is used.
type ResidualGrad<B> = Arc<Mutex<Option<FloatTensor<B>>>>;

/// The state of the backward pass.
#[derive(Debug, Clone)]
struct Normed<B: RmsNormKernels> {
    x: NodeId,
    weight: NodeId,
    eps: f64,
    residual_grad: ResidualGrad<B>,
}

#[derive(Debug)]
struct RmsNormBackward;

impl<B: RmsNormKernels> Backward<B, 2> for RmsNormBackward {
    type State = Normed<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let Normed { x, weight, eps, residual_grad } = ops.state;
        let residual_grad = residual_grad.lock().unwrap_or_else(PoisonError::into_inner).take();
        let x = checkpointer.retrieve_node_output(x);
        let weight = checkpointer.retrieve_node_output(weight);
        let (dx, dweight) = timed("rms_norm", Pass::Backward, || {
            B::rms_norm_backward(x, weight, eps, dy, residual_grad, weight_node.is_some())
        });
        if let Some(node) = x_node {
            grads.register::<B>(node.id, dx);
        }
        if let (Some(node), Some(dweight)) = (weight_node, dweight) {
            grads.register::<B>(node.id, dweight);
        }
    }
}

/// The addition before the norm, a node of its own because a node has one output.
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

/// The norm's input, passed through.
#[derive(Debug)]
struct AgainBackward;

impl<B: RmsNormKernels> Backward<B, 1> for AgainBackward {
    type State = ResidualGrad<B>;

    fn backward(
        self,
        ops: Ops<ResidualGrad<B>, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        *ops.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
    }
}

/// Recomputes the output in the backward pass, for the layers that need it. It stores the weight
/// itself, because the graph does not contain a frozen weight.
#[derive(Debug)]
struct Recompute<B: RmsNormKernels> {
    x: NodeId,
    weight: FloatTensor<B>,
    eps: f64,
}

impl<B: RmsNormKernels> RetroForward for Recompute<B> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x = states.get_state::<FloatTensor<B>>(&self.x);
        let again = || B::rms_norm_forward(x, self.weight.clone(), self.eps);
        states.save(out_node, timed("rms_norm", Pass::Forward, again));
    }
}

/// `y`, the norm of `x`, as a node of the graph.
fn normed<B: RmsNormKernels, C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<B, C>>,
    weight: &FloatTensor<Autodiff<B, C>>,
    eps: f64,
    y: FloatTensor<B>,
    residual_grad: &ResidualGrad<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let recompute = Recompute::<B> { x: x.node().id(), weight: weight.primitive().clone(), eps };
    let prep = RmsNormBackward.prepare::<BalancedCheckpointing>([x.node(), weight.node()]);
    match prep.memory_bound().retro_forward(recompute).parents([x]).stateful() {
        OpsKind::Tracked(mut prep) => {
            let (x, weight) = (prep.checkpoint(x), prep.checkpoint(weight));
            prep.finish(Normed { x, weight, eps, residual_grad: residual_grad.clone() }, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

/// Two tensors of the graph.
type Pair<B, C> = (FloatTensor<Autodiff<B, C>>, FloatTensor<Autodiff<B, C>>);

/// `x` and `y`, its norm, as nodes of the graph.
fn forked<B: RmsNormKernels, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: &FloatTensor<Autodiff<B, C>>,
    eps: f64,
    y: FloatTensor<B>,
) -> Pair<B, C> {
    let residual_grad = ResidualGrad::<B>::default();
    let y = normed::<B, C>(&x, weight, eps, y, &residual_grad);
    if !x.is_tracked() {
        return (x, y);
    }
    let again = match AgainBackward.prepare::<C>([y.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(residual_grad, x.into_primitive()),
        OpsKind::UnTracked(prep) => prep.finish(x.into_primitive()),
    };
    (again, y)
}

impl<B: RmsNormKernels + RmsNormOps, C: CheckpointStrategy> RmsNormOps for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let y = B::rms_norm_forward(x.primitive().clone(), weight.primitive().clone(), eps);
        normed::<B, C>(&x, &weight, eps, y, &ResidualGrad::<B>::default())
    }

    fn fork_rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let y = B::rms_norm_forward(x.primitive().clone(), weight.primitive().clone(), eps);
        forked::<B, C>(x, &weight, eps, y)
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
            weight.primitive().clone(),
            eps,
        );
        forked::<B, C>(add.stateless(sum), &weight, eps, y)
    }
}

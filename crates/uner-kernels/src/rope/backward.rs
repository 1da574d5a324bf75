//! The backward pass: rotates queries and keys back, both at once.
//!
//! A node of the graph has one output, hence the nodes `q, k → rotated q` and
//! `rotated q → rotated k`. The second runs first in the backward pass: it stores its gradient for
//! the first, which rotates both.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::{Autodiff, tensor::FloatTensor};

use super::{RopeKernels, RopeOps};
use crate::profile::{Pass, timed};

/// The angles of a rotation, `cos` and `sin`.
type Angles<B> = (FloatTensor<B>, FloatTensor<B>);
/// The gradient of the keys, once it is stored.
type Keys<B> = Arc<Mutex<Option<FloatTensor<B>>>>;

/// Rotates the gradients of queries and keys back.
#[derive(Debug)]
struct BothBackward;

impl<B: RopeKernels> Backward<B, 2> for BothBackward {
    type State = (Angles<B>, Keys<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dq = grads.consume::<B>(&ops.node);
        let ((cos, sin), keys) = ops.state;
        let dk = keys.lock().unwrap_or_else(PoisonError::into_inner).take();
        let dk = dk.expect("queries and keys are used together");
        let rotated = timed("rope", Pass::Backward, || B::rotate_both([dq, dk], cos, sin, true));
        for (node, gradient) in ops.parents.into_iter().zip(rotated) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// Stores the gradient of the rotated keys for [`BothBackward`].
#[derive(Debug)]
struct KeysBackward;

impl<B: RopeKernels> Backward<B, 1> for KeysBackward {
    type State = Keys<B>;

    fn backward(
        self,
        ops: Ops<Keys<B>, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        *ops.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
    }
}

/// Rotates the gradient of queries or keys back, if the others have none.
#[derive(Debug)]
struct OneBackward;

impl<B: RopeKernels> Backward<B, 1> for OneBackward {
    type State = Angles<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (cos, sin) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |dy| {
            timed("rope", Pass::Backward, || B::rotate(dy, cos, sin, true))
        });
    }
}

/// `rotated`, computed from `x`, as a node of the graph.
fn alone<B: RopeKernels, C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<B, C>>,
    rotated: FloatTensor<B>,
    angles: &Angles<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match OneBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(angles.clone(), rotated),
        OpsKind::UnTracked(prep) => prep.finish(rotated),
    }
}

impl<B: RopeKernels + RopeOps, C: CheckpointStrategy> RopeOps for Autodiff<B, C> {
    fn rope(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let angles = (cos.into_primitive(), sin.into_primitive());
        let qk = [q.primitive().clone(), k.primitive().clone()];
        let [rotated_q, rotated_k] = B::rotate_both(qk, angles.0.clone(), angles.1.clone(), false);
        if !q.is_tracked() || !k.is_tracked() {
            return (alone::<B, C>(&q, rotated_q, &angles), alone::<B, C>(&k, rotated_k, &angles));
        }
        let keys = Keys::<B>::default();
        let q = match BothBackward.prepare::<C>([q.node(), k.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((angles, keys.clone()), rotated_q),
            OpsKind::UnTracked(prep) => prep.finish(rotated_q),
        };
        let k = match KeysBackward.prepare::<C>([q.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(keys, rotated_k),
            OpsKind::UnTracked(prep) => prep.finish(rotated_k),
        };
        (q, k)
    }
}

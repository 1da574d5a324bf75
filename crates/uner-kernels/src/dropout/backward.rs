//! The backward pass: drops the same elements from the gradient.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::{
    Autodiff,
    tensor::{FloatTensor, IntTensor},
};

use crate::profile::{Pass, timed};

use super::{DropoutKernels, DropoutOps, DropoutSite};

#[derive(Debug)]
struct DropoutBackward;

impl<B: DropoutKernels> Backward<B, 1> for DropoutBackward {
    type State = (IntTensor<B>, DropoutSite);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (keys, site) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |dy| {
            timed("dropout", Pass::Backward, || B::drop_out(dy, keys, site))
        });
    }
}

impl<B: DropoutKernels + DropoutOps, C: CheckpointStrategy> DropoutOps for Autodiff<B, C> {
    fn dropout(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        site: DropoutSite,
    ) -> FloatTensor<Self> {
        match DropoutBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::drop_out(x.into_primitive(), keys.clone(), site);
                prep.finish((keys, site), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::drop_out(x.into_primitive(), keys, site)),
        }
    }
}

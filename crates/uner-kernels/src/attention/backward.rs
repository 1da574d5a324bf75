//! The backward pass. The graph keeps the inputs, the output (which the next projection keeps
//! anyway) and the log-sum-exp, one number per query and head. The probabilities are recomputed
//! tile by tile.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff,
    tensor::{FloatTensor, IntTensor},
};

use super::{AttentionKernels, AttentionOps, Saved};
use crate::profile::{Pass, timed};

#[derive(Debug)]
struct AttentionBackward;

impl<B: AttentionKernels> Backward<B, 3> for AttentionBackward {
    /// `q`, `k` and `v`; the output and its log-sum-exp; `document` and `branch`.
    type State = ([NodeId; 3], [FloatTensor<B>; 2], [IntTensor<B>; 2]);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<B>(&ops.node);
        let (inputs, [y, lse], [document, branch]) = ops.state;
        let [q, k, v] = inputs.map(|node| checkpointer.retrieve_node_output(node));
        let saved = Saved { q, k, v, y, lse, document, branch };
        let gradients = timed("attention", Pass::Backward, || B::attention_backward(saved, dy));
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: AttentionKernels + AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn attention_visible(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        document: IntTensor<Self>,
        branch: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let forward = |q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>| {
            let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
            B::attention_forward(q, k, v, document.clone(), branch.clone())
        };
        match AttentionBackward
            .prepare::<C>([q.node(), k.node(), v.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let inputs = [prep.checkpoint(&q), prep.checkpoint(&k), prep.checkpoint(&v)];
                let (y, lse) = forward(q, k, v);
                prep.finish((inputs, [y.clone(), lse], [document, branch]), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(q, k, v).0),
        }
    }
}

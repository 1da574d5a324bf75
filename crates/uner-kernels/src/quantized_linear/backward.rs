//! The backward pass: `dx = dy · weight`. The weight is frozen.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};

use crate::input::InputGradient;
use crate::profile::{Pass, counted, timed};

use super::{Layout, QuantizedLinearKernels, QuantizedLinearOps};

#[derive(Debug)]
struct QuantizedLinearBackward;

impl<B: QuantizedLinearKernels> Backward<B, 1> for QuantizedLinearBackward {
    /// Words, scales, layout, and the gradient of the input.
    type State = (IntTensor<B>, FloatTensor<B>, Layout, InputGradient);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (words, scales, layout, gradient) = ops.state;
        let (dy, [x_node]) = (grads.consume::<B>(&ops.node), ops.parents);
        let Some(node) = x_node else { return };
        gradient.add::<B>(node.id, grads, |addend| {
            timed("quantized_linear", Pass::Backward, || {
                let [tokens, _] = dy.shape().dims();
                counted(tokens, layout.columns, layout.rows);
                B::quantized_backward_x(dy, words, scales, layout, addend)
            })
        });
    }
}

impl<B: QuantizedLinearKernels + QuantizedLinearOps, C: CheckpointStrategy> QuantizedLinearOps
    for Autodiff<B, C>
{
    fn quantized_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        layout: Layout,
        gradient: InputGradient,
    ) -> FloatTensor<Self> {
        let scales = scales.into_primitive();
        match QuantizedLinearBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                gradient.expect_one();
                let y =
                    B::quantized_forward(x.into_primitive(), words.clone(), scales.clone(), layout);
                prep.finish((words, scales, layout, gradient), y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::quantized_forward(x.into_primitive(), words, scales, layout))
            }
        }
    }
}

//! A linear layer after dropout. It keeps the input for the backward pass and applies dropout again
//! there.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, Backend, Dispatch, TensorMetadata, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

use super::{DropoutKernels, DropoutSite, check};
use crate::input::{Input, InputGradient};
use crate::linear::LinearKernels;
use crate::linear::backward::weight_gradient;
use crate::profile::{Pass, counted, timed};

/// The backward kernel of a backend.
pub trait DroppedLinearKernels: DropoutKernels + LinearKernels {
    /// The gradient of `x`: `drop_out(dy · weight)`, plus `addend` if given, in the memory of
    /// `addend` if the backend can write to it.
    fn dropped_linear_backward_x(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        keys: IntTensor<Self>,
        site: DropoutSite,
        addend: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self>;
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait DroppedLinearOps: Backend {
    /// See [`dropped_linear`].
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        site: DropoutSite,
        gradient: InputGradient,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl DroppedLinearOps for burn::backend::Cube {
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        site: DropoutSite,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::linear_forward(Self::drop_out(x, keys, site), weight)
    }
}

#[cfg(feature = "flex")]
impl DroppedLinearOps for burn::backend::Flex {
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        site: DropoutSite,
        _gradient: InputGradient,
    ) -> FloatTensor<Self> {
        Self::linear_forward(Self::drop_out(x, keys, site), weight)
    }
}

#[derive(Debug)]
struct DroppedLinearBackward;

/// The state of the backward pass.
#[derive(Debug, Clone)]
struct State<B: Backend> {
    /// `x` and `weight`, each only if the other's gradient is needed.
    nodes: [Option<NodeId>; 2],
    keys: IntTensor<B>,
    site: DropoutSite,
    gradient: InputGradient,
}

impl<B: DroppedLinearKernels> Backward<B, 2> for DroppedLinearBackward {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let State { nodes: [x, weight], keys, site, gradient } = ops.state;
        if let (Some(node), Some(x)) = (weight_node, x) {
            let x = checkpointer.retrieve_node_output(x);
            let dweight = || weight_gradient::<B>(dy.clone(), B::drop_out(x, keys.clone(), site));
            grads.register::<B>(node.id, timed("dropped_linear", Pass::Backward, dweight));
        }
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight: FloatTensor<B> = checkpointer.retrieve_node_output(weight);
            gradient.add::<B>(node.id, grads, |addend| {
                timed("dropped_linear", Pass::Backward, || {
                    let ([tokens, output], [_, input]) =
                        (dy.shape().dims::<2>(), weight.shape().dims::<2>());
                    counted(tokens, input, output);
                    B::dropped_linear_backward_x(dy, weight, keys, site, addend)
                })
            });
        }
    }
}

impl<B: DroppedLinearKernels + DroppedLinearOps, C: CheckpointStrategy> DroppedLinearOps
    for Autodiff<B, C>
{
    fn dropped_linear(
        x: FloatTensor<Self>,
        keys: IntTensor<Self>,
        weight: FloatTensor<Self>,
        site: DropoutSite,
        gradient: InputGradient,
    ) -> FloatTensor<Self> {
        match DroppedLinearBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                if x.is_tracked() {
                    gradient.expect_one();
                }
                let nodes = [
                    weight.is_tracked().then(|| prep.checkpoint(&x)),
                    x.is_tracked().then(|| prep.checkpoint(&weight)),
                ];
                let state = State { nodes, keys: keys.clone(), site, gradient };
                let x = B::drop_out(x.into_primitive(), keys, site);
                prep.finish(state, B::linear_forward(x, weight.into_primitive()))
            }
            OpsKind::UnTracked(prep) => {
                let x = B::drop_out(x.into_primitive(), keys, site);
                prep.finish(B::linear_forward(x, weight.into_primitive()))
            }
        }
    }
}

/// Computes `linear(dropout(x), weight)`. Keeps `x` for the backward pass, which several layers
/// share, instead of a dropped copy for each layer.
///
/// # Shapes
/// - `x`: `[rows, in]`
/// - `keys`: `[rows]`, 32 bits each; rows with equal keys drop the same columns
/// - `weight`: `[out, in]`
/// - returns `[rows, out]`
///
/// # Panics
/// When the two `in` differ, the number of keys is not `rows`, or the probability is not at least 0
/// and below 1.
pub fn dropped_linear(
    x: impl Into<Input>,
    keys: &Tensor<1, Int>,
    weight: Tensor<2>,
    site: DropoutSite,
) -> Tensor<2> {
    let Input { tensor: x, gradient } = x.into();
    check(&x, keys, site);
    let ([rows, input], [output, expected]) = (x.dims(), weight.dims());
    assert_eq!(input, expected, "`x` {:?} does not fit `weight` {:?}", x.dims(), weight.dims());
    timed("dropped_linear", Pass::Forward, || {
        counted(rows, output, input);
        let (x, keys, weight) =
            (x.into_dispatch(), keys.clone().into_dispatch(), weight.into_dispatch());
        Tensor::from_dispatch(<Dispatch as DroppedLinearOps>::dropped_linear(
            x, keys, weight, site, gradient,
        ))
    })
}

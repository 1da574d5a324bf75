//! The start of a backward pass: the gradient of an output is handed over as it is, without the product and the sum that
//! would otherwise be timed with it.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::{FloatDType, Tensor};

/// The operator behind [`seeded`].
#[backend_extension(
    Cube: cfg(any(feature = "webgpu", feature = "vulkan", feature = "cuda")),
    Flex,
    Autodiff
)]
pub trait SeedOps: Backend {
    /// See [`seeded`].
    fn hand_over(y: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(any(feature = "webgpu", feature = "vulkan", feature = "cuda"))]
impl SeedOps for burn::backend::Cube {
    fn hand_over(y: FloatTensor<Self>, _dy: FloatTensor<Self>) -> FloatTensor<Self> {
        zero::<Self>(&y)
    }
}

impl SeedOps for burn::backend::Flex {
    fn hand_over(y: FloatTensor<Self>, _dy: FloatTensor<Self>) -> FloatTensor<Self> {
        zero::<Self>(&y)
    }
}

fn zero<B: Backend>(y: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros([1].into(), &y.device(), FloatDType::F32)
}

/// Keeps `dy`, which becomes the gradient of `y`.
#[derive(Debug)]
struct SeedBackward;

impl<B: Backend> Backward<B, 1> for SeedBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        drop(grads.consume::<B>(&ops.node));
        let [y] = ops.parents;
        if let Some(node) = y {
            grads.register::<B>(node.id, ops.state);
        }
    }
}

impl<B: SeedOps, C: CheckpointStrategy> SeedOps for Autodiff<B, C> {
    fn hand_over(y: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        let (node, dy) = (y.node(), dy.into_primitive());
        match SeedBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(dy.clone(), B::hand_over(y.into_primitive(), dy)),
            OpsKind::UnTracked(prep) => prep.finish(B::hand_over(y.into_primitive(), dy)),
        }
    }
}

/// A scalar of value 0 whose backward pass gives `y` the gradient `dy`.
///
/// # Panics
/// When the shapes differ.
pub fn seeded<const D: usize>(y: Tensor<D>, dy: Tensor<D>) -> Tensor<1> {
    assert_eq!(y.dims(), dy.dims(), "`y` and `dy` differ in shape");
    let dy = if dy.device().is_autodiff() { dy } else { dy.autodiff() };
    Tensor::from_dispatch(<Dispatch as SeedOps>::hand_over(y.into_dispatch(), dy.into_dispatch()))
}

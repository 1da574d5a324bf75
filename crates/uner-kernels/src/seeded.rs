//! Starts a backward pass with a given gradient. burn starts from a scalar. The sum of a product
//! has this gradient, too, but costs ten passes over the output.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor,
};
use burn::tensor::{FloatDType, Tensor};

/// The operator behind [`seeded`].
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait SeedOps: Backend {
    /// See [`seeded`].
    fn hand_over(y: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(feature = "cube")]
impl SeedOps for burn::backend::Cube {
    fn hand_over(y: FloatTensor<Self>, _dy: FloatTensor<Self>) -> FloatTensor<Self> {
        scalar::<Self>(&y)
    }
}

#[cfg(feature = "flex")]
impl SeedOps for burn::backend::Flex {
    fn hand_over(y: FloatTensor<Self>, _dy: FloatTensor<Self>) -> FloatTensor<Self> {
        scalar::<Self>(&y)
    }
}

/// A scalar without a value.
fn scalar<B: Backend>(y: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_empty([1].into(), &y.device(), FloatDType::F32)
}

/// Stores `dy`, which becomes the gradient of `y`.
#[derive(Debug)]
struct SeedBackward;

impl<B: Backend> Backward<B, 1> for SeedBackward {
    type State = FloatTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
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

/// Returns a scalar without a value, in whose backward pass `dy` is the gradient of `y`.
///
/// # Shapes
/// - `y`, `dy`: of equal shape
/// - result: `[1]`, f32
///
/// # Panics
/// When the shapes differ.
pub fn seeded<const D: usize>(y: Tensor<D>, dy: Tensor<D>) -> Tensor<1> {
    assert_eq!(y.dims(), dy.dims(), "`y` and `dy` differ in shape");
    let dy = if dy.device().is_autodiff() { dy } else { dy.autodiff() };
    Tensor::from_dispatch(<Dispatch as SeedOps>::hand_over(y.into_dispatch(), dy.into_dispatch()))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_gradient_is_the_one_that_was_handed_over() {
        let device = Device::flex();
        let dy = Tensor::<1>::from_data([3.0f32, -1.0], &device);
        let x = Tensor::<1>::from_data([1.0f32, 2.0], &device).autodiff().require_grad();
        let y = x.clone().mul_scalar(2.0);
        // The gradients of two such scalars add up.
        let mut graph = seeded(y.clone(), dy.clone()).add(seeded(y, dy)).backward();
        let gradient = x.grad_remove(&mut graph).expect("a gradient");
        assert_eq!(
            gradient.into_data(),
            Tensor::<1>::from_data([12.0f32, -4.0], &device).into_data()
        );
    }
}

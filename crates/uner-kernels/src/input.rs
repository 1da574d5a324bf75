//! A tensor that several layers read. Each has a gradient of it, and burn would add them up in
//! passes of their own, over three tensors each. These layers hand on what they have instead: each
//! adds its own where this is formed, and the last one gives the sum to burn.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::{Backend, tensor::FloatTensor};
use burn::tensor::Tensor;

/// What layers read. Clones of it are the same input, so that their gradients are added up. The
/// last layer to have one hands the sum over, so whoever differentiates the output of one of them
/// has to differentiate those of all: else the input has no gradient. A tensor that only one layer
/// reads turns into an input by itself.
#[derive(Debug, Clone)]
pub struct Input {
    /// `[tokens, in]`.
    pub tensor: Tensor<2>,
    pub(crate) gradient: InputGradient,
}

impl Input {
    /// `[tokens, in]`.
    pub fn dims(&self) -> [usize; 2] {
        self.tensor.dims()
    }
}

impl From<Tensor<2>> for Input {
    fn from(tensor: Tensor<2>) -> Self {
        Self { tensor, gradient: InputGradient::default() }
    }
}

/// The gradient of an [`Input`] on its way from layer to layer.
#[derive(Debug, Clone, Default)]
pub struct InputGradient(Arc<Mutex<Sum>>);

#[derive(Debug, Default)]
struct Sum {
    /// Layers that will add to it.
    readers: usize,
    /// What was added so far: a tensor of the backend that computes.
    terms: Option<Box<dyn Any + Send>>,
}

impl InputGradient {
    /// Counts a layer that reads the input and will [`add`](Self::add) to its gradient.
    pub(crate) fn expect_one(&self) {
        self.lock().readers += 1;
    }

    /// Adds what a layer has: `add` gets the sum so far, where there is one. The last layer
    /// registers it as that of `node`.
    pub(crate) fn add<B: Backend>(
        &self,
        node: NodeId,
        grads: &mut Gradients,
        add: impl FnOnce(Option<FloatTensor<B>>) -> FloatTensor<B>,
    ) {
        let mut sum = self.lock();
        let terms = sum.terms.take().map(|terms| {
            *terms
                .downcast::<FloatTensor<B>>()
                .expect("the gradients of one input are of one backend")
        });
        let total = add(terms);
        sum.readers -= 1;
        if sum.readers == 0 {
            grads.register::<B>(node, total);
        } else {
            sum.terms = Some(Box::new(total));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

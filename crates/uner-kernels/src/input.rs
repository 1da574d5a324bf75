//! A tensor that several layers read. Each layer computes a gradient of it, which burn would add in
//! separate passes over three tensors each. Instead, each of these layers adds its gradient to a
//! running sum while computing it, and the last one passes the total to burn.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::{Backend, tensor::FloatTensor};
use burn::tensor::Tensor;

/// An input of several layers. Clones are the same input, so their gradients are added up. The last
/// layer of the backward pass passes on the sum. A loss that depends on one of the layers must
/// therefore depend on all of them, or the input has no gradient. A tensor that only one layer
/// reads converts to an input implicitly.
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

/// The running sum of an [`Input`]'s gradients.
#[derive(Debug, Clone, Default)]
pub struct InputGradient(Arc<Mutex<Sum>>);

#[derive(Debug, Default)]
struct Sum {
    /// Layers that have yet to add their gradient.
    readers: usize,
    /// The sum so far: a tensor of the inner backend.
    terms: Option<Box<dyn Any + Send>>,
}

impl InputGradient {
    /// Counts a layer that reads the input and later calls [`add`](Self::add).
    pub(crate) fn expect_one(&self) {
        self.lock().readers += 1;
    }

    /// Adds one layer's gradient: `add` receives the sum so far, if any. The last layer registers
    /// the total as the gradient of `node`.
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

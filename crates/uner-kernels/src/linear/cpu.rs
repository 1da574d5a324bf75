//! The linear layer on the CPU: f32 activations, the weight in its stored type.

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;

use super::LinearKernels;
use crate::flex::{Floats, Matrix, Weight, contiguous, dims, new_product, slice, tensor};

/// `terms`, plus `addend` if given.
pub(crate) fn added(terms: Floats, addend: Option<Floats>) -> Floats {
    match addend {
        Some(addend) => Flex::float_add(terms, addend),
        None => terms,
    }
}

impl LinearKernels for Flex {
    fn linear_forward(x: Floats, weight: Floats) -> Floats {
        let (x, weight) = (contiguous(x), Weight::new(weight));
        let ([tokens, input], [output, _]) = (dims(&x), weight.dims());
        let mut y = Vec::new();
        weight.apply(Matrix::new(slice(&x), tokens, input, input), &mut y);
        tensor(y, [tokens, output])
    }

    fn linear_backward_x(dy: Floats, weight: Floats, addend: Option<Floats>) -> Floats {
        let (dy, weight) = (contiguous(dy), Weight::new(weight));
        let ([tokens, output], [_, input]) = (dims(&dy), weight.dims());
        let dx = weight.applied_transposed(Matrix::new(slice(&dy), tokens, output, output));
        added(tensor(dx, [tokens, input]), addend)
    }

    fn linear_backward_weight(dy: Floats, x: Floats) -> Floats {
        let (dy, x) = (contiguous(dy), contiguous(x));
        let ([tokens, output], [_, input]) = (dims(&dy), dims(&x));
        let dy = Matrix::new(slice(&dy), tokens, output, output);
        tensor(
            new_product(dy.transposed(), Matrix::new(slice(&x), tokens, input, input)),
            [output, input],
        )
    }
}

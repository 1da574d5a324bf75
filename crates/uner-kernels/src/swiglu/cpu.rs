//! The gated activation on the CPU: one pass over the data in each direction.

use burn::backend::Flex;
use burn::backend::TensorMetadata;

use super::SwigluKernels;
use crate::flex::{Floats, contiguous, exp, new_rows, slice, tensor};

impl SwigluKernels for Flex {
    fn swiglu_forward(gate: Floats, up: Floats) -> Floats {
        let (gate, up) = (contiguous(gate), contiguous(up));
        let (gates, ups) = (slice(&gate), slice(&up));
        let ([y], _) = new_rows(
            gates.len(),
            1,
            #[inline(always)]
            |first, [y]| {
                for ((y, &gate), &up) in y.iter_mut().zip(&gates[first..]).zip(&ups[first..]) {
                    *y = gate * sigmoid(gate) * up;
                }
            },
        );
        tensor(y, gate.shape())
    }

    fn swiglu_backward(gate: Floats, up: Floats, dy: Floats) -> (Floats, Floats) {
        let (gate, up, dy) = (contiguous(gate), contiguous(up), contiguous(dy));
        let (gates, ups, dys) = (slice(&gate), slice(&up), slice(&dy));
        let ([dgate, dup], _) = new_rows(
            gates.len(),
            1,
            #[inline(always)]
            |first, [dgate, dup]| {
                let inputs = gates[first..].iter().zip(&ups[first..]).zip(&dys[first..]);
                for ((dgate, dup), ((&gate, &up), &dy)) in dgate.iter_mut().zip(dup).zip(inputs) {
                    let sigmoid = sigmoid(gate);
                    *dgate = dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
                    *dup = dy * gate * sigmoid;
                }
            },
        );
        (tensor(dgate, gate.shape()), tensor(dup, gate.shape()))
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

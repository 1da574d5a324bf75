//! The gated activation on the CPU: one pass over the data each way.

use burn::backend::Flex;
use burn::backend::TensorMetadata;

use super::SwigluKernels;
use crate::flex::{Floats, contiguous, exp, for_rows, slice, tensor};

impl SwigluKernels for Flex {
    fn swiglu_forward(gate: Floats, up: Floats) -> Floats {
        let (gate, up) = (contiguous(gate), contiguous(up));
        let mut y = vec![0.0; slice(&gate).len()];
        let (gates, ups) = (slice(&gate), slice(&up));
        for_rows(
            &mut y,
            1,
            #[inline(always)]
            |first, y| {
                let (gates, ups) = (&gates[first..], &ups[first..]);
                for ((y, &gate), &up) in y.iter_mut().zip(gates).zip(ups) {
                    *y = gate * sigmoid(gate) * up;
                }
            },
        );
        tensor(y, gate.shape())
    }

    fn swiglu_backward(gate: Floats, up: Floats, dy: Floats) -> (Floats, Floats) {
        let (gate, up, dy) = (contiguous(gate), contiguous(up), contiguous(dy));
        let (gates, ups, dys) = (slice(&gate), slice(&up), slice(&dy));
        let mut dgate = vec![0.0; gates.len()];
        let mut dup = vec![0.0; gates.len()];
        for_rows(
            &mut dgate,
            1,
            #[inline(always)]
            |first, dgate| {
                for (((dgate, &gate), &up), &dy) in
                    dgate.iter_mut().zip(&gates[first..]).zip(&ups[first..]).zip(&dys[first..])
                {
                    let sigmoid = sigmoid(gate);
                    *dgate = dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
                }
            },
        );
        for_rows(
            &mut dup,
            1,
            #[inline(always)]
            |first, dup| {
                for ((dup, &gate), &dy) in dup.iter_mut().zip(&gates[first..]).zip(&dys[first..]) {
                    *dup = dy * gate * sigmoid(gate);
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

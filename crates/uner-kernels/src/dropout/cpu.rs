//! Dropout on the CPU: rows spread over the threads.

use burn::backend::{Flex, TensorMetadata};

use super::{DropoutKernels, DropoutSite, DroppedLinearKernels, start};
use crate::flex::{Floats, Ints, contiguous, dims, ints, new_rows, slice, tensor};
use crate::hash::nth;
use crate::linear::LinearKernels;
use crate::linear::cpu::added;

impl DroppedLinearKernels for Flex {
    fn dropped_linear_backward_x(
        dy: Floats,
        weight: Floats,
        keys: Ints,
        site: DropoutSite,
        addend: Option<Floats>,
    ) -> Floats {
        added(Self::drop_out(Self::linear_backward_x(dy, weight, None), keys, site), addend)
    }
}

impl DropoutKernels for Flex {
    fn drop_out(x: Floats, keys: Ints, site: DropoutSite) -> Floats {
        let (x, keys) = (contiguous(x), ints(&keys));
        let [_, columns] = dims(&x);
        let (xs, scale, threshold) = (slice(&x), site.scale(), site.threshold());
        let width = columns.max(1);
        let ([y], _) = new_rows(
            xs.len(),
            width,
            #[inline(always)]
            |first, [y]| {
                let rows = y.chunks_exact_mut(width).zip(xs[first * width..].chunks_exact(width));
                for ((y, x), &key) in rows.zip(&keys[first..]) {
                    let start = start(key, site.layer_key);
                    for ((y, x), column) in y.iter_mut().zip(x).zip(0u32..) {
                        *y = if nth(start, column) < threshold { 0.0 } else { x * scale };
                    }
                }
            },
        );
        tensor(y, x.shape())
    }
}

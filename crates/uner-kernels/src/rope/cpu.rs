//! The rotation on the CPU: tokens spread over the threads.

use burn::backend::Flex;
use burn::backend::TensorMetadata;

use super::RopeKernels;
use crate::flex::{Floats, contiguous, dims, new_rows, slice, tensor};

impl RopeKernels for Flex {
    fn rotate(x: Floats, cos: Floats, sin: Floats, back: bool) -> Floats {
        let (x, cos, sin) = (contiguous(x), contiguous(cos), contiguous(sin));
        let [_, _, heads, head_dim] = dims(&x);
        let (half, width) = (head_dim / 2, heads * head_dim);
        let (xs, cosines, sines) = (slice(&x), slice(&cos), slice(&sin));
        let sign = if back { -1.0 } else { 1.0 };
        let ([y], _) = new_rows(
            xs.len(),
            width,
            #[inline(always)]
            |first, [y]| {
                let tokens = y.chunks_exact_mut(width).zip(xs[first * width..].chunks_exact(width));
                for ((y, x), token) in tokens.zip(first..) {
                    let cos = &cosines[token * half..][..half];
                    let sin = &sines[token * half..][..half];
                    for (y, x) in y.chunks_exact_mut(head_dim).zip(x.chunks_exact(head_dim)) {
                        let (y1, y2) = y.split_at_mut(half);
                        let (x1, x2) = x.split_at(half);
                        for i in 0..half {
                            y1[i] = x1[i] * cos[i] - sign * x2[i] * sin[i];
                            y2[i] = x2[i] * cos[i] + sign * x1[i] * sin[i];
                        }
                    }
                }
            },
        );
        tensor(y, x.shape())
    }
    fn rotate_both([q, k]: [Floats; 2], cos: Floats, sin: Floats, back: bool) -> [Floats; 2] {
        [Self::rotate(q, cos.clone(), sin.clone(), back), Self::rotate(k, cos, sin, back)]
    }
}

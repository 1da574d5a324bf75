//! The norm on the CPU: rows spread over the threads, statistics in f32 partial sums.

use burn::backend::Flex;
use burn::backend::TensorMetadata;

use super::RmsNormKernels;
use crate::flex::{Floats, contiguous, dims, in_order, new_rows, slice, sum, tensor, widened};

impl RmsNormKernels for Flex {
    fn rms_norm_forward(x: Floats, weight: Floats, eps: f64) -> Floats {
        let (x, weight) = (contiguous(x), in_order(weight));
        let [_, hidden] = dims(&x);
        let (xs, weights) = (slice(&x), &*widened(&weight));
        let ([y], _) = new_rows(
            xs.len(),
            hidden,
            #[inline(always)]
            |first, [y]| {
                for (y, x) in
                    y.chunks_exact_mut(hidden).zip(xs[first * hidden..].chunks_exact(hidden))
                {
                    let scale = reciprocal_root(x, eps);
                    for ((y, &x), &weight) in y.iter_mut().zip(x).zip(weights) {
                        *y = x * scale * weight;
                    }
                }
            },
        );
        tensor(y, x.shape())
    }

    fn add_rms_norm_forward(
        x: Floats,
        residual: Floats,
        weight: Floats,
        eps: f64,
    ) -> (Floats, Floats) {
        let (x, residual, weight) = (contiguous(x), contiguous(residual), in_order(weight));
        let [_, hidden] = dims(&x);
        let (xs, residuals, weights) = (slice(&x), slice(&residual), &*widened(&weight));
        let ([h, y], _) = new_rows(
            xs.len(),
            hidden,
            #[inline(always)]
            |first, [h, y]| {
                let start = first * hidden;
                add_rows(h, y, &xs[start..], &residuals[start..], weights, eps);
            },
        );
        (tensor(h, x.shape()), tensor(y, x.shape()))
    }

    /// With `r` the reciprocal root mean square: `dweight = Σ dy · x · r`, and
    /// `dx = r · (dy · weight - x · r² · mean(dy · weight · x)) + residual_grad`.
    fn rms_norm_backward(
        x: Floats,
        weight: Floats,
        eps: f64,
        dy: Floats,
        residual_grad: Option<Floats>,
        wants_weight: bool,
    ) -> (Floats, Option<Floats>) {
        let (x, weight, dy, residual_grad) =
            (contiguous(x), in_order(weight), contiguous(dy), residual_grad.map(contiguous));
        let [_, hidden] = dims(&x);
        let (xs, weights, dys) = (slice(&x), &*widened(&weight), slice(&dy));
        let residual_grads = residual_grad.as_ref().map(slice);
        // One sum per piece, added in order afterwards, so that the result does not depend on the
        // number of threads.
        let ([dx], dweights) = new_rows(
            xs.len(),
            hidden,
            #[inline(always)]
            |first, [dx]| {
                let mut dweight = vec![0.0; if wants_weight { hidden } else { 0 }];
                let start = first * hidden;
                backward_rows(dx, &mut dweight, &xs[start..], weights, eps, &dys[start..]);
                if let Some(residual_grads) = residual_grads {
                    dx.iter_mut().zip(&residual_grads[start..]).for_each(|(dx, grad)| *dx += grad);
                }
                dweight
            },
        );
        let dweight = wants_weight.then(|| {
            let mut dweight = vec![0.0; hidden];
            for piece in dweights {
                dweight.iter_mut().zip(piece).for_each(|(sum, term)| *sum += term);
            }
            tensor(dweight, weight.shape())
        });
        (tensor(dx, x.shape()), dweight)
    }
}

/// Writes `h`, the sum, and `y`, its norm.
#[inline(always)]
fn add_rows(h: &mut [f32], y: &mut [f32], x: &[f32], residual: &[f32], weight: &[f32], eps: f64) {
    let hidden = weight.len();
    let inputs = x.chunks_exact(hidden).zip(residual.chunks_exact(hidden));
    for ((h, y), (x, residual)) in
        h.chunks_exact_mut(hidden).zip(y.chunks_exact_mut(hidden)).zip(inputs)
    {
        for i in 0..hidden {
            h[i] = x[i] + residual[i];
        }
        let scale = reciprocal_root(h, eps);
        for i in 0..hidden {
            y[i] = h[i] * scale * weight[i];
        }
    }
}

/// Writes `dx`, and adds these rows to the weight's gradient, which is empty if it is not needed.
#[inline(always)]
fn backward_rows(
    dx: &mut [f32],
    dweight: &mut [f32],
    x: &[f32],
    weight: &[f32],
    eps: f64,
    dy: &[f32],
) {
    let hidden = weight.len();
    let rows = dx.chunks_exact_mut(hidden).zip(x.chunks_exact(hidden)).zip(dy.chunks_exact(hidden));
    for ((dx, x), dy) in rows {
        let scale = reciprocal_root(x, eps);
        let mean = sum([dy, weight, x], |[dy, weight, x]| dy * weight * x) / hidden as f32;
        let pull = scale * scale * mean;
        for i in 0..hidden {
            dx[i] = scale * (dy[i] * weight[i] - x[i] * pull);
        }
        for ((dweight, &x), &dy) in dweight.iter_mut().zip(x).zip(dy) {
            *dweight += dy * x * scale;
        }
    }
}

#[inline(always)]
fn reciprocal_root(x: &[f32], eps: f64) -> f32 {
    let mean_square = sum([x], |[x]| x * x) / x.len() as f32;
    1.0 / (mean_square + eps as f32).sqrt()
}

//! The entries on the CPU: one dot product each.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{Entries, SparseLinearOps};
use crate::flex::{
    Floats, Stored, Values, contiguous, dims, in_order, rows_per_piece, slice, sum, tensor, values,
    vectorized,
};

impl SparseLinearOps for Flex {
    fn sparse_linear(x: Floats, weight: Floats, entries: Entries) -> Floats {
        let (x, weight) = (contiguous(x), in_order(weight));
        let [_, width] = dims(&x);
        let y = match values(&weight) {
            Values::F32(weight) => products(slice(&x), weight, width, &entries),
            Values::Bf16(weight) => products(slice(&x), weight, width, &entries),
        };
        tensor(y, [entries.len()])
    }
}

fn products<W: Stored>(
    x: &[f32],
    weight: &[W],
    width: usize,
    entries: &[(usize, usize)],
) -> Vec<f32> {
    let mut y = vec![0.0; entries.len()];
    let piece = rows_per_piece(width);
    y.par_chunks_mut(piece).zip(entries.par_chunks(piece)).for_each(|(y, entries)| {
        vectorized(
            #[inline(always)]
            || {
                for (y, &(row, output)) in y.iter_mut().zip(entries) {
                    *y = dot(&x[row * width..][..width], &weight[output * width..][..width]);
                }
            },
        );
    });
    y
}

/// The dot product in a fixed order.
#[inline(always)]
fn dot<W: Stored>(x: &[f32], weight: &[W]) -> f32 {
    let (mut total, mut wide) = (0.0, [0.0; 256]);
    for (x, weight) in x.chunks(wide.len()).zip(weight.chunks(wide.len())) {
        let wide = &mut wide[..weight.len()];
        wide.iter_mut().zip(weight).for_each(|(wide, weight)| *wide = weight.widen());
        total += sum([x, wide], |[x, weight]| x * weight);
    }
    total
}

//! The CPU kernel. Threads sum pieces; the partial sums are added in order, in f64.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{PARTS, SquaredNormOps};
use crate::flex::{
    Floats, Stored, Values, in_order, rows_per_piece, slice, sum, tensor, values, vectorized,
};

impl SquaredNormOps for Flex {
    /// Writes the sum to the first part only.
    fn squared_parts(values: Floats, parts: Floats, index: usize) -> Floats {
        let count = slice(&parts).len();
        let mut all = slice(&parts).to_vec();
        all[index * PARTS] = squares(&in_order(values)) as f32;
        tensor(all, [count])
    }

    fn sums_of_parts(parts: Floats) -> Floats {
        let sums: Vec<f32> = slice(&parts).chunks(PARTS).map(|parts| parts[0]).collect();
        let count = sums.len();
        tensor(sums, [count])
    }
}

fn squares(tensor: &Floats) -> f64 {
    match values(tensor) {
        Values::F32(values) => total(values),
        Values::Bf16(values) => total(values),
    }
}

fn total<T: Stored>(values: &[T]) -> f64 {
    let pieces: Vec<f32> = values
        .par_chunks(rows_per_piece(1))
        .map(|piece| {
            vectorized(
                #[inline(always)]
                || sum([piece], |[value]| value.widen() * value.widen()),
            )
        })
        .collect();
    pieces.into_iter().map(f64::from).sum()
}

//! The sum on the CPU: pieces over threads, their sums added up in order and in f64.

use burn::backend::Flex;
use rayon::prelude::*;

use super::SquaredNormOps;
use crate::flex::{Floats, Stored, Values, in_order, rows_per_piece, sum, tensor, values, vectorized};

impl SquaredNormOps for Flex {
    fn squared_norm(tensor: Floats) -> Floats {
        let tensor = in_order(tensor);
        let total = match values(&tensor) {
            Values::F32(values) => total(values),
            Values::Bf16(values) => total(values),
        };
        self::tensor(vec![total as f32], [1])
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

//! The sum on the CPU, in pieces spread over the threads.

use burn::backend::Flex;
use rayon::prelude::*;

use super::AccumulateOps;
use crate::flex::{
    Floats, Stored, Values, contiguous, in_order, rows_per_piece, values, vectorized, whole_buffer,
};

impl AccumulateOps for Flex {
    fn accumulate(sum: Floats, terms: Floats) -> Floats {
        let (mut sum, terms) = (whole_buffer::<f32>(contiguous(sum)), in_order(terms));
        match values(&terms) {
            Values::F32(terms) => add(sum.storage_mut(), terms),
            Values::Bf16(terms) => add(sum.storage_mut(), terms),
        }
        sum
    }
}

fn add<T: Stored>(sum: &mut [f32], terms: &[T]) {
    let size = rows_per_piece(1);
    sum.par_chunks_mut(size).zip(terms.par_chunks(size)).for_each(|(sum, terms)| {
        vectorized(
            #[inline(always)]
            || sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term.widen()),
        );
    });
}

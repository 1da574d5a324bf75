//! The sum on the CPU: one row after the other, because there are far fewer rows than in a matrix.

use burn::backend::Flex;
use burn::tensor::DType;

use super::AddRowsOps;
use crate::flex::{Floats, Ints, contiguous, dims, in_order, ints, whole_buffer, widened};

impl AddRowsOps for Flex {
    fn add_rows(sum: Floats, rows: Floats, tokens: Ints, ids: Ints, starts: Ints) -> Floats {
        assert_eq!(sum.dtype(), DType::F32, "the type of a sum");
        let (mut sum, rows) = (whole_buffer::<f32>(contiguous(sum)), in_order(rows));
        let [_, width] = dims(&sum);
        let rows = &*widened(&rows);
        let (tokens, ids, starts) = (ints(&tokens), ints(&ids), ints(&starts));
        let all = sum.storage_mut::<f32>();
        for (id, range) in ids.iter().zip(starts.windows(2)) {
            let row = &mut all[*id as usize * width..][..width];
            for token in &tokens[range[0] as usize..range[1] as usize] {
                let terms = &rows[*token as usize * width..][..width];
                row.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
        }
        sum
    }
}

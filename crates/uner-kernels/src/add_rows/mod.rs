//! Adds rows to rows of a matrix: the backward pass of an embedding. Rows for the same row of the
//! matrix are added in their order, so that repeated runs are equal.

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::profile::{Pass, timed};

/// The operator. It has no gradient.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait AddRowsOps: Backend {
    /// See [`add_rows`]. Adds rows `tokens[starts[g]..starts[g + 1]]` of `rows` to row `ids[g]` of
    /// `sum`; no two `ids` are equal.
    fn add_rows(
        sum: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        tokens: IntTensor<Self>,
        ids: IntTensor<Self>,
        starts: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Adds row `t` of `rows` to row `ids[t]` of `sum`; returns the sum, in the memory of `sum` if it
/// is not shared.
///
/// # Shapes
/// - `sum`: `[vocab, hidden]`, f32
/// - `ids`: `[tokens]`, each below `vocab`
/// - `rows`: `[tokens, hidden]`
///
/// # Panics
/// When widths or lengths differ, an id is not below `vocab`, or `sum` is not f32.
pub fn add_rows(sum: Tensor<2>, ids: &[i32], rows: Tensor<2>) -> Tensor<2> {
    let ([vocab, width], [tokens, rows_width]) = (sum.dims(), rows.dims());
    assert!(
        width == rows_width && tokens == ids.len(),
        "{} ids, {:?} to {:?}",
        ids.len(),
        rows.dims(),
        sum.dims()
    );
    assert_eq!(sum.dtype(), DType::F32, "the type of a sum");
    let is_row = |id: &i32| usize::try_from(*id).is_ok_and(|id| id < vocab);
    assert!(ids.iter().all(is_row), "an id is not below {vocab}");
    if tokens == 0 {
        return sum;
    }
    let [tokens, ids, starts] = grouped(ids).map(|values| {
        let count = values.len();
        let device = rows.device();
        Tensor::<1, Int>::from_data(TensorData::new(values, [count]), (&device, DType::I32))
            .into_dispatch()
    });
    timed("add_rows", Pass::Forward, || {
        let (sum, rows) = (sum.into_dispatch(), rows.into_dispatch());
        Tensor::from_dispatch(<Dispatch as AddRowsOps>::add_rows(sum, rows, tokens, ids, starts))
    })
}

/// Groups tokens by id. Returns the tokens' indices, the distinct ids, and where each id's tokens
/// start, with the last one's end behind them.
fn grouped(ids: &[i32]) -> [Vec<i32>; 3] {
    let mut tokens: Vec<i32> = (0..).take(ids.len()).collect();
    tokens.sort_by_key(|token| ids[*token as usize]);
    let (mut distinct, mut starts) = (Vec::new(), vec![0]);
    for group in tokens.chunk_by(|a, b| ids[*a as usize] == ids[*b as usize]) {
        distinct.push(ids[group[0] as usize]);
        starts.push(starts[starts.len() - 1] + group.len() as i32);
    }
    [tokens, distinct, starts]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_grouped_by_id_in_their_order() {
        let expected = [vec![1, 4, 0, 3, 2], vec![0, 5, 7], vec![0, 2, 4, 5]];
        assert_eq!(grouped(&[5, 0, 7, 5, 0]), expected);
        assert_eq!(grouped(&[3]), [vec![0], vec![3], vec![0, 1]]);
    }
}

//! The sum in burn operations.

use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor, TensorData};

/// See [`super::add_rows`].
pub fn reference(sum: Tensor<2>, ids: &[i32], rows: Tensor<2>) -> Tensor<2> {
    let ids =
        Tensor::<1, Int>::from_data(TensorData::new(ids.to_vec(), [ids.len()]), &rows.device());
    sum.select_assign(0, ids, rows.cast(DType::F32), IndexingUpdateOp::Add)
}

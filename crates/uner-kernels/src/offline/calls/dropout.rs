use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, call, name, over};
use crate::dropout::{DropoutKernels, DropoutSite, DroppedLinearKernels};

/// Rows of the trained models, and rows for which a vector has 2 or 1 elements. Both directions are
/// one kernel. The gradient of an adapter's input, alone and added to another gradient.
pub(super) fn calls() -> Vec<Call> {
    let site = DropoutSite { layer_key: 1, probability: 0.1 };
    let rows = over(&[4_096, 6, 7]).map(move |(dtype, columns)| {
        call(format!("{} columns {columns}", name(dtype)), move |device| {
            Cube::drop_out(
                device.tensor([33, columns], dtype),
                device.tensor([33], DType::I32),
                site,
            );
        })
    });
    let adapters = over(&[(4_096, 16), (7, 5)]).map(move |(dtype, (columns, rank))| {
        call(format!("{} columns {columns} rank {rank}", name(dtype)), move |device| {
            let dx = |addend| {
                let (dy, weight) =
                    (device.tensor([33, rank], dtype), device.tensor([rank, columns], dtype));
                Cube::dropped_linear_backward_x(
                    dy,
                    weight,
                    device.tensor([33], DType::I32),
                    site,
                    addend,
                )
            };
            dx(Some(dx(None)));
        })
    });
    rows.chain(adapters).collect()
}

//! The sum on the GPU: several cubes for each row of `sum` that changes, one vector of columns per
//! unit.

use burn::backend::{Cube, TensorMetadata};
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::AddRowsOps;
use crate::cube::{Floats, Ints, contiguous, dims, element, owned, units_for, vector_size};

impl AddRowsOps for Cube {
    fn add_rows(sum: Floats, rows: Floats, tokens: Ints, ids: Ints, starts: Ints) -> Floats {
        let (sum, rows) = (owned(sum), contiguous(rows));
        let ([_, width], groups) = (dims(&sum), ids.shape().num_elements());
        if width * groups == 0 {
            return sum;
        }
        // The sum's type decides the vector width.
        let vector = vector_size(&sum, width);
        let width = width / vector;
        let units = units_for(width, &sum.client);
        let [tokens, ids, starts] =
            [tokens, ids, starts].map(|ints| into_contiguous(ints).into_buffer_arg());
        add::launch(
            &sum.client,
            CubeCount::Static(groups as u32, width.div_ceil(units) as u32, 1),
            CubeDim::new_1d(units as u32),
            vector,
            rows.clone().into_buffer_arg(),
            tokens,
            ids,
            starts,
            sum.clone().into_buffer_arg(),
            width,
            element(&rows),
        );
        sum
    }
}

/// `width` in vectors.
#[cube(launch, create_dummy_kernel)]
fn add<F: Float, N: Size>(
    rows: &[Vector<F, N>],
    tokens: &[i32],
    ids: &[i32],
    starts: &[i32],
    sum: &mut [Vector<f32, N>],
    width: usize,
    #[define(F)] _dtype: ElemType,
) {
    let column = CUBE_POS_Y as usize * CUBE_DIM as usize + UNIT_POS as usize;
    if column < width {
        let group = CUBE_POS_X as usize;
        let (start, end) = (usize::cast_from(starts[group]), usize::cast_from(starts[group + 1]));
        let at = usize::cast_from(ids[group]) * width + column;
        let mut total = sum[at];
        for index in start..end {
            let token = usize::cast_from(tokens[index]);
            total += Vector::<f32, N>::cast_from(rows[token * width + column]);
        }
        sum[at] = total;
    }
}

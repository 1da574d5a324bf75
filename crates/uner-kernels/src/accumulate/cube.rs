//! The sum on the GPU: one vector per unit, in place if `sum` is not shared.

use burn::backend::{Cube, TensorMetadata};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::AccumulateOps;
use crate::cube::{Floats, contiguous, element, elementwise, owned, vector_size};

impl AccumulateOps for Cube {
    fn accumulate(sum: Floats, terms: Floats) -> Floats {
        let (sum, terms) = (owned(sum), contiguous(terms));
        let count = sum.shape().num_elements();
        // The sum's type decides the vector width, because the sum is most of the memory traffic.
        let vector = vector_size(&sum, count);
        if count > 0 {
            let (cubes, units) = elementwise(count / vector, &sum.client);
            add::launch(
                &sum.client,
                cubes,
                units,
                vector,
                terms.clone().into_buffer_arg(),
                sum.clone().into_buffer_arg(),
                element(&terms),
            );
        }
        sum
    }
}

#[cube(launch, create_dummy_kernel)]
fn add<T: Float, N: Size>(
    terms: &[Vector<T, N>],
    sum: &mut [Vector<f32, N>],
    #[define(T)] _dtype: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < sum.len() {
        sum[at] += Vector::<f32, N>::cast_from(terms[at]);
    }
}

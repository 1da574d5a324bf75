//! The layer on the GPU: the weight is dequantised into a temporary, which the product then reads.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::kernel::{cast, into_contiguous};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::code::NF4;
use super::{GROUP, Layout, QuantFormat, QuantizedLinearKernels};
use crate::cube::{Floats, Ints, contiguous, element, empty};
use crate::linear::LinearKernels;
use crate::linear::cube::{product, spread, transposed};

impl QuantizedLinearKernels for Cube {
    fn quantized_forward(x: Floats, words: Ints, scales: Floats, layout: Layout) -> Floats {
        let dtype = x.dtype();
        let weight = widened(&x, words, scales, layout);
        product(x, transposed(weight), dtype)
    }

    fn quantized_backward_x(
        dy: Floats,
        words: Ints,
        scales: Floats,
        layout: Layout,
        addend: Option<Floats>,
    ) -> Floats {
        let weight = widened(&dy, words, scales, layout);
        Self::linear_backward_x(dy, weight, addend)
    }
}

/// Dequantises the weight to the type of `like`.
fn widened(like: &Floats, words: Ints, scales: Floats, layout: Layout) -> Floats {
    let (words, scales) = (into_contiguous(cast(words, DType::I32)), contiguous(scales));
    let weight = empty(like, [layout.rows, layout.columns], like.dtype());
    let count = layout.rows * layout.words();
    if count == 0 {
        return weight;
    }
    let (cubes, units) = spread(count);
    widen::launch(
        &like.client,
        cubes,
        units,
        words.into_buffer_arg(),
        scales.into_buffer_arg(),
        weight.clone().into_buffer_arg(),
        count,
        layout.columns,
        layout.words(),
        layout.form == QuantFormat::Nf4,
        element(&weight),
    );
    weight
}

/// Dequantises words in a grid-stride loop. `row_words` is the number of words per row, the last of
/// which may lie beyond the columns.
#[cube(launch, create_dummy_kernel)]
fn widen<F: Float>(
    words: &[i32],
    scales: &[f32],
    weight: &mut [F],
    count: usize,
    columns: usize,
    row_words: usize,
    #[comptime] nf4: bool,
    #[define(F)] _dtype: ElemType,
) {
    let codes = comptime!(if nf4 { 8usize } else { 4usize });
    let group_words = comptime!(GROUP / codes);
    for index in range_stepped(ABSOLUTE_POS, count, CUBE_COUNT * (CUBE_DIM as usize)) {
        let row = index / row_words;
        let first = index % row_words * codes;
        let scale = scales[index / group_words];
        let word = u32::cast_from(words[index]);
        #[unroll]
        for lane in 0..codes {
            let column = first + lane;
            if column < columns {
                let value = if comptime!(nf4) {
                    quantile((word >> comptime!(4 * lane as u32)) & 15u32)
                } else {
                    let code = (word >> comptime!(8 * lane as u32)) & 255u32;
                    let negative = select(code > 127u32, 256.0f32, 0.0f32);
                    f32::cast_from(code) - negative
                };
                weight[row * columns + column] = F::cast_from(value * scale);
            }
        }
    }
}

/// An entry of [`NF4`].
#[cube]
fn quantile(code: u32) -> f32 {
    let mut value = comptime!(NF4[0]).runtime();
    #[unroll]
    for index in 1..16u32 {
        value = select(code == index, comptime!(NF4[index as usize]).runtime(), value);
    }
    value
}

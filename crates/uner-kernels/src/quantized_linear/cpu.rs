//! The layer on the CPU: f32 activations, the weight dequantised one panel of rows at a time.

use burn::backend::Flex;
use rayon::prelude::*;

use super::code::widen_row;
use super::{Layout, QuantizedLinearKernels};
use crate::flex::{
    Floats, Ints, Matrix, Store, contiguous, dims, ints, is_much, product, product_strided, slice,
    tensor, vectorized,
};
use crate::linear::cpu::added;

/// Elements of a panel: 16 MiB as f32, as for weights in bf16.
const PANEL: usize = 4 << 20;

impl QuantizedLinearKernels for Flex {
    fn quantized_forward(x: Floats, words: Ints, scales: Floats, layout: Layout) -> Floats {
        let x = contiguous(x);
        let [tokens, input] = dims(&x);
        let mut y = vec![0.0; tokens * layout.rows];
        let matrix = Matrix::new(slice(&x), tokens, input, input);
        let parallel = is_much(tokens, layout.rows, input);
        for_panels(&words, scales, layout, |first, panel| {
            let columns = (&mut y[first..], layout.rows);
            product_strided(columns, Store::Replace, matrix, panel.transposed(), 1.0, parallel);
        });
        tensor(y, [tokens, layout.rows])
    }

    fn quantized_backward_x(
        dy: Floats,
        words: Ints,
        scales: Floats,
        layout: Layout,
        addend: Option<Floats>,
    ) -> Floats {
        let dy = contiguous(dy);
        let [tokens, output] = dims(&dy);
        let mut dx = vec![0.0; tokens * layout.columns];
        let matrix = Matrix::new(slice(&dy), tokens, output, output);
        let parallel = is_much(tokens, output, layout.columns);
        for_panels(&words, scales, layout, |first, panel| {
            product(&mut dx, Store::Add, matrix.columns(first, panel.rows()), panel, 1.0, parallel);
        });
        added(tensor(dx, [tokens, layout.columns]), addend)
    }
}

/// Calls `work` with the index of the first row and some rows in f32, panel after panel.
fn for_panels(words: &Ints, scales: Floats, layout: Layout, mut work: impl FnMut(usize, Matrix)) {
    let Layout { form, rows, columns } = layout;
    if rows * columns == 0 {
        return;
    }
    let (words, scales) = (ints(words), contiguous(scales));
    let (row_words, row_scales) = (layout.words(), layout.groups());
    let panel_rows = (PANEL / columns).clamp(1, rows);
    let mut buffer = vec![0.0; panel_rows * columns];
    let panels =
        words.chunks(panel_rows * row_words).zip(slice(&scales).chunks(panel_rows * row_scales));
    for (index, (words, scales)) in panels.enumerate() {
        let count = words.len() / row_words;
        let buffer = &mut buffer[..count * columns];
        let stored = words.par_chunks(row_words).zip(scales.par_chunks(row_scales));
        buffer.par_chunks_mut(columns).zip(stored).for_each(|(row, (words, scales))| {
            vectorized(
                #[inline(always)]
                || widen_row(row, words, scales, form),
            );
        });
        work(index * panel_rows, Matrix::new(buffer, count, columns, columns));
    }
}

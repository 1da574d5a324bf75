//! Panels of f32, and the product of a tile with one.

use std::ops::Range;
use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::PANEL;
use super::cpu::{Columns, Panels, tiles};

/// Panels of 32 outputs, `[panels, in, 32]`, the last one filled up with zeros.
#[derive(Debug, Clone)]
pub(super) struct FloatPanels {
    panels: Arc<[f32]>,
    outputs: usize,
    inputs: usize,
}

impl FloatPanels {
    /// Packs a weight, row by row.
    pub(super) fn new(values: &[f32], [outputs, inputs]: [usize; 2]) -> Self {
        let mut panels = vec![0.0; outputs.div_ceil(PANEL) * inputs * PANEL];
        let rows = values.chunks_exact(inputs.max(1)).enumerate();
        for (output, row) in rows {
            let panel = &mut panels[output / PANEL * inputs * PANEL..];
            for (column, &value) in row.iter().enumerate() {
                panel[column * PANEL + output % PANEL] = value;
            }
        }
        Self { panels: panels.into(), outputs, inputs }
    }

    /// The weight as it was packed, row by row.
    pub(super) fn values(&self) -> Vec<f32> {
        let value = |index: usize| {
            let (output, column) = (index / self.inputs, index % self.inputs);
            self.panels[(output / PANEL * self.inputs + column) * PANEL + output % PANEL]
        };
        (0..self.outputs * self.inputs).map(value).collect()
    }
}

impl Panels for FloatPanels {
    type Part = f32;

    fn dims(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    fn parts(&self) -> usize {
        self.inputs
    }

    fn interleave(&self, x: &[f32], out: &mut [f32]) {
        for (first, count) in tiles(x.len() / self.inputs) {
            let range = first * self.inputs..(first + count) * self.inputs;
            let tile = &mut out[range.clone()];
            for (row, values) in x[range].chunks_exact(self.inputs).enumerate() {
                let places = tile.iter_mut().skip(row).step_by(count);
                places.zip(values).for_each(|(to, from)| *to = *from);
            }
        }
    }

    fn multiply(&self, tiles: &[f32], panels: Range<usize>, out: &mut [f32], stride: usize) {
        let size = self.inputs * PANEL;
        let panels = &self.panels[panels.start * size..panels.end * size];
        pulp::Arch::new().dispatch(Piece { rows: tiles, inputs: self.inputs, panels, out, stride });
    }
}

/// A part of a product: some rows and some panels.
struct Piece<'a> {
    /// See [`Panels::interleave`].
    rows: &'a [f32],
    inputs: usize,
    /// `[panels, inputs, PANEL]`
    panels: &'a [f32],
    /// `[rows, stride]`, of which the panels fill the first columns.
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, inputs, panels, out, stride } = self;
        for (index, panel) in panels.chunks_exact(inputs * PANEL).enumerate() {
            let (panel, _) = S::as_simd_f32s(panel);
            for (first, count) in tiles(rows.len() / inputs) {
                let rows = &rows[first * inputs..][..count * inputs];
                let out = Columns::of_panel(out, stride, first, index);
                // `R · V` sums are in registers: up to 24 of the 32 of AVX-512, which has 2 vectors
                // in a panel, and up to 12 of the 16 of AVX2, which has 4.
                match (PANEL / S::F32_LANES, count) {
                    (2, 12) => tile::<S, 2, 1, 12, 1>(simd, rows, panel, out),
                    (2, 8) => tile::<S, 2, 1, 8, 1>(simd, rows, panel, out),
                    (2, 4) => tile::<S, 2, 1, 4, 1>(simd, rows, panel, out),
                    (2, 3) => tile::<S, 2, 1, 3, 1>(simd, rows, panel, out),
                    (2, 2) => tile::<S, 2, 1, 2, 1>(simd, rows, panel, out),
                    (2, _) => tile::<S, 2, 1, 1, 1>(simd, rows, panel, out),
                    (4, 12) => tile::<S, 2, 2, 6, 2>(simd, rows, panel, out),
                    (4, 8) => tile::<S, 2, 2, 4, 2>(simd, rows, panel, out),
                    (4, 4) => tile::<S, 2, 2, 4, 1>(simd, rows, panel, out),
                    (4, 3) => tile::<S, 4, 1, 3, 1>(simd, rows, panel, out),
                    (4, 2) => tile::<S, 4, 1, 2, 1>(simd, rows, panel, out),
                    (4, _) => tile::<S, 4, 1, 1, 1>(simd, rows, panel, out),
                    (8, 12) => tile::<S, 2, 4, 6, 2>(simd, rows, panel, out),
                    (8, 8) => tile::<S, 2, 4, 4, 2>(simd, rows, panel, out),
                    (8, 4) => tile::<S, 2, 4, 4, 1>(simd, rows, panel, out),
                    (8, 3) => tile::<S, 4, 2, 3, 1>(simd, rows, panel, out),
                    (8, 2) => tile::<S, 4, 2, 2, 1>(simd, rows, panel, out),
                    (8, _) => tile::<S, 4, 2, 1, 1>(simd, rows, panel, out),
                    (_, 12) => tile::<S, 4, 8, 3, 4>(simd, rows, panel, out),
                    (_, 8) => tile::<S, 4, 8, 2, 4>(simd, rows, panel, out),
                    (_, 4) => tile::<S, 4, 8, 2, 2>(simd, rows, panel, out),
                    (_, 3) => tile::<S, 4, 8, 3, 1>(simd, rows, panel, out),
                    (_, 2) => tile::<S, 4, 8, 2, 1>(simd, rows, panel, out),
                    (_, _) => tile::<S, 4, 8, 1, 1>(simd, rows, panel, out),
                }
            }
        }
    }
}

/// Multiplies `M · R` rows with a panel of `N · V` vectors, `R` rows and `V` vectors at a time.
#[inline(always)]
fn tile<S: Simd, const V: usize, const N: usize, const R: usize, const M: usize>(
    simd: S,
    rows: &[f32],
    panel: &[S::f32s],
    mut out: Columns,
) {
    let rows = rows.as_chunks::<R>().0.as_chunks::<M>().0;
    let panel = panel.as_chunks::<V>().0.as_chunks::<N>().0;
    for part in 0..N {
        for some in 0..M {
            let mut sums = [[simd.splat_f32s(0.0); V]; R];
            for (x, weights) in rows.iter().zip(panel) {
                for (sums, &x) in sums.iter_mut().zip(&x[some]) {
                    let x = simd.splat_f32s(x);
                    for (sum, &weight) in sums.iter_mut().zip(&weights[part]) {
                        *sum = simd.mul_add_e_f32s(weight, x, *sum);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let mut values = [0.0; PANEL];
                let (vectors, _) = S::as_mut_simd_f32s(&mut values);
                vectors[..V].copy_from_slice(sums);
                let width = V * S::F32_LANES;
                out.write(some * R + row, part * width, &values[..width]);
            }
        }
    }
}

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
        match PANEL / S::F32_LANES {
            2 => self.run::<S, 2>(simd),
            4 => self.run::<S, 4>(simd),
            8 => self.run::<S, 8>(simd),
            _ => self.run::<S, PANEL>(simd),
        }
    }
}

impl Piece<'_> {
    /// `V` vectors make a panel.
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Self { rows, inputs, panels, out, stride } = self;
        for (index, panel) in panels.chunks_exact(inputs * PANEL).enumerate() {
            let (panel, _) = S::as_simd_f32s(panel);
            for (first, count) in tiles(rows.len() / inputs) {
                let rows = &rows[first * inputs..][..count * inputs];
                let out = Columns::of_panel(out, stride, first, index);
                match count {
                    12 => tile::<S, V, 12>(simd, rows, panel, out),
                    8 => tile::<S, V, 8>(simd, rows, panel, out),
                    4 => tile::<S, V, 4>(simd, rows, panel, out),
                    3 => tile::<S, V, 3>(simd, rows, panel, out),
                    2 => tile::<S, V, 2>(simd, rows, panel, out),
                    _ => tile::<S, V, 1>(simd, rows, panel, out),
                }
            }
        }
    }
}

/// Multiplies `R` rows with a panel.
#[inline(always)]
fn tile<S: Simd, const V: usize, const R: usize>(
    simd: S,
    rows: &[f32],
    panel: &[S::f32s],
    mut out: Columns,
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    let (rows, _) = rows.as_chunks::<R>();
    for (x, weights) in rows.iter().zip(panel.chunks_exact(V)) {
        for (sums, &x) in sums.iter_mut().zip(x) {
            let x = simd.splat_f32s(x);
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(weight, x, *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let mut values = [0.0; PANEL];
        let (vectors, _) = S::as_mut_simd_f32s(&mut values);
        vectors.copy_from_slice(sums);
        out.write(row, &values);
    }
}

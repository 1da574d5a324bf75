//! The product on the CPU: tiles of rows whose sums stay in registers, one panel of outputs at a
//! time.

use burn::backend::Flex;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{PANEL, PackedLinearOps, PackedWeight};
use crate::flex::{Floats, contiguous, dims, is_much, slice, tensor};

/// Rows of a tile, largest first: with two vectors of outputs, 12 rows fill 24 of 32 registers.
const TILES: [usize; 6] = [12, 8, 4, 3, 2, 1];
/// Rows that one thread multiplies with all panels, if there are enough: a multiple of the largest
/// tile, so many that reading the weights does not count.
const ROWS: usize = 48;
/// Pieces that the panels of few rows are split into: several for each thread, so that they finish
/// together.
const PIECES: usize = 16;

impl PackedLinearOps for Flex {
    fn packed_linear(x: Floats, weight: PackedWeight) -> Floats {
        let x = contiguous(x);
        let ([tokens, inputs], [outputs, _]) = (dims(&x), weight.dims());
        let mut y = vec![0.0; tokens * outputs];
        if !y.is_empty() && inputs > 0 {
            if !is_much(tokens, outputs, inputs) {
                rows_product(slice(&x), &weight, &mut y);
            } else if tokens >= ROWS * rayon::current_num_threads() {
                by_rows(slice(&x), &weight, &mut y);
            } else {
                by_panels(slice(&x), &weight, &mut y);
            }
        }
        tensor(y, [tokens, outputs])
    }
}

/// Multiplies rows with all panels, on this thread.
fn rows_product(x: &[f32], weight: &PackedWeight, y: &mut [f32]) {
    let [stride, inputs] = weight.dims();
    let rows = &interleaved(x, inputs);
    pulp::Arch::new().dispatch(Piece { rows, inputs, panels: &weight.panels, out: y, stride });
}

/// Spreads the rows over the threads.
fn by_rows(x: &[f32], weight: &PackedWeight, y: &mut [f32]) {
    let [outputs, inputs] = weight.dims();
    let rows = x.par_chunks(ROWS * inputs).zip(y.par_chunks_mut(ROWS * outputs));
    rows.for_each(|(x, y)| rows_product(x, weight, y));
}

/// Spreads the panels over the threads.
fn by_panels(x: &[f32], weight: &PackedWeight, y: &mut [f32]) {
    let (arch, [outputs, inputs]) = (pulp::Arch::new(), weight.dims());
    let (rows, tokens) = (interleaved(x, inputs), x.len() / inputs);
    let per_piece = outputs.div_ceil(PANEL).div_ceil(PIECES);
    // The columns of a piece, `[tokens, width]`, so that each thread writes to one slice.
    let columns: Vec<Vec<f32>> = weight
        .panels
        .par_chunks(per_piece * inputs * PANEL)
        .enumerate()
        .map(|(index, panels)| {
            let width = (outputs - index * per_piece * PANEL).min(per_piece * PANEL);
            let mut out = vec![0.0; tokens * width];
            arch.dispatch(Piece { rows: &rows, inputs, panels, out: &mut out, stride: width });
            out
        })
        .collect();
    for (token, y) in y.chunks_exact_mut(outputs).enumerate() {
        for (columns, y) in columns.iter().zip(y.chunks_mut(per_piece * PANEL)) {
            y.copy_from_slice(&columns[token * y.len()..][..y.len()]);
        }
    }
}

/// The first row of each tile, with its number of rows.
fn tiles(tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let count = TILES.into_iter().find(|count| *count <= tokens - first)?;
        first += count;
        Some((first - count, count))
    })
}

/// Tiles of rows, each `[inputs, rows]`: the elements that are multiplied with the same weights lie
/// side by side.
fn interleaved(x: &[f32], inputs: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    for (first, count) in tiles(x.len() / inputs) {
        let range = first * inputs..(first + count) * inputs;
        let tile = &mut out[range.clone()];
        for (row, values) in x[range].chunks_exact(inputs).enumerate() {
            tile.iter_mut().skip(row).step_by(count).zip(values).for_each(|(to, from)| *to = *from);
        }
    }
    out
}

/// A part of a product: some rows and some panels.
struct Piece<'a> {
    /// See [`interleaved`].
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
                let column = index * PANEL;
                let width = PANEL.min(stride - column);
                let out = Columns { out: &mut out[first * stride + column..], stride, width };
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

/// Some columns of a matrix, from the first element of a row on.
struct Columns<'a> {
    out: &'a mut [f32],
    /// Elements from row to row.
    stride: usize,
    /// Their number, less than a panel's at the end of a row.
    width: usize,
}

/// Multiplies `R` rows with a panel.
#[inline(always)]
fn tile<S: Simd, const V: usize, const R: usize>(
    simd: S,
    rows: &[f32],
    panel: &[S::f32s],
    Columns { out, stride, width }: Columns,
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
        out[row * stride..][..width].copy_from_slice(&values[..width]);
    }
}

//! The product on the CPU: spread over threads, and split into tiles of rows whose sums stay in
//! registers, one panel of outputs at a time.

use std::ops::Range;

use burn::backend::Flex;
use rayon::prelude::*;

use super::{PANEL, PackedLinearOps, PackedWeight, Stored};
use crate::flex::{Floats, contiguous, dims, is_much, slice, tensor};

/// Rows of a tile, largest first.
const TILES: [usize; 6] = [12, 8, 4, 3, 2, 1];
/// Fewest rows that one thread multiplies with all panels: a multiple of the largest tile, so many
/// that reading the weights does not count.
const ROWS: usize = 48;
/// Pieces that the panels of few rows are split into: several for each thread, so that they finish
/// together.
const PIECES: usize = 16;

impl PackedLinearOps for Flex {
    fn packed_linear(x: Floats, weight: PackedWeight) -> Floats {
        let x = contiguous(x);
        let [tokens, _] = dims(&x);
        let [outputs, _] = weight.dims();
        let y = match &weight.0 {
            Stored::Float(panels) => product(slice(&x), tokens, panels),
            Stored::Int8(panels) => product(slice(&x), tokens, panels),
        };
        tensor(y, [tokens, outputs])
    }
}

/// A weight in panels of [`PANEL`] outputs.
pub(super) trait Panels: Sync {
    /// What a row is read in: a number, or a group of numbers.
    type Part: Copy + Default + Send + Sync;

    /// `[out, in]`.
    fn dims(&self) -> [usize; 2];

    /// Parts of a row.
    fn parts(&self) -> usize;

    /// Writes rows, `[rows, in]`, as tiles (see [`tiles`]) of `[parts, rows]`: the parts that are
    /// multiplied with the same weights lie side by side.
    fn interleave(&self, x: &[f32], tiles: &mut [Self::Part]);

    /// Multiplies the tiles of some rows with some panels. The product is written to the first
    /// columns of `out`, `[rows, stride]`.
    fn multiply(&self, tiles: &[Self::Part], panels: Range<usize>, out: &mut [f32], stride: usize);
}

/// Computes `x · weightᵀ`.
pub(super) fn product<P: Panels>(x: &[f32], tokens: usize, weight: &P) -> Vec<f32> {
    let [outputs, inputs] = weight.dims();
    let mut y = vec![0.0; tokens * outputs];
    if !y.is_empty() && inputs > 0 {
        if !is_much(tokens, outputs, inputs) {
            rows_product(x, weight, &mut y);
        } else if tokens >= ROWS * rayon::current_num_threads() {
            by_rows(x, weight, &mut y);
        } else {
            by_panels(x, weight, &mut y);
        }
    }
    y
}

/// Multiplies rows with all panels, on this thread.
fn rows_product<P: Panels>(x: &[f32], weight: &P, y: &mut [f32]) {
    let [outputs, inputs] = weight.dims();
    let mut tiles = vec![P::Part::default(); x.len() / inputs * weight.parts()];
    weight.interleave(x, &mut tiles);
    weight.multiply(&tiles, 0..outputs.div_ceil(PANEL), y, outputs);
}

/// Spreads the rows over the threads, in two pieces for each thread if there are enough.
fn by_rows<P: Panels>(x: &[f32], weight: &P, y: &mut [f32]) {
    let [outputs, inputs] = weight.dims();
    let pieces = 2 * rayon::current_num_threads();
    let piece = (x.len() / inputs).div_ceil(pieces).next_multiple_of(TILES[0]).max(ROWS);
    let rows = x.par_chunks(piece * inputs).zip(y.par_chunks_mut(piece * outputs));
    rows.for_each(|(x, y)| rows_product(x, weight, y));
}

/// Spreads the panels over the threads.
fn by_panels<P: Panels>(x: &[f32], weight: &P, y: &mut [f32]) {
    let [outputs, inputs] = weight.dims();
    let (tokens, panels) = (x.len() / inputs, outputs.div_ceil(PANEL));
    let mut tiles = vec![P::Part::default(); tokens * weight.parts()];
    let rows = x.par_chunks(ROWS * inputs).zip(tiles.par_chunks_mut(ROWS * weight.parts()));
    rows.for_each(|(x, tiles)| weight.interleave(x, tiles));
    let per_piece = panels.div_ceil(PIECES);
    // The columns of a piece, `[tokens, width]`, so that each thread writes to one slice.
    let columns: Vec<Vec<f32>> = (0..panels.div_ceil(per_piece))
        .into_par_iter()
        .map(|piece| {
            let first = piece * per_piece;
            let last = panels.min(first + per_piece);
            let width = outputs.min(last * PANEL) - first * PANEL;
            let mut out = vec![0.0; tokens * width];
            weight.multiply(&tiles, first..last, &mut out, width);
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
pub(super) fn tiles(tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let count = TILES.into_iter().find(|count| *count <= tokens - first)?;
        first += count;
        Some((first - count, count))
    })
}

/// Some columns of a matrix, from the first element of a row on.
pub(super) struct Columns<'a> {
    /// From the first of these elements to the end of the matrix.
    out: &'a mut [f32],
    /// Elements from row to row.
    stride: usize,
    /// Their number, less than a panel's at the end of a row.
    width: usize,
}

impl<'a> Columns<'a> {
    /// The columns of a panel in the rows from `first` on, in a matrix of `stride` columns.
    #[inline(always)]
    pub(super) fn of_panel(out: &'a mut [f32], stride: usize, first: usize, panel: usize) -> Self {
        let column = panel * PANEL;
        Self { out: &mut out[first * stride + column..], stride, width: PANEL.min(stride - column) }
    }

    /// Writes sums of a row to the columns from `first` on, as far as the matrix has them.
    #[inline(always)]
    pub(super) fn write(&mut self, row: usize, first: usize, sums: &[f32]) {
        let end = self.width.min(first + sums.len());
        if first < end {
            let row = &mut self.out[row * self.stride..][first..end];
            row.copy_from_slice(&sums[..end - first]);
        }
    }
}

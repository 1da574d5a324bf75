//! A weight on the CPU in its stored type, f32 or bf16. A bf16 weight is widened one panel of rows
//! at a time, so that no whole f32 copy ever exists.

use std::borrow::Cow;

use burn::backend::TensorMetadata;
use burn::tensor::{DType, bf16};
use rayon::prelude::*;

use super::{
    Floats, LANES, Matrix, Store, dims, in_order, is_much, new_product, product, product_into,
    product_strided, rows_per_piece, vectorized,
};

/// Elements of a panel: 16 MiB as f32. A product with that many rows passes over its result no more
/// often than one with a whole f32 weight.
const PANEL: usize = 4 << 20;

/// Most rows of `x` for which a product reads the weight straight from its storage. With more rows,
/// the product pays for the widening.
const FEW: usize = 4;

/// Rows of the weight that share one pass over a row of `x`.
const ROWS: usize = 4;

/// A type in which weights and gradients are stored.
pub(crate) trait Stored: Copy + Send + Sync {
    /// The value in f32.
    fn widen(self) -> f32;
}

impl Stored for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Stored for bf16 {
    /// bf16 is the upper half of an f32.
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// The elements of a weight or gradient.
pub(crate) enum Values<'a> {
    /// Used as they are.
    F32(&'a [f32]),
    /// Widened as they are read.
    Bf16(&'a [bf16]),
}

/// The elements of a weight or gradient made by [`in_order`].
///
/// # Panics
/// When they are neither f32 nor bf16.
pub(crate) fn values(tensor: &Floats) -> Values<'_> {
    let order = "made contiguous";
    match tensor.dtype() {
        DType::F32 => Values::F32(tensor.as_slice().expect(order)),
        DType::BF16 => Values::Bf16(tensor.as_slice().expect(order)),
        other => {
            let shape = tensor.shape();
            panic!(
                "CPU kernels read weights and gradients in f32 and bf16: cast the tensor {shape:?} of {other:?}"
            )
        }
    }
}

/// The elements of a small weight made by [`in_order`], in f32; a bf16 weight is copied.
///
/// # Panics
/// When they are neither f32 nor bf16.
pub(crate) fn widened(tensor: &Floats) -> Cow<'_, [f32]> {
    match values(tensor) {
        Values::F32(values) => Cow::Borrowed(values),
        Values::Bf16(values) => Cow::Owned(values.iter().map(|value| value.widen()).collect()),
    }
}

/// A matrix of weights, `[rows, columns]`.
pub(crate) struct Weight {
    tensor: Floats,
    rows: usize,
    columns: usize,
}

impl Weight {
    pub(crate) fn new(tensor: Floats) -> Self {
        let [rows, columns] = dims(&tensor);
        Self { tensor: in_order(tensor), rows, columns }
    }

    /// `[rows, columns]`.
    pub(crate) fn dims(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Writes `x · weightᵀ` to `out`, in place of its contents: `[n, columns]` to `[n, rows]`.
    pub(crate) fn apply(&self, x: Matrix, out: &mut Vec<f32>) {
        match values(&self.tensor) {
            Values::F32(weight) => product_into(out, x, self.matrix(weight).transposed()),
            Values::Bf16(weight) => {
                out.resize(x.rows * self.rows, 0.0);
                self.apply_bf16(weight, x, out);
            }
        }
    }

    fn apply_bf16(&self, weight: &[bf16], x: Matrix, out: &mut [f32]) {
        if x.rows <= FEW {
            dot_products(out, x, weight, self.rows);
            return;
        }
        let parallel = self.is_much(x.rows);
        self.for_panels(weight, |first, panel| {
            let out = (&mut out[first..], self.rows);
            product_strided(out, Store::Replace, x, panel.transposed(), 1.0, parallel);
        });
    }

    /// [`Weight::apply_transposed`] into a new matrix.
    pub(crate) fn applied_transposed(&self, dy: Matrix) -> Vec<f32> {
        match values(&self.tensor) {
            Values::F32(weight) => new_product(dy, self.matrix(weight)),
            Values::Bf16(_) => {
                let mut out = vec![0.0; dy.rows * self.columns];
                self.apply_transposed(dy, &mut out);
                out
            }
        }
    }

    /// Writes `dy · weight` to `out`: `[n, rows]` to `[n, columns]`.
    pub(crate) fn apply_transposed(&self, dy: Matrix, out: &mut [f32]) {
        let parallel = self.is_much(dy.rows);
        match values(&self.tensor) {
            Values::F32(weight) => {
                product(out, Store::Replace, dy, self.matrix(weight), 1.0, parallel);
            }
            Values::Bf16(weight) => {
                let mut how = Store::Replace;
                self.for_panels(weight, |first, panel| {
                    product(out, how, dy.columns(first, panel.rows), panel, 1.0, parallel);
                    how = Store::Add;
                });
            }
        }
    }

    fn matrix<'a>(&self, data: &'a [f32]) -> Matrix<'a> {
        Matrix::new(data, self.rows, self.columns, self.columns)
    }

    fn is_much(&self, n: usize) -> bool {
        is_much(n, self.rows, self.columns)
    }

    /// Calls `work` with the index of the first row and some rows in f32, panel after panel.
    fn for_panels(&self, weight: &[bf16], mut work: impl FnMut(usize, Matrix)) {
        let columns = self.columns.max(1);
        let rows = (PANEL / columns).clamp(1, self.rows.max(1));
        let mut buffer = vec![0.0; rows * columns];
        for (index, panel) in weight.chunks(rows * columns).enumerate() {
            let buffer = &mut buffer[..panel.len()];
            let piece = rows_per_piece(1);
            buffer.par_chunks_mut(piece).zip(panel.par_chunks(piece)).for_each(|(wide, narrow)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (wide, narrow) in wide.iter_mut().zip(narrow) {
                            *wide = narrow.widen();
                        }
                    },
                );
            });
            work(index * rows, Matrix::new(buffer, panel.len() / columns, columns, columns));
        }
    }
}

/// `x · weightᵀ` for a few rows of `x`. Its time is that of reading the weight once.
fn dot_products<W: Stored>(out: &mut [f32], x: Matrix, weight: &[W], rows: usize) {
    let columns = x.columns;
    assert_eq!((x.column_stride, weight.len()), (1, rows * columns), "contiguous operands");
    let x_row = |n: usize| &x.data[n * x.row_stride..][..columns];
    // `[rows, n]`, so that each thread writes to one slice.
    let mut by_row = vec![0.0; rows * x.rows];
    let piece = rows_per_piece(columns).next_multiple_of(ROWS);
    by_row.par_chunks_mut((piece * x.rows).max(1)).enumerate().for_each(|(index, out)| {
        let weight = &weight[index * piece * columns..];
        vectorized(
            #[inline(always)]
            || {
                for (group, out) in out.chunks_mut(ROWS * x.rows).enumerate() {
                    let weight = &weight[group * ROWS * columns..][..out.len() / x.rows * columns];
                    for n in 0..x.rows {
                        let sums = dots(x_row(n), weight);
                        out.iter_mut()
                            .skip(n)
                            .step_by(x.rows)
                            .zip(sums)
                            .for_each(|(out, sum)| *out = sum);
                    }
                }
            },
        );
    });
    for (n, out) in out.chunks_exact_mut(rows.max(1)).enumerate() {
        out.iter_mut()
            .zip(by_row.iter().skip(n).step_by(x.rows))
            .for_each(|(out, sum)| *out = *sum);
    }
}

/// The products of `x` with up to [`ROWS`] rows of the weight.
#[inline(always)]
fn dots<W: Stored>(x: &[f32], weight: &[W]) -> [f32; ROWS] {
    let columns = x.len();
    let mut sums = [0.0; ROWS];
    if weight.len() == ROWS * columns {
        let row = |index: usize| &weight[index * columns..][..columns];
        let rows: [&[W]; ROWS] = std::array::from_fn(row);
        let mut lanes = [[0f32; LANES]; ROWS];
        let whole = columns - columns % LANES;
        for start in (0..whole).step_by(LANES) {
            let x = &x[start..][..LANES];
            for (row, lanes) in rows.iter().zip(&mut lanes) {
                let row = &row[start..][..LANES];
                for lane in 0..LANES {
                    lanes[lane] += row[lane].widen() * x[lane];
                }
            }
        }
        for ((sum, lanes), row) in sums.iter_mut().zip(&lanes).zip(rows) {
            let tail: f32 = (whole..columns).map(|index| row[index].widen() * x[index]).sum();
            *sum = lanes.iter().sum::<f32>() + tail;
        }
    } else {
        for (sum, row) in sums.iter_mut().zip(weight.chunks_exact(columns.max(1))) {
            *sum = row.iter().zip(x).map(|(weight, x)| weight.widen() * x).sum();
        }
    }
    sums
}

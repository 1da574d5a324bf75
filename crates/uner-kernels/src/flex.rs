//! Shared parts of the CPU kernels: slices of Flex tensors, rows spread over threads, vector
//! instructions, a matrix product into a given buffer, weights in their stored type.

mod weight;

pub(crate) use weight::{Stored, Values, Weight, values, widened};

use std::mem::MaybeUninit;

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Element, Shape, TensorData};
use bytemuck::Pod;
use rayon::prelude::*;

/// A float tensor on the CPU.
pub(crate) type Floats = FloatTensor<Flex>;
/// An integer tensor on the CPU.
pub(crate) type Ints = IntTensor<Flex>;

/// Elements per thread that make another thread worth waking.
const PER_THREAD: usize = 16 * 1024;

/// Partial sums that are added up side by side, so that sums use vector registers: one AVX-512
/// register of f32.
pub(crate) const LANES: usize = 16;

/// The tensor with its elements in order; copied only if necessary.
///
/// # Panics
/// When it is not f32. On the CPU only weights and their gradients may have another type.
pub(crate) fn contiguous(tensor: Floats) -> Floats {
    let (dtype, shape) = (tensor.dtype(), tensor.shape());
    assert_eq!(
        dtype,
        DType::F32,
        "CPU kernels compute in f32: cast the tensor {shape:?} of {dtype:?}"
    );
    in_order(tensor)
}

/// A tensor of any type with its elements in order; copied only if necessary.
pub(crate) fn in_order(tensor: Floats) -> Floats {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a tensor made by [`contiguous`].
pub(crate) fn slice(tensor: &Floats) -> &[f32] {
    tensor.as_slice().expect("made contiguous")
}

/// The elements of an integer tensor, in order.
pub(crate) fn ints(tensor: &Ints) -> Vec<i32> {
    let tensor = if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() };
    match tensor.dtype() {
        DType::I32 => tensor.as_slice::<i32>().expect("made contiguous").to_vec(),
        DType::I64 => tensor
            .as_slice::<i64>()
            .expect("made contiguous")
            .iter()
            .map(|&value| value as i32)
            .collect(),
        other => panic!("integer tensors are I32 or I64, not {other:?}"),
    }
}

/// The dimensions of a tensor.
pub(crate) fn dims<const D: usize>(tensor: &Floats) -> [usize; D] {
    tensor.shape().dims()
}

/// Wraps a buffer in a tensor of the given shape, without copying.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Floats {
    Floats::from_data(TensorData::new(values, shape.into()))
}

/// Runs `work` with the widest vector instructions of this processor. Only inlined code is compiled
/// for them, so `work` must be `#[inline(always)]`: this function has one copy per instruction set.
#[inline]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Rows of `width` elements per piece of work.
pub(crate) fn rows_per_piece(width: usize) -> usize {
    (PER_THREAD / width.max(1)).max(1)
}

/// Creates `N` buffers of `len` elements in rows of `width`, in pieces spread over the threads.
/// `work` receives the index of a piece's first row and the piece of each buffer, all 0. The
/// results have the order of the rows. The pieces do not depend on the number of threads. `work`
/// must be `#[inline(always)]`, as for [`vectorized`].
pub(crate) fn new_rows<const N: usize, R: Send>(
    len: usize,
    width: usize,
    work: impl Fn(usize, [&mut [f32]; N]) -> R + Sync,
) -> ([Vec<f32>; N], Vec<R>) {
    let rows = rows_per_piece(width);
    let mut buffers = [(); N].map(|()| Vec::with_capacity(len));
    let mut chunks = buffers
        .each_mut()
        .map(|buffer| buffer.spare_capacity_mut()[..len].chunks_mut((rows * width).max(1)));
    let pieces: Vec<[&mut [MaybeUninit<f32>]; N]> = (0..chunks[0].len())
        .map(|_| chunks.each_mut().map(|chunks| chunks.next().expect("equally long buffers")))
        .collect();
    let results = pieces
        .into_par_iter()
        .enumerate()
        .map(|(index, piece)| {
            vectorized(
                #[inline(always)]
                || work(index * rows, piece.map(cleared)),
            )
        })
        .collect();
    for buffer in &mut buffers {
        // SAFETY: the pieces cover the buffer, and each was cleared.
        #[expect(unsafe_code, reason = "each thread clears the memory that it fills")]
        unsafe {
            buffer.set_len(len);
        }
    }
    (buffers, results)
}

#[inline(always)]
fn cleared(piece: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    for value in &mut *piece {
        value.write(0.0);
    }
    // SAFETY: each element was just written.
    #[expect(unsafe_code, reason = "see `new_rows`")]
    unsafe {
        piece.assume_init_mut()
    }
}

/// The sum of `term` over the elements of equally long slices, in [`LANES`] partial sums. It uses
/// arrays instead of slices, because a bounds check per element would prevent vector instructions.
#[inline(always)]
pub(crate) fn sum<T: Copy, const N: usize>(slices: [&[T]; N], term: impl Fn([T; N]) -> f32) -> f32 {
    let count = slices[0].len();
    let mut lanes = [0f32; LANES];
    let whole = count - count % LANES;
    for start in (0..whole).step_by(LANES) {
        let chunks: [&[T; LANES]; N] =
            slices.map(|slice| slice[start..].first_chunk().expect("equally long slices"));
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(chunks.map(|chunk| chunk[lane]));
        }
    }
    let tail: f32 = (whole..count).map(|index| term(slices.map(|slice| slice[index]))).sum();
    lanes.iter().sum::<f32>() + tail
}

/// The largest value; minus infinity if there are none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(chunks.remainder()).fold(f32::NEG_INFINITY, |max, &value| max.max(value))
}

/// `e^x` to 2 units in the last place, in a form that the compiler turns into vector instructions
/// (range reduction and polynomial of Cephes' `expf`). Below -87.3 it is 0.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding this rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.7);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts, so that the reduced argument is exact.
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_2e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + coefficient;
    }
    let value =
        (p * r * r + r + 1.0) * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.3 { 0.0 } else { value }
}

/// Turns scores into probabilities, in place, and returns the log-sum-exp of the scores; zeros and
/// `None` if all scores are minus infinity.
#[inline(always)]
pub(crate) fn softmax(scores: &mut [f32]) -> Option<f32> {
    let max = largest(scores);
    if max == f32::NEG_INFINITY {
        scores.fill(0.0);
        return None;
    }
    for score in &mut *scores {
        *score = exp(*score - max);
    }
    let total = sum([scores], |[weight]| weight);
    let scale = 1.0 / total;
    for score in scores {
        *score *= scale;
    }
    Some(max + total.ln())
}

/// A matrix view of a slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A `rows × columns` matrix with `stride` elements from row to row.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            rows == 0 || (rows - 1) * stride + columns <= data.len(),
            "a matrix larger than its data"
        );
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// Its number of rows.
    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    /// `count` columns from `first`.
    pub(crate) fn columns(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.columns, "columns beyond the matrix");
        let data = if self.rows == 0 || count == 0 {
            &[]
        } else {
            &self.data[first * self.column_stride..]
        };
        Self { data, columns: count, ..self }
    }

    /// The transpose.
    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Whether a product overwrites its output or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// `out = scale · a · b`
    Replace,
    /// `out += scale · a · b`
    Add,
}

/// Computes `scale · a · b` into the contiguous matrix `out`, on one thread or on all.
pub(crate) fn product(
    out: &mut [f32],
    how: Store,
    a: Matrix,
    b: Matrix,
    scale: f32,
    parallel: bool,
) {
    assert_eq!(out.len(), a.rows * b.columns, "`out` is not {} × {}", a.rows, b.columns);
    product_strided((out, b.columns), how, a, b, scale, parallel);
}

/// Multiplications below which a product uses one thread.
const PARALLEL: usize = 192 * 192 * 192;

/// Whether a product of `[m, k]` and `[k, n]` is large enough for several threads.
pub(crate) fn is_much(m: usize, n: usize, k: usize) -> bool {
    m * n * k >= PARALLEL
}

/// `a · b` as a new contiguous matrix.
pub(crate) fn new_product(a: Matrix, b: Matrix) -> Vec<f32> {
    let mut out = Vec::new();
    product_into(&mut out, a, b);
    out
}

/// Writes `a · b` to `out` as a contiguous matrix, in place of its contents. New memory is not
/// cleared before it is written.
fn product_into(out: &mut Vec<f32>, a: Matrix, b: Matrix) {
    let size = a.rows * b.columns;
    out.clear();
    if size == 0 || a.columns == 0 {
        out.resize(size, 0.0);
        return;
    }
    out.reserve_exact(size);
    // SAFETY: there is room for `size` elements, and the product writes all of them without reading
    // them.
    #[expect(unsafe_code, reason = "uninitialised memory that the product fills")]
    unsafe {
        let parallel = is_much(a.rows, b.columns, a.columns);
        multiply((out.as_mut_ptr(), b.columns), Store::Replace, a, b, 1.0, parallel);
        out.set_len(size);
    }
}

/// As [`product`], into a matrix with the given number of elements from row to row, such as some
/// columns of a wider one.
pub(crate) fn product_strided(
    (out, stride): (&mut [f32], usize),
    how: Store,
    a: Matrix,
    b: Matrix,
    scale: f32,
    parallel: bool,
) {
    let end = if a.rows == 0 { 0 } else { (a.rows - 1) * stride + b.columns };
    assert!(
        b.columns <= stride && end <= out.len(),
        "{} × {} does not fit `out`",
        a.rows,
        b.columns
    );
    // SAFETY: `out` was checked.
    #[expect(unsafe_code, reason = "see `multiply`")]
    unsafe {
        multiply((out.as_mut_ptr(), stride), how, a, b, scale, parallel);
    }
}

/// Computes the product into memory with `stride` elements from row to row.
///
/// # Safety
/// `out` must have room for `a.rows` rows of `b.columns` elements, initialised if the product is
/// added to them.
#[expect(unsafe_code, reason = "the matrix product of `gemm` takes pointers")]
unsafe fn multiply(
    (out, stride): (*mut f32, usize),
    how: Store,
    a: Matrix,
    b: Matrix,
    scale: f32,
    parallel: bool,
) {
    assert_eq!(a.columns, b.rows, "inner dimensions differ");
    let parallelism = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    let existing = if how == Store::Add { 1.0 } else { 0.0 };
    // SAFETY: `Matrix::new` checked that both operands lie within their slices; the caller vouches
    // for `out`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            stride as isize,
            how == Store::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            existing,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The tensor with its elements in order and a buffer of its own: a part of another tensor, such as
/// a rank's shard of a parameter, is copied.
pub(crate) fn whole_buffer<T: Element + Pod>(tensor: Floats) -> Floats {
    let tensor = in_order(tensor);
    let values: &[T] = tensor.as_slice().expect("made contiguous");
    if tensor.storage::<T>().len() == values.len() {
        return tensor;
    }
    Floats::from_data(TensorData::new(values.to_vec(), tensor.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_a_few_units_in_the_last_place() {
        for step in -8800..8800 {
            let x = step as f32 * 0.01;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 3e-7 || x < -87.3, "exp({x})");
        }
        assert_eq!((exp(f32::NEG_INFINITY), exp(-200.0), exp(0.0)), (0.0, 0.0, 1.0));
    }

    #[test]
    fn sums_and_products_of_odd_sizes() {
        for count in [0usize, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..count).map(|index| index as f32).collect();
            let expected = (count * count.saturating_sub(1) / 2) as f32;
            let twice: Vec<f32> = values.iter().map(|value| 2.0 * value).collect();
            assert_eq!(sum([&values, &twice], |[one, two]| 2.0 * two - 3.0 * one), expected);
        }
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 10.0, 100.0]);
        let mut out = [1.0, 1.0];
        let a = Matrix::new(&a, 2, 3, 3);
        product(&mut out, Store::Add, a, Matrix::new(&b, 3, 1, 1), 2.0, false);
        assert_eq!(out, [643.0, 1309.0]);
        let mut out = [0.0; 3];
        product(
            &mut out,
            Store::Replace,
            a.transposed(),
            Matrix::new(&b[..2], 2, 1, 1),
            1.0,
            false,
        );
        assert_eq!(out, [41.0, 52.0, 63.0]);
        assert_eq!(new_product(a, Matrix::new(&b, 3, 1, 1)), [321.0, 654.0]);
        assert_eq!(new_product(Matrix::new(&[], 2, 0, 0), Matrix::new(&[], 0, 1, 1)), [0.0; 2]);
    }
}

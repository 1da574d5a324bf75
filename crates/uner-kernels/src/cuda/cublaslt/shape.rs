//! A product in the library's terms: sizes, types and memory layout of the factors.

use std::fmt;

use burn::backend::TensorMetadata;
use burn::tensor::DType;

use crate::cube::{Floats, dims};

/// Largest alignment requested of algorithms, in bytes; CubeCL's buffers start at multiples of it.
const ALIGNMENT: u64 = 256;
/// Lengths up to this one are classes of their own.
const EXACT: usize = 16;

/// A product `[rows, terms] · [terms, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) terms: usize,
    pub(super) a: Layout,
    pub(super) b: Layout,
    /// The type of both factors.
    pub(super) factors: DType,
    pub(super) result: DType,
    /// Alignment, in bytes, of the rows of the result and of the tensor that it is added to.
    pub(super) alignment: u64,
    /// Whether the product is added to a tensor.
    pub(super) adds: bool,
}

/// How a factor lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// Whether the matrix is column-major.
    pub(super) in_columns: bool,
    /// Elements from one row (or column) to the next.
    pub(super) stride: usize,
    /// Alignment of each row (or column), in bytes.
    pub(super) alignment: u64,
}

impl Shape {
    /// The shape of `out = a · b`, or of `out = old + a · b`; `old` and `out` are contiguous.
    pub(super) fn of(a: &Floats, b: &Floats, old: Option<&Floats>, out: &Floats) -> Self {
        let ([rows, terms], [_, columns]) = (dims(a), dims(b));
        let (factors, result) = (a.dtype(), out.dtype());
        let (adds, of_old) = (old.is_some(), old.map_or(ALIGNMENT, |old| alignment(old, columns)));
        let alignment = alignment(out, columns).min(of_old);
        Self {
            rows,
            columns,
            terms,
            a: Layout::of(a),
            b: Layout::of(b),
            factors,
            result,
            alignment,
            adds,
        }
    }

    /// The class of shapes that share an algorithm: lengths are rounded up to quarters of a power
    /// of two, strides count by their alignment alone. Numbers of tokens differ in every batch, and
    /// a search for each would cost more than it saves.
    pub(super) fn class(&self) -> Self {
        let [rows, columns, terms] = [self.rows, self.columns, self.terms].map(rounded);
        let [a, b] = [self.a, self.b].map(|layout| Layout { stride: 0, ..layout });
        Self { rows, columns, terms, a, b, ..*self }
    }
}

/// Rounds up to the next quarter of a power of two.
fn rounded(length: usize) -> usize {
    if length <= EXACT {
        length
    } else {
        length.next_multiple_of((length.next_power_of_two() / 8).max(1))
    }
}

impl Layout {
    /// # Panics
    /// When neither rows nor columns are contiguous.
    fn of(matrix: &Floats) -> Self {
        let [rows, columns] = dims(matrix);
        let [down, right] = [0, 1].map(|dim| matrix.meta.strides()[dim]);
        // The stride of a dimension with one element has no meaning.
        if right == 1 || columns == 1 {
            let stride = if rows == 1 { columns } else { down };
            Self { in_columns: false, stride, alignment: alignment(matrix, stride) }
        } else if down == 1 || rows == 1 {
            Self { in_columns: true, stride: right, alignment: alignment(matrix, right) }
        } else {
            panic!("strides {down}, {right} of a matrix {:?}: neither is 1", matrix.shape())
        }
    }
}

/// Alignment, in bytes, of rows (or columns) that are `stride` elements apart; at most
/// [`ALIGNMENT`].
fn alignment(tensor: &Floats, stride: usize) -> u64 {
    let start = tensor.handle.offset_start.unwrap_or(0);
    let step = (stride * tensor.dtype().size()) as u64;
    1 << (start | step | ALIGNMENT).trailing_zeros()
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, columns, terms, a, b, factors, result, alignment, adds } = self;
        let sign = if *adds { "+=" } else { "=" };
        write!(
            out,
            "[{rows},{columns}]:{result:?}@{alignment}{sign}[{rows},{terms}]{a}*[{terms},{columns}]{b}:{factors:?}"
        )
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.in_columns { "columns" } else { "rows" };
        write!(out, "{order}/{}@{}", self.stride, self.alignment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(rows: usize, terms: usize, stride: usize) -> Shape {
        let layout = |stride| Layout { in_columns: false, stride, alignment: 16 };
        Shape {
            rows,
            columns: 4096,
            terms,
            a: layout(stride),
            b: layout(4096),
            factors: DType::BF16,
            result: DType::F32,
            alignment: 256,
            adds: true,
        }
    }

    #[test]
    fn lengths_are_classed_by_quarters_of_a_power_of_two() {
        assert_eq!([1, 7, 16].map(rounded), [1, 7, 16]);
        assert_eq!([17, 20, 21, 32, 33].map(rounded), [20, 20, 24, 32, 40]);
        assert_eq!(
            [2047, 2048, 2049, 11_008, 32_000].map(rounded),
            [2048, 2048, 2560, 12_288, 32_768]
        );
        for length in 1..20_000 {
            let rounded = rounded(length);
            assert!(rounded >= length && rounded * 4 <= length * 5 + 4, "{length}: {rounded}");
            assert_eq!(super::rounded(rounded), rounded);
        }
    }

    #[test]
    fn a_class_forgets_tokens_and_strides_and_nothing_else() {
        assert_eq!(shape(2000, 64, 64).class(), shape(2048, 64, 128).class());
        let other = [shape(2000, 72, 72), Shape { adds: false, ..shape(2000, 64, 64) }];
        for other in other {
            assert_ne!(other.class(), shape(2000, 64, 64).class());
        }
        let text = shape(2000, 64, 64).class().to_string();
        assert_eq!(text, "[2048,4096]:F32@256+=[2048,64]rows/0@16*[64,4096]rows/0@16:BF16");
    }
}

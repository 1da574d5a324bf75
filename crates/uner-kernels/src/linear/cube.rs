//! The linear layer on the GPU runtimes, and the matrix products of other ops: [`product`],
//! [`add_product`] and [`accumulate`]. They use cuBLASLt on CUDA if it is installed, and burn's
//! autotuned kernels otherwise.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
pub(crate) use burn_cubecl::ops::numeric::add;
use cubecl::device::{Device, WgpuDeviceKind};
use cubecl::prelude::*;

use super::LinearKernels;
use crate::cube::{Floats, contiguous, dims, empty, vector_size, zeros};
#[cfg(feature = "cuda")]
use crate::cuda::cublaslt;

/// Bytes of a product in [`accumulate`] before it is added: little beside the sum itself, and still
/// hundreds of tiles to spread over the device.
const SLAB_BYTES: usize = 64 << 20;

/// A slab's number of rows is a multiple of this, so that every slab starts at an aligned address
/// (512 bytes on CUDA).
const SLAB_ROWS: usize = 256;

impl LinearKernels for Cube {
    fn linear_forward(x: Floats, weight: Floats) -> Floats {
        let dtype = x.dtype();
        product(x, transposed(weight), dtype)
    }

    fn linear_backward_x(dy: Floats, weight: Floats, addend: Option<Floats>) -> Floats {
        let dtype = dy.dtype();
        match addend {
            Some(addend) => add_product(addend, dy, weight),
            None => product(dy, weight, dtype),
        }
    }

    fn linear_backward_weight(dy: Floats, x: Floats) -> Floats {
        let dtype = x.dtype();
        product(transposed(dy), x, dtype)
    }
}

/// The product `a · b` of `[m, k]` and `[k, n]`: a new contiguous `[m, n]` of type `dtype`,
/// accumulated in f32; zeros if `k` is 0.
///
/// All products of these ops go through this function, [`add_product`] or [`accumulate`]. The
/// operands have one type, f32 or bf16. Each is row-major or, made by [`transposed`], column-major,
/// possibly padded (see `tensor.meta.strides()`). `dtype` is their type or f32.
///
/// # Panics
/// When the two `k` or the types differ.
pub(crate) fn product(a: Floats, b: Floats, dtype: DType) -> Floats {
    let ([rows, terms], [b_terms, columns]) = (dims(&a), dims(&b));
    assert!(
        terms == b_terms && a.dtype() == b.dtype(),
        "cannot multiply {:?} {:?} by {:?} {:?}",
        a.dtype(),
        a.shape(),
        b.dtype(),
        b.shape()
    );
    if rows * columns * terms == 0 {
        return zeros(&a, [rows, columns], dtype);
    }
    // Without a given output, the result would have padded rows on CUDA.
    let out = empty(&a, [rows, columns], dtype);
    #[cfg(feature = "cuda")]
    if cublaslt::serves(&out) {
        cublaslt::multiply(&a, &b, None, &out);
        return out;
    }
    // On a software adapter, autotuning takes a minute for each new shape.
    let software = matches!(&a.device, Device::Wgpu(device) if device.kind == WgpuDeviceKind::Cpu);
    let strategy = if software { MatmulStrategy::Cube } else { MatmulStrategy::Autotune };
    if !software {
        log_tuning([rows, terms, columns]);
    }
    matmul(a, b, Some(out), strategy, dtype).unwrap_or_else(|error| {
        panic!("no kernel for a product [{rows}, {terms}] · [{terms}, {columns}]: {error:?}")
    })
}

/// Logs the reason for the delay when a product of a new size is about to be tuned. burn tunes by
/// powers of two and caches the result.
fn log_tuning(lengths: [usize; 3]) {
    static LOGGED: Mutex<BTreeSet<[usize; 3]>> = Mutex::new(BTreeSet::new());
    let [rows, terms, columns] = lengths.map(usize::next_power_of_two);
    if LOGGED.lock().unwrap_or_else(PoisonError::into_inner).insert([rows, terms, columns]) {
        tracing::info!(
            "the first product of about [{rows}, {terms}] · [{terms}, {columns}]: looking for the fastest kernel"
        );
    }
}

/// The transpose, as a view.
pub(crate) fn transposed(mut matrix: Floats) -> Floats {
    matrix.meta.swap(0, 1);
    matrix
}

/// `base + a · b`, all of one type; in the memory of `base` if it is not shared.
pub(crate) fn add_product(base: Floats, a: Floats, b: Floats) -> Floats {
    let dtype = base.dtype();
    #[cfg(feature = "cuda")]
    if a.shape().num_elements() > 0 && b.shape().num_elements() > 0 && cublaslt::serves(&base) {
        let base = contiguous(base);
        if base.can_mut() {
            cublaslt::multiply(&a, &b, Some(&base), &base);
            return base;
        }
        let out = empty(&base, base.shape(), dtype);
        cublaslt::multiply(&a, &b, Some(&base), &out);
        return out;
    }
    add(base, product(a, b, dtype))
}

/// `sum += a · b`, where `sum` is a contiguous `[m, n]` in f32 that is not shared. burn's kernels
/// do not accumulate into their output. Without cuBLASLt the product is therefore computed in slabs
/// of rows, and a kernel of its own adds them.
pub(crate) fn accumulate(sum: &Floats, a: &Floats, b: &Floats) {
    let ([rows, columns], [_, terms]) = (dims(sum), dims(a));
    if rows * columns * terms == 0 {
        return;
    }
    #[cfg(feature = "cuda")]
    if cublaslt::serves(sum) {
        cublaslt::multiply(a, b, Some(sum), sum);
        return;
    }
    let rows = SLAB_BYTES / size_of::<f32>() / columns.max(1);
    accumulate_slabs(sum, a, b, rows.next_multiple_of(SLAB_ROWS));
}

fn accumulate_slabs(sum: &Floats, a: &Floats, b: &Floats, slab: usize) {
    let [rows, columns] = dims(sum);
    for first in (0..rows).step_by(slab) {
        let slab = first..rows.min(first + slab);
        let terms = product(rows_of(a, slab.clone()), b.clone(), DType::F32);
        let vector = vector_size(sum, columns);
        let count = slab.len() * columns / vector;
        let (cubes, units) = spread(count);
        add_into::launch(
            &sum.client,
            cubes,
            units,
            vector,
            terms.into_buffer_arg(),
            sum.clone().into_buffer_arg(),
            first * columns / vector,
            count,
        );
    }
}

/// Some rows of a matrix, as a view. The first one must start at an aligned address.
fn rows_of(matrix: &Floats, rows: Range<usize>) -> Floats {
    let mut view = matrix.clone();
    let start = (rows.start * matrix.meta.strides()[0] * matrix.dtype().size()) as u64;
    let alignment = matrix.client.properties().memory.alignment;
    assert!(
        start.is_multiple_of(alignment),
        "row {} of {:?} is not aligned",
        rows.start,
        matrix.shape()
    );
    view.handle = view.handle.offset_start(start);
    view.meta.shape_mut()[0] = rows.len();
    view
}

/// Cubes for a kernel over `count` elements with a grid-stride loop: fewer than the 65,535 that
/// WebGPU starts along one dimension, and enough for any device.
pub(crate) fn spread(count: usize) -> (CubeCount, CubeDim) {
    let cubes = count.div_ceil(256).min(16 << 10);
    (CubeCount::Static(cubes as u32, 1, 1), CubeDim::new_1d(256))
}

/// Adds `count` vectors to those of `sum` from `first` on. Neighbouring units access neighbouring
/// vectors.
#[cube(launch, create_dummy_kernel)]
fn add_into<N: Size>(
    terms: &[Vector<f32, N>],
    sum: &mut [Vector<f32, N>],
    first: usize,
    count: usize,
) {
    for index in range_stepped(ABSOLUTE_POS, count, CUBE_COUNT * (CUBE_DIM as usize)) {
        let old = sum[first + index];
        sum[first + index] = old + terms[index];
    }
}

//! The norm on the GPU: as many cubes as the device runs at once take row after row and read each
//! once. In the backward pass each cube accumulates its part of the weight's gradient, and a second
//! kernel sums the parts in a fixed order.

mod kernels;
#[cfg(all(test, feature = "cuda"))]
mod tests;

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::prelude::*;

use super::RmsNormKernels;
use crate::cube::{
    Floats, contiguous, cubes_for, dims, element, empty, plane_size, units_for, vector_size, zeros,
};

/// Cubes per processor at once, limited by their registers. Each has one row in flight of every
/// tensor that it reads, 8 KB with 4096 channels in bf16. For full memory speed a processor of an
/// H100 needs 30 KB in flight.
const FORWARD_CUBES: usize = 4;
const BACKWARD_CUBES: usize = 2;

impl RmsNormKernels for Cube {
    fn rms_norm_forward(x: Floats, weight: Floats, eps: f64) -> Floats {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let y = empty(&x, x.shape(), x.dtype());
        let Some(launch) = RowLaunch::new(&x, FORWARD_CUBES) else { return y };
        kernels::forward::launch(
            &x.client.clone(),
            launch.cubes(),
            launch.units(),
            launch.vector,
            x.into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            y.clone().into_buffer_arg(),
            launch.rows,
            eps as f32,
            launch.row,
            element(&y),
            element(&weight),
        );
        y
    }

    fn add_rms_norm_forward(
        x: Floats,
        residual: Floats,
        weight: Floats,
        eps: f64,
    ) -> (Floats, Floats) {
        assert_eq!(x.dtype(), residual.dtype(), "`x` and `residual` differ in type");
        let (x, residual, weight) = (contiguous(x), contiguous(residual), contiguous(weight));
        let (sum, y) = (empty(&x, x.shape(), x.dtype()), empty(&x, x.shape(), x.dtype()));
        let Some(launch) = RowLaunch::new(&x, FORWARD_CUBES) else { return (sum, y) };
        kernels::add_forward::launch(
            &x.client.clone(),
            launch.cubes(),
            launch.units(),
            launch.vector,
            x.into_buffer_arg(),
            residual.into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            sum.clone().into_buffer_arg(),
            y.clone().into_buffer_arg(),
            launch.rows,
            eps as f32,
            launch.row,
            element(&y),
            element(&weight),
        );
        (sum, y)
    }

    fn rms_norm_backward(
        x: Floats,
        weight: Floats,
        eps: f64,
        dy: Floats,
        residual_grad: Option<Floats>,
        wants_weight: bool,
    ) -> (Floats, Option<Floats>) {
        let types = [Some(dy.dtype()), residual_grad.as_ref().map(TensorMetadata::dtype)];
        assert!(
            types.iter().flatten().all(|dtype| *dtype == x.dtype()),
            "`x` {:?}, gradients {types:?}",
            x.dtype()
        );
        let (x, weight, dy, residual_grad) =
            (contiguous(x), contiguous(weight), contiguous(dy), residual_grad.map(contiguous));
        let dx = empty(&x, x.shape(), x.dtype());
        let [_, hidden] = dims(&x);
        let Some(launch) = RowLaunch::new(&x, BACKWARD_CUBES) else {
            return (dx, wants_weight.then(|| zeros(&weight, weight.shape(), weight.dtype())));
        };
        // A buffer that is not used must still be bound, and one that is only read must have been
        // written.
        let partials =
            empty(&x, if wants_weight { [launch.cubes, hidden] } else { [1, 8] }, DType::F32);
        let has_residual_grad = residual_grad.is_some();
        let residual_grad = residual_grad.unwrap_or_else(|| dy.clone());
        kernels::backward::launch(
            &x.client.clone(),
            launch.cubes(),
            launch.units(),
            launch.vector,
            x.into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            dy.into_buffer_arg(),
            residual_grad.into_buffer_arg(),
            dx.clone().into_buffer_arg(),
            partials.clone().into_buffer_arg(),
            launch.rows,
            eps as f32,
            launch.row,
            has_residual_grad,
            wants_weight,
            element(&dx),
            element(&weight),
        );
        (dx, wants_weight.then(|| sum_columns(partials, weight.dtype())))
    }
}

/// The sums of the columns, in the given type.
fn sum_columns(terms: Floats, dtype: DType) -> Floats {
    let [rows, columns] = dims(&terms);
    let sums = empty(&terms, [columns], dtype);
    kernels::column_sums::launch(
        &terms.client.clone(),
        CubeCount::Static(columns.div_ceil(kernels::COLUMNS) as u32, 1, 1),
        CubeDim::new_2d(kernels::COLUMNS as u32, kernels::COLUMN_UNITS as u32),
        terms.into_buffer_arg(),
        sums.clone().into_buffer_arg(),
        rows,
        columns,
        element(&sums),
    );
    sums
}

/// Compile-time parameters of a kernel: vectors per row, units per cube, units per plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    width: usize,
    units: usize,
    plane: usize,
}

impl Row {
    /// Vectors of a row per unit.
    fn slots(self) -> usize {
        self.width.div_ceil(self.units)
    }

    /// Whether every unit has the same number of vectors.
    fn is_full(self) -> bool {
        self.width.is_multiple_of(self.units)
    }
}

/// How the rows of a tensor are spread over cubes.
struct RowLaunch {
    row: Row,
    rows: usize,
    vector: usize,
    cubes: usize,
}

impl RowLaunch {
    /// `None` for a tensor without elements. `each` is the number of cubes per processor.
    fn new(x: &Floats, each: usize) -> Option<Self> {
        let [rows, hidden] = dims(x);
        let vector = vector_size(x, hidden);
        let width = hidden / vector;
        let row = Row { width, units: units_for(width, &x.client), plane: plane_size(&x.client) };
        let cubes = cubes_for(rows, each, &x.client);
        (rows * hidden > 0).then_some(Self { row, rows, vector, cubes })
    }

    fn cubes(&self) -> CubeCount {
        CubeCount::Static(self.cubes as u32, 1, 1)
    }

    fn units(&self) -> CubeDim {
        CubeDim::new_1d(self.row.units as u32)
    }
}

//! The input gradient of a dropped layer with few outputs, such as an adapter's: the product,
//! dropout, and the sum with other layers' gradients in one pass over memory. Separate kernels need
//! five.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::kernel::{cast, into_contiguous};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::apply_dropout;
use crate::cube::{Floats, Ints, contiguous, dims, element, empty, mixed, owned, vector_size};
use crate::dropout::{DropoutKernels, DropoutSite, DroppedLinearKernels};
use crate::hash::mix;
use crate::linear::LinearKernels;
use crate::linear::cube::add;

/// The most outputs of a layer for which the registers suffice.
const MOST: usize = 32;
/// Elements per load.
const VECTOR: usize = 4;
/// Units per cube.
const UNITS: usize = 256;
/// Rows per cube, and rows that a unit loads at once.
const ROWS: usize = 64;
const AHEAD: usize = 4;

impl DroppedLinearKernels for Cube {
    fn dropped_linear_backward_x(
        dy: Floats,
        weight: Floats,
        keys: Ints,
        site: DropoutSite,
        addend: Option<Floats>,
    ) -> Floats {
        let ([rows, rank], [_, columns]) = (dims(&dy), dims(&weight));
        if rank > MOST || rank == 0 {
            let terms = Self::drop_out(Self::linear_backward_x(dy, weight, None), keys, site);
            return match addend {
                Some(addend) => add(addend, terms),
                None => terms,
            };
        }
        let (dy, weight, keys) =
            (contiguous(dy), contiguous(weight), into_contiguous(cast(keys, DType::I32)));
        let has_addend = addend.is_some();
        let dx = addend.map_or_else(|| empty(&dy, [rows, columns], dy.dtype()), owned);
        assert_eq!(dx.dtype(), dy.dtype(), "gradients of one input differ in type");
        if rows * columns == 0 {
            return dx;
        }
        let vector = vector_size(&dx, columns).min(VECTOR);
        let width = columns / vector;
        add_dropped::launch(
            &dx.client.clone(),
            CubeCount::Static(width.div_ceil(UNITS) as u32, rows.div_ceil(ROWS) as u32, 1),
            CubeDim::new_1d(UNITS as u32),
            vector,
            dy.into_buffer_arg(),
            weight.into_buffer_arg(),
            keys.into_buffer_arg(),
            dx.clone().into_buffer_arg(),
            mix(site.layer_key),
            site.threshold(),
            site.scale(),
            rows,
            width,
            rank,
            has_addend,
            element(&dx),
        );
        dx
    }
}

/// Each unit keeps its columns of the weight and goes through its cube's rows. `layer_key` is
/// already mixed; `width` is the length of a row of `dx` in vectors. Rows behind the last one are
/// read again and not written.
#[cube(launch, create_dummy_kernel)]
fn add_dropped<F: Float, N: Size>(
    dy: &[F],
    weight: &[Vector<F, N>],
    keys: &[i32],
    dx: &mut [Vector<F, N>],
    layer_key: u32,
    threshold: u32,
    scale: f32,
    rows: usize,
    width: usize,
    #[comptime] rank: usize,
    #[comptime] has_addend: bool,
    #[define(F)] _dtype: ElemType,
) {
    let quads = comptime!(rank.div_ceil(4));
    let mut slopes = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(ROWS * quads));
    let first = CUBE_POS_Y as usize * ROWS;
    for at in range_stepped(UNIT_POS as usize, comptime!(ROWS * quads), UNITS) {
        let (row, term) = (first + at / quads, at % quads * 4);
        let mut quad = Vector::<f32, Const<4>>::new(0.0f32);
        #[unroll]
        for lane in 0..4usize {
            if row < rows && term + lane < rank {
                quad.insert(lane, f32::cast_from(dy[row * rank + term + lane]));
            }
        }
        slopes[at] = quad;
    }
    sync_cube();
    let column = CUBE_POS_X as usize * UNITS + UNIT_POS as usize;
    if column < width {
        let mut factors = Array::<Vector<f32, N>>::new(rank);
        #[unroll]
        for term in 0..rank {
            factors[term] = Vector::<f32, N>::cast_from(weight[term * width + column]);
        }
        let mut addend = Array::<Vector<F, N>>::new(AHEAD);
        for group in 0..comptime!(ROWS / AHEAD) {
            let start = group * AHEAD;
            if first + start < rows {
                if comptime!(has_addend) {
                    #[unroll]
                    for row in 0..AHEAD {
                        addend[row] = dx[min(first + start + row, rows - 1) * width + column];
                    }
                }
                #[unroll]
                for row in 0..AHEAD {
                    let mut total = Vector::<f32, N>::new(0.0f32);
                    #[unroll]
                    for quad in 0..quads {
                        let slope = slopes[(start + row) * quads + quad];
                        #[unroll]
                        for lane in 0..comptime!((rank - 4 * quad).min(4)) {
                            total += factors[comptime!(4 * quad + lane)]
                                * Vector::<f32, N>::new(slope.extract(lane));
                        }
                    }
                    let at = first + start + row;
                    if at < rows {
                        let hash = mixed(u32::cast_from(keys[at]) ^ layer_key);
                        let mut sum = apply_dropout::<N>(total, hash, column, threshold, scale);
                        if comptime!(has_addend) {
                            sum += Vector::<f32, N>::cast_from(addend[row]);
                        }
                        dx[at * width + column] = Vector::<F, N>::cast_from(sum);
                    }
                }
            }
        }
    }
}

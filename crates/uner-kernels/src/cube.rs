//! What the CubeCL kernels share: contiguous buffers in and out, the vector width, sums over a
//! cube.
//!
//! Bounds are not checked on the device, so every kernel guards its own indices. Every kernel has a
//! form without plane (subgroup) operations; [`plane_size`] tells at launch whether the device has
//! them.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::ops::reshape;
use cubecl::calculate_cube_count_elemwise;
use cubecl::device::Device;
use cubecl::features::Plane;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// A float tensor of a GPU runtime.
pub(crate) type Floats = FloatTensor<Cube>;
/// An integer tensor of a GPU runtime.
pub(crate) type Ints = IntTensor<Cube>;

/// The tensor with its elements in order and without padded rows, copied only where they are not.
///
/// # Panics
/// When it is not f32 or bf16, or has more elements than 32-bit indices reach.
pub(crate) fn contiguous(tensor: Floats) -> Floats {
    let dtype = tensor.dtype();
    assert!(
        matches!(dtype, DType::F32 | DType::BF16),
        "kernels serve f32 and bf16, not {dtype:?} (a tensor of shape {:?})",
        tensor.shape()
    );
    assert!(
        u32::try_from(tensor.shape().num_elements()).is_ok(),
        "kernels index with 32 bits, too few for a tensor of shape {:?}",
        tensor.shape()
    );
    trimmed(into_contiguous(tensor))
}

/// A contiguous tensor whose buffer ends with its last element. CUDA's buffers may be longer, and
/// kernels learn the number of elements from the buffer: what lies behind the last would be read as
/// elements, and what lies behind shorter tensors of the same kernel would be written to.
pub(crate) fn trimmed(mut tensor: Floats) -> Floats {
    let used = (tensor.shape().num_elements() * tensor.dtype().size()) as u64;
    let excess = tensor.handle.size_in_used() - used;
    if excess > 0 {
        tensor.handle = tensor.handle.offset_end(excess);
    }
    tensor
}

/// The tensor, contiguous and held by nobody else, so that a kernel may write over it; a copy where
/// somebody does.
pub(crate) fn owned(tensor: Floats) -> Floats {
    let tensor = contiguous(tensor);
    if tensor.can_mut() { tensor } else { trimmed(tensor.copy()) }
}

/// An unwritten contiguous tensor on the device of `like`.
pub(crate) fn empty(like: &Floats, shape: impl Into<Shape>, dtype: DType) -> Floats {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape.into(), dtype)
}

/// A contiguous tensor of zeros on the device of `like`.
pub(crate) fn zeros(like: &Floats, shape: impl Into<Shape>, dtype: DType) -> Floats {
    let shape = shape.into();
    if shape.num_elements() == 0 {
        return empty(like, shape, dtype);
    }
    // In one dimension first: CUDA would pad the rows of a matrix.
    let flat = [shape.num_elements()].into();
    reshape(zeros_client(like.client.clone(), like.device.clone(), flat, dtype), shape)
}

/// The element type that binds a kernel's generic float at launch.
pub(crate) fn element(tensor: &Floats) -> ElemType {
    dtype_to_storage_type(tensor.dtype())
}

/// The dimensions of a tensor.
pub(crate) fn dims<const D: usize>(tensor: &Floats) -> [usize; D] {
    tensor.shape().dims()
}

/// Elements that one load moves: the widest vector of the device that divides rows of `width`
/// elements.
pub(crate) fn vector_size(tensor: &Floats, width: usize) -> usize {
    let sizes = tensor.client.io_optimized_vector_sizes(tensor.dtype().size());
    sizes.filter(|size| width.is_multiple_of(*size)).max().unwrap_or(1)
}

/// Units of a plane where the device has plane operations and one plane size; otherwise 1, which
/// selects the form of a kernel without them.
pub(crate) fn plane_size(client: &Client) -> usize {
    let properties = client.properties();
    let hardware = &properties.hardware;
    let fixed = hardware.plane_size_min == hardware.plane_size_max;
    if fixed && properties.features.plane.contains(Plane::Ops) {
        hardware.plane_size_max as usize
    } else {
        1
    }
}

/// Whether kernels may have inline PTX there: CubeCL knows it in CUDA C++ alone.
pub(crate) fn has_ptx(tensor: &Floats) -> bool {
    matches!(tensor.device, Device::Cuda(_))
}

/// Units of a cube that works on one row of `vectors` vectors: a power of two, so that sums halve
/// evenly.
pub(crate) fn units_for(vectors: usize, client: &Client) -> usize {
    vectors.next_power_of_two().clamp(plane_size(client).max(32), 256)
}

/// The cubes that keep the device busy when each of them takes many rows: as many as its processors
/// hold at once, `each` of them so many, or a few less, so that all take equally many rows and end
/// together.
pub(crate) fn cubes_for(rows: usize, each: usize, client: &Client) -> usize {
    let processors =
        client.properties().hardware.num_streaming_multiprocessors.unwrap_or(8) as usize;
    let turns = rows.div_ceil(each * processors).max(1);
    rows.div_ceil(turns).max(1)
}

/// Cubes, and units of each, for kernels whose units work on one of `count` vectors each; the last
/// units may have none.
pub(crate) fn elementwise(count: usize, client: &Client) -> (CubeCount, CubeDim) {
    let cube = CubeDim::new_1d(256);
    (calculate_cube_count_elemwise(client, count, cube), cube)
}

/// The sum of the elements of a vector.
#[cube]
pub(crate) fn vector_total<N: Size>(vector: Vector<f32, N>) -> f32 {
    let mut total = 0.0f32;
    #[unroll]
    for lane in 0..N::value() {
        total += vector.extract(lane);
    }
    total
}

/// The sum of one value a unit, known to every unit of the cube. `units` is a power of two; every
/// unit has to call.
#[cube]
pub(crate) fn cube_sum(value: f32, #[comptime] units: usize, #[comptime] plane: usize) -> f32 {
    let mut partial = value;
    if comptime!(plane > 1) {
        let steps = comptime!(plane.ilog2());
        #[unroll]
        for step in 0..steps {
            partial += plane_shuffle_xor(partial, comptime!(1u32 << step));
        }
    }
    let terms = comptime!(units / plane);
    if comptime!(terms > 1) {
        let unit = UNIT_POS as usize;
        let mut shared = Shared::<[f32]>::new_slice(terms);
        // What an earlier call left here has been read by all.
        sync_cube();
        if unit % plane == 0 {
            shared[unit / plane] = partial;
        }
        sync_cube();
        // Halved until so few are left that every unit reads them faster than the cube synchronises
        // once more.
        let mut active = comptime!(terms / 2).runtime();
        while active >= 8 {
            if unit < active {
                let other = shared[unit + active];
                shared[unit] += other;
            }
            active /= 2;
            sync_cube();
        }
        partial = 0.0f32;
        #[unroll]
        for term in 0..comptime!(terms.min(8)) {
            partial += shared[term];
        }
    }
    partial
}

/// As [`cube_sum`], of several values a unit and again and again: `shared` has [`shared_sums`]
/// values, and `turn`, 0 and 1 by turns, says which half of it is used. What the last call but one
/// left there has been read by all who are past the synchronisation of the last, so one is enough.
#[cube]
pub(crate) fn cube_sums(
    values: &mut Array<f32>,
    shared: &mut Shared<[f32]>,
    turn: usize,
    #[comptime] count: usize,
    #[comptime] units: usize,
    #[comptime] plane: usize,
) {
    if comptime!(plane > 1) {
        #[unroll]
        for step in 0..comptime!(plane.ilog2()) {
            #[unroll]
            for value in 0..count {
                values[value] += plane_shuffle_xor(values[value], comptime!(1u32 << step));
            }
        }
    }
    let terms = comptime!(units / plane);
    if comptime!(terms > 1) {
        let (unit, first) = (UNIT_POS as usize, turn * comptime!(count * terms));
        if unit % plane == 0 {
            #[unroll]
            for value in 0..count {
                shared[first + comptime!(value * terms) + unit / plane] = values[value];
            }
        }
        sync_cube();
        let mut active = comptime!(terms / 2).runtime();
        while active >= 8 {
            if unit < active {
                #[unroll]
                for value in 0..count {
                    let at = first + comptime!(value * terms) + unit;
                    let other = shared[at + active];
                    shared[at] += other;
                }
            }
            active /= 2;
            sync_cube();
        }
        #[unroll]
        for value in 0..count {
            let mut total = 0.0f32;
            #[unroll]
            for term in 0..comptime!(terms.min(8)) {
                total += shared[first + comptime!(value * terms) + term];
            }
            values[value] = total;
        }
    }
}

/// Values that [`cube_sums`] of `count` values has in shared memory.
pub(crate) fn shared_sums(count: usize, units: usize, plane: usize) -> usize {
    2 * count * (units / plane)
}

/// [`mix`](crate::hash::mix) on the device, where products of integers wrap around.
#[cube]
pub(crate) fn mixed(bits: u32) -> u32 {
    let bits = (bits ^ (bits >> 16u32)) * 0x7FEB_352Du32;
    let bits = (bits ^ (bits >> 15u32)) * 0x846C_A68Bu32;
    bits ^ (bits >> 16u32)
}

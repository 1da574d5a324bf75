//! Shared parts of the CubeCL kernels: contiguous buffers, the vector width, sums over a cube
//! (thread block) of units (threads), which form planes (warps).
//!
//! The device does not check bounds, so every kernel guards its own indices. Every kernel has a
//! form without plane (subgroup) operations; [`plane_size`] selects it at launch.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::device::Device;
use cubecl::features::Plane;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// A float tensor of a GPU runtime.
pub(crate) type Floats = FloatTensor<Cube>;
/// An integer tensor of a GPU runtime.
pub(crate) type Ints = IntTensor<Cube>;

/// The tensor with its elements in order and without padded rows; copied only if necessary.
///
/// # Panics
/// When it is neither f32 nor bf16, or has more elements than 32 bits can index.
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

/// A contiguous tensor whose buffer ends with its last element. CUDA's buffers may be longer, and a
/// kernel derives the number of elements from the buffer's length. It would read the excess as
/// elements, and write past the end of shorter tensors.
pub(crate) fn trimmed(mut tensor: Floats) -> Floats {
    let used = (tensor.shape().num_elements() * tensor.dtype().size()) as u64;
    let excess = tensor.handle.size_in_used() - used;
    if excess > 0 {
        tensor.handle = tensor.handle.offset_end(excess);
    }
    tensor
}

/// The tensor, contiguous and not shared, so that a kernel may overwrite it; copied if it is
/// shared.
pub(crate) fn owned(tensor: Floats) -> Floats {
    let tensor = contiguous(tensor);
    if tensor.can_mut() { tensor } else { trimmed(tensor.copy()) }
}

/// An uninitialised contiguous tensor on the device of `like`.
pub(crate) fn empty(like: &Floats, shape: impl Into<Shape>, dtype: DType) -> Floats {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape.into(), dtype)
}

/// A contiguous tensor of zeros on the device of `like`.
pub(crate) fn zeros(like: &Floats, shape: impl Into<Shape>, dtype: DType) -> Floats {
    let shape = shape.into();
    if shape.num_elements() == 0 {
        return empty(like, shape, dtype);
    }
    // In one dimension first, because CUDA would pad the rows of a matrix.
    let flat = [shape.num_elements()].into();
    reshape(zeros_client(like.client.clone(), like.device.clone(), flat, dtype), shape)
}

/// A list of numbers below `2^31` on a tensor's device.
pub(crate) fn integers(values: impl IntoIterator<Item = usize>, like: &Floats) -> Ints {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let handle = like.client.create_from_slice(bytemuck::cast_slice(&values));
    let shape = [values.len()].into();
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, DType::I32)
}

/// The element type that binds a kernel's generic float at launch.
pub(crate) fn element(tensor: &Floats) -> ElemType {
    dtype_to_storage_type(tensor.dtype())
}

/// The dimensions of a tensor.
pub(crate) fn dims<const D: usize>(tensor: &Floats) -> [usize; D] {
    tensor.shape().dims()
}

/// Elements per load: the widest vector of the device that divides rows of `width` elements.
pub(crate) fn vector_size(tensor: &Floats, width: usize) -> usize {
    let sizes = tensor.client.io_optimized_vector_sizes(tensor.dtype().size());
    sizes.filter(|size| width.is_multiple_of(*size)).max().unwrap_or(1)
}

/// Units per plane if the device has plane operations and one plane size; otherwise 1, which
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

/// Whether kernels on the tensor's device may use inline PTX, which CubeCL supports only in CUDA
/// C++.
pub(crate) fn has_ptx(tensor: &Floats) -> bool {
    matches!(tensor.device, Device::Cuda(_))
}

/// Units per cube for one row of `vectors` vectors: a power of two, so that sums halve evenly.
pub(crate) fn units_for(vectors: usize, client: &Client) -> usize {
    vectors.next_power_of_two().clamp(plane_size(client).max(32), 256)
}

/// Number of cubes that keeps the device busy when each takes many rows: `each` per processor, or a
/// few less, so that all take equally many rows and finish together.
pub(crate) fn cubes_for(rows: usize, each: usize, client: &Client) -> usize {
    let processors =
        client.properties().hardware.num_streaming_multiprocessors.unwrap_or(8) as usize;
    let turns = rows.div_ceil(each * processors).max(1);
    rows.div_ceil(turns).max(1)
}

/// Cubes, and units per cube, for kernels with one of `count` vectors per unit; the last units may
/// have none.
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

/// The sum of one value per unit, returned to every unit of the cube. `units` is a power of two.
/// Every unit must call it.
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
        // Until every unit has read the values of an earlier call.
        sync_cube();
        if unit % plane == 0 {
            shared[unit / plane] = partial;
        }
        sync_cube();
        // Halved until so few are left that reading all of them is faster than another
        // synchronisation.
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

/// As [`cube_sum`], for several values per unit and repeated calls. `shared` has [`shared_sums`]
/// values, and `turn`, alternately 0 and 1, selects the half in use. One synchronisation is enough:
/// after that of the last call, every unit has read what the call before it left in this half.
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

/// Number of values that [`cube_sums`] of `count` values needs in shared memory.
pub(crate) fn shared_sums(count: usize, units: usize, plane: usize) -> usize {
    2 * count * (units / plane)
}

/// [`mix`](crate::hash::mix) on the device, where integer products wrap around.
#[cube]
pub(crate) fn mixed(bits: u32) -> u32 {
    let bits = (bits ^ (bits >> 16u32)) * 0x7FEB_352Du32;
    let bits = (bits ^ (bits >> 15u32)) * 0x846C_A68Bu32;
    bits ^ (bits >> 16u32)
}

//! The devices of the CubeCL runtimes.

use burn::tensor::{DType, Device};
use cubecl::MemoryScope;
use cubecl::device::{CudaDevice, WgpuBackend, WgpuDevice, WgpuDeviceKind};
use cubecl::features::Plane;
use cubecl::ir::{ElemType, FloatKind};

use super::{DeviceError, DeviceName, MemoryGauge, MemoryUse, Properties, compiled, settings};

/// Types in which a kernel may compute.
const FLOATS: [DType; 2] = [DType::F32, DType::BF16];
/// Kinds of GPUs, in the order in which they are counted.
const GPUS: [WgpuDeviceKind; 4] = [
    WgpuDeviceKind::DiscreteGpu(0),
    WgpuDeviceKind::IntegratedGpu(0),
    WgpuDeviceKind::VirtualGpu(0),
    WgpuDeviceKind::Other(0),
];

/// Every device of every runtime in this program.
pub(super) fn present() -> Vec<DeviceName> {
    let starts =
        [DeviceName::WebGpu(0), DeviceName::WebGpuCpu, DeviceName::Vulkan(0), DeviceName::Cuda(0)]
            .into_iter();
    starts
        .filter(|name| compiled().contains(&name.backend()))
        .flat_map(|name| peers(name).0)
        .collect()
}

/// See [`DeviceName::open`]; the program has the backend.
pub(super) fn open(name: DeviceName) -> Result<Device, DeviceError> {
    if name == DeviceName::WebGpuCpu && cfg!(feature = "vulkan") {
        // Mesa 22.3 and 25.0 crash when they create a compute pipeline from CubeCL's SPIR-V.
        return Err(DeviceError::Missing {
            name,
            problem: "with the feature `vulkan` kernels become SPIR-V, which crashes software drivers; use a program built \
                      with `webgpu` and without `vulkan`"
                .to_owned(),
        });
    }
    #[cfg(feature = "cuda")]
    if matches!(name, DeviceName::Cuda(_)) {
        super::cuda::check().map_err(|problem| DeviceError::Missing { name, problem })?;
        super::cuda::warn_without_cublaslt();
    }
    settings::set(name);
    find(name).map(Device::new)
}

/// See [`DeviceName::open_for_training`].
pub(super) fn open_for_training(name: DeviceName) -> Result<Device, DeviceError> {
    let device = open(name)?;
    #[cfg(feature = "cuda")]
    if matches!(name, DeviceName::Cuda(_)) {
        super::pages::carve_large(&find(name)?);
    }
    Ok(device)
}

/// See [`DeviceName::properties`].
pub(super) fn properties(name: DeviceName) -> Properties {
    let device = find(name).unwrap_or_else(|error| panic!("{error}"));
    let (client, burn_device) = (device.client(), Device::new(device.clone()));
    let properties = client.properties();
    let hardware = &properties.hardware;
    let bf16 = ElemType::Float(FloatKind::BF16);
    let tensor_cores = properties.features.matmul.mma.iter().any(|config| config.a_type == bf16);
    Properties {
        name: properties.identity.name.clone(),
        runtime: client.name().to_owned(),
        memory: properties.memory.max_memory(),
        max_allocation: properties.memory.max_page_size,
        shared_memory: hardware.max_shared_memory_size,
        plane: properties
            .features
            .plane
            .contains(Plane::Ops)
            .then_some((hardware.plane_size_min, hardware.plane_size_max)),
        tensor_cores,
        floats: FLOATS.into_iter().filter(|&dtype| burn_device.supports_dtype(dtype)).collect(),
    }
}

/// See [`DeviceName::memory_gauge`].
pub(super) fn memory_gauge(name: DeviceName) -> MemoryGauge {
    let device = find(name).unwrap_or_else(|error| panic!("{error}"));
    Box::new(move || {
        let usage = device.client().memory_report(MemoryScope::Device).usage();
        MemoryUse { in_use: usage.bytes_in_use, reserved: usage.bytes_reserved }
    })
}

fn find(name: DeviceName) -> Result<cubecl::Device, DeviceError> {
    let (names, devices) = peers(name);
    let position = names.iter().position(|&peer| peer == name);
    match position {
        Some(position) => Ok(devices.into_iter().nth(position).expect("a device for every name")),
        None => Err(DeviceError::NotThere { name, present: names }),
    }
}

/// All devices whose names are of the same kind as `name`, in order.
fn peers(name: DeviceName) -> (Vec<DeviceName>, Vec<cubecl::Device>) {
    let adapters = |kinds: &[WgpuDeviceKind], backend| -> Vec<cubecl::Device> {
        let seeds = kinds
            .iter()
            .map(|kind| cubecl::Device::Wgpu(WgpuDevice::new(kind.clone()).on(backend)));
        seeds.flat_map(|seed| alike(&seed)).collect()
    };
    let (named, devices): (fn(usize) -> DeviceName, _) = match name {
        DeviceName::Flex => (|_| DeviceName::Flex, Vec::new()),
        DeviceName::WebGpu(_) => (DeviceName::WebGpu, adapters(&GPUS, WgpuBackend::Auto)),
        DeviceName::WebGpuCpu => {
            let mut software = adapters(&[WgpuDeviceKind::Cpu], WgpuBackend::Auto);
            software.truncate(1);
            (|_| DeviceName::WebGpuCpu, software)
        }
        DeviceName::Vulkan(_) => (DeviceName::Vulkan, adapters(&GPUS, WgpuBackend::Vulkan)),
        DeviceName::Cuda(_) => (DeviceName::Cuda, alike(&cubecl::Device::Cuda(CudaDevice::new(0)))),
    };
    ((0..devices.len()).map(named).collect(), devices)
}

/// All devices with the runtime, graphics API and kind of `seed`. Opens none.
fn alike(seed: &cubecl::Device) -> Vec<cubecl::Device> {
    cubecl::Device::enumerate(seed.to_id()).into_iter().map(cubecl::Device::from_id).collect()
}

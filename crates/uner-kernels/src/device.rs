//! Devices by name. Recipes and the command line name devices at run time; the build decides which
//! backends a program has. burn's own constructors succeed on any machine and panic at the first
//! tensor, so [`DeviceName::open`] checks first and says what is missing.

mod cache;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "cube")]
mod gpu;
#[cfg(feature = "cuda")]
mod pages;
#[cfg(feature = "cube")]
mod settings;

pub use cache::cache_folder;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};

/// Where tensors live and kernels run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// `flex`: the CPU.
    Flex,
    /// `webgpu:N`: the N-th GPU, discrete ones first, through Vulkan, Metal or DirectX.
    WebGpu(usize),
    /// `webgpu:cpu`: the software adapter, for tests of GPU kernels without a GPU.
    WebGpuCpu,
    /// `vulkan:N`: the N-th GPU of Vulkan, with kernels in SPIR-V.
    Vulkan(usize),
    /// `cuda:N`: the N-th GPU of NVIDIA's driver.
    Cuda(usize),
}

/// Why a device cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceError {
    /// The text is not the name of a device.
    Unknown(String),
    /// The program was built without the backend.
    NotCompiled(DeviceName),
    /// The backend does not have this device on this machine.
    NotThere {
        /// The requested device.
        name: DeviceName,
        /// The backend's devices on this machine.
        present: Vec<DeviceName>,
    },
    /// A dependency of the backend is missing or cannot be used.
    Missing {
        /// The requested device.
        name: DeviceName,
        /// The problem and what to do.
        problem: String,
    },
}

/// Properties of a device, read without running anything on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// The product's name.
    pub name: String,
    /// The runtime and the language of its kernels, such as `wgpu<wgsl>`.
    pub runtime: String,
    /// Bytes of memory, if the runtime reports them.
    pub memory: Option<u64>,
    /// Bytes of the largest single tensor.
    pub max_allocation: u64,
    /// Bytes of shared memory per cube.
    pub shared_memory: usize,
    /// Smallest and largest number of units per plane; `None` without plane operations.
    pub plane: Option<(u32, u32)>,
    /// Whether the device has matrix instructions with bf16 inputs.
    pub tensor_cores: bool,
    /// The float types that kernels can compute with, narrow ones last.
    pub floats: Vec<DType>,
}

/// The type of a model's activations on a device, for weights of this type. CPU kernels compute in
/// f32, whatever type the weights have.
pub fn activations(weights: DType, device: &Device) -> DType {
    #[cfg(feature = "flex")]
    if *device == Device::flex() {
        return DType::F32;
    }
    #[cfg(not(feature = "flex"))]
    let _ = device;
    weights
}

/// Whether NCCL can connect these devices: different CUDA GPUs, on a machine that has the library.
pub fn have_nccl(names: &[DeviceName]) -> bool {
    let mut found = BTreeSet::new();
    let are_different =
        names.iter().all(|name| matches!(name, DeviceName::Cuda(index) if found.insert(*index)));
    are_different && has_nccl()
}

#[cfg(feature = "cuda")]
fn has_nccl() -> bool {
    cuda::nccl::has_nccl()
}

#[cfg(not(feature = "cuda"))]
fn has_nccl() -> bool {
    false
}

/// Memory use of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// In use by tensors.
    pub in_use: u64,
    /// Reserved by the allocator, tensors included.
    pub reserved: u64,
}

/// Reads a device's current memory use.
pub type MemoryGauge = Box<dyn Fn() -> MemoryUse>;

/// The backends of this program, by the first part of their names.
pub const fn compiled() -> &'static [&'static str] {
    &[
        #[cfg(feature = "flex")]
        "flex",
        #[cfg(feature = "webgpu")]
        "webgpu",
        #[cfg(feature = "vulkan")]
        "vulkan",
        #[cfg(feature = "cuda")]
        "cuda",
    ]
}

/// Every device of this machine that this program can open.
pub fn present() -> Vec<DeviceName> {
    let mut names = Vec::new();
    if compiled().contains(&"flex") {
        names.push(DeviceName::Flex);
    }
    #[cfg(feature = "cube")]
    names.extend(gpu::present());
    names
}

impl DeviceName {
    /// Opens the device of this name.
    ///
    /// # Errors
    /// When the program lacks the backend, or the machine lacks the device or a dependency of its
    /// backend.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "cube")]
            gpu if gpu != Self::Flex && compiled().contains(&gpu.backend()) => gpu::open(gpu),
            other => Err(DeviceError::NotCompiled(other)),
        }
    }

    /// As [`DeviceName::open`], for a program that fills the memory: if the allocator divides it
    /// into pages, these are large and waste less. Call it on the thread that computes.
    ///
    /// # Errors
    /// As [`DeviceName::open`].
    pub fn open_for_training(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "cube")]
            gpu if gpu != Self::Flex && compiled().contains(&gpu.backend()) => {
                gpu::open_for_training(gpu)
            }
            other => other.open(),
        }
    }

    /// Properties of an opened device; `None` for `flex`, which is the machine itself.
    ///
    /// # Panics
    /// When the driver refuses the device.
    pub fn properties(self) -> Option<Properties> {
        match self {
            Self::Flex => None,
            #[cfg(feature = "cube")]
            gpu => Some(gpu::properties(gpu)),
            #[cfg(not(feature = "cube"))]
            _ => None,
        }
    }

    /// A gauge of the memory that an opened device's allocator uses; `None` for `flex`, whose
    /// tensors use the process's own memory. Call the gauge on the thread that computes.
    ///
    /// # Panics
    /// When the driver refuses the device.
    pub fn memory_gauge(self) -> Option<MemoryGauge> {
        match self {
            Self::Flex => None,
            #[cfg(feature = "cube")]
            gpu => Some(gpu::memory_gauge(gpu)),
            #[cfg(not(feature = "cube"))]
            _ => None,
        }
    }

    /// Whether the device uses the machine's own memory.
    pub fn is_host(self) -> bool {
        matches!(self, Self::Flex | Self::WebGpuCpu)
    }

    /// The first part of the name, which is also the cargo feature.
    pub fn backend(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::WebGpu(_) | Self::WebGpuCpu => "webgpu",
            Self::Vulkan(_) => "vulkan",
            Self::Cuda(_) => "cuda",
        }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        let (backend, which) = text.split_once(':').unwrap_or((text, "0"));
        let digits = !which.is_empty() && which.bytes().all(|byte| byte.is_ascii_digit());
        let index = || if digits { which.parse().map_err(|_| unknown()) } else { Err(unknown()) };
        match (backend, which) {
            ("flex", _) if text == "flex" => Ok(Self::Flex),
            ("webgpu", "cpu") => Ok(Self::WebGpuCpu),
            ("webgpu", _) => Ok(Self::WebGpu(index()?)),
            ("vulkan", _) => Ok(Self::Vulkan(index()?)),
            ("cuda", _) => Ok(Self::Cuda(index()?)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = self.backend();
        match self {
            Self::Flex => out.write_str(backend),
            Self::WebGpuCpu => write!(out, "{backend}:cpu"),
            Self::WebGpu(index) | Self::Vulkan(index) | Self::Cuda(index) => {
                write!(out, "{backend}:{index}")
            }
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => write!(
                out,
                "`{text}` is not a device; it must be `flex` (the CPU), `webgpu:N`, `webgpu:cpu` (software), `vulkan:N` or \
                 `cuda:N`, where N counts from 0"
            ),
            Self::NotCompiled(name) => write!(
                out,
                "`{name}` needs a program built with the feature `{feature}`, and this one has {has}; build it with \
                 `cargo build --release --package uner-cli --features {feature}`",
                feature = name.backend(),
                has = listed(compiled())
            ),
            Self::NotThere { name, present } if present.is_empty() => {
                write!(out, "`{name}`: this machine has no such device; {}", advice(*name))
            }
            Self::NotThere { name, present } => write!(
                out,
                "`{name}` is not there: the backend has {} on this machine; `uner doctor` describes them",
                listed(present)
            ),
            Self::Missing { name, problem } => write!(out, "`{name}` cannot be used: {problem}"),
        }
    }
}

impl std::error::Error for DeviceError {}

/// Advice for a machine on which a backend finds no device.
fn advice(name: DeviceName) -> &'static str {
    match name {
        DeviceName::Flex => "",
        DeviceName::WebGpu(_) => {
            "install the driver of your GPU, or choose `webgpu:cpu` (software) or `flex` (the CPU)"
        }
        DeviceName::WebGpuCpu => {
            "install a software driver (Debian and Ubuntu: `mesa-vulkan-drivers` and `libvulkan1`)"
        }
        DeviceName::Vulkan(_) => {
            "install the Vulkan driver of your GPU, or choose `flex` (the CPU)"
        }
        DeviceName::Cuda(_) => "NVIDIA's driver sees no GPU; `nvidia-smi` should list one",
    }
}

fn listed(names: &[impl fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let names = [
            ("flex", DeviceName::Flex),
            ("webgpu:cpu", DeviceName::WebGpuCpu),
            ("webgpu:0", DeviceName::WebGpu(0)),
            ("vulkan:1", DeviceName::Vulkan(1)),
            ("cuda:12", DeviceName::Cuda(12)),
        ];
        for (text, name) in names {
            assert_eq!(text.parse(), Ok(name));
            assert_eq!(name.to_string(), text);
        }
        for (text, name) in [
            ("webgpu", DeviceName::WebGpu(0)),
            ("vulkan", DeviceName::Vulkan(0)),
            ("cuda", DeviceName::Cuda(0)),
        ] {
            assert_eq!(text.parse(), Ok(name));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "", "cpu", "gpu", "flex:0", "flex:", "cuda:", "cuda:cpu", "cuda:-1", "cuda:+1",
            "cuda:0:1", "CUDA",
        ] {
            let error = text.parse::<DeviceName>().unwrap_err();
            assert_eq!(error, DeviceError::Unknown(text.to_owned()));
            assert!(
                error.to_string().starts_with(&format!("`{text}` is not a device; ")),
                "{error}"
            );
        }
        assert!("cuda:99999999999999999999999".parse::<DeviceName>().is_err());
    }

    #[test]
    fn a_backend_that_is_not_compiled_in_is_named_with_its_feature() {
        for name in [
            DeviceName::WebGpu(0),
            DeviceName::WebGpuCpu,
            DeviceName::Vulkan(0),
            DeviceName::Cuda(0),
        ] {
            if compiled().contains(&name.backend()) {
                continue;
            }
            let error = name.open().unwrap_err();
            assert_eq!(error, DeviceError::NotCompiled(name));
            let text = error.to_string();
            assert!(text.contains(&format!("--features {}", name.backend())), "{text}");
            assert!(text.contains("`flex`"), "{text}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(DeviceName::Flex.open(), Ok(Device::flex()));
        assert_eq!(present()[0], DeviceName::Flex);
    }

    #[test]
    fn an_index_too_large_lists_what_there_is() {
        let error = DeviceError::NotThere {
            name: DeviceName::Cuda(2),
            present: vec![DeviceName::Cuda(0), DeviceName::Cuda(1)],
        };
        assert!(error.to_string().contains("has `cuda:0`, `cuda:1` on this machine"), "{error}");
    }

    /// On any machine, a device that cannot exist is an error, not a panic.
    #[test]
    fn absent_devices_are_errors() {
        for name in [DeviceName::WebGpu(1_000), DeviceName::Vulkan(1_000), DeviceName::Cuda(1_000)]
        {
            let error = name.open().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{name}`")), "{error}");
        }
    }
}

//! Devices by name. A name is a run-time value of recipes and of the command line; which backends a
//! program has is decided when it is built. burn's own constructors succeed whatever the machine
//! has and panic at the first tensor, so [`DeviceName::open`] looks first and says what is missing.

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "cube")]
mod gpu;
#[cfg(feature = "cuda")]
mod pages;
#[cfg(feature = "cube")]
pub(crate) mod settings;

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
    /// `vulkan:N`: the N-th GPU of Vulkan, its kernels in SPIR-V.
    Vulkan(usize),
    /// `cuda:N`: the N-th GPU of NVIDIA's driver.
    Cuda(usize),
}

/// Why a name stands for no device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceError {
    /// Not a name.
    Unknown(String),
    /// The program was built without the backend.
    NotCompiled(DeviceName),
    /// The backend has other devices, or none.
    NotThere {
        /// The device asked for.
        name: DeviceName,
        /// Those of the same backend.
        present: Vec<DeviceName>,
    },
    /// Something that the backend needs is not there or not usable.
    Missing {
        /// The device asked for.
        name: DeviceName,
        /// What is missing and what to do.
        problem: String,
    },
}

/// What is known of a device without running anything on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// The part's name.
    pub name: String,
    /// The runtime and the language of its kernels, such as `wgpu<wgsl>`.
    pub runtime: String,
    /// Bytes of memory, where the runtime tells.
    pub memory: Option<u64>,
    /// Bytes of the largest single tensor.
    pub max_allocation: u64,
    /// Bytes of shared memory of a cube.
    pub shared_memory: usize,
    /// Smallest and largest number of units of a plane; `None` without plane operations.
    pub plane: Option<(u32, u32)>,
    /// Whether there are matrix instructions for bf16 in and f32 out.
    pub tensor_cores: bool,
    /// The float types that kernels can compute with, narrow ones last.
    pub floats: Vec<DType>,
}

/// The type of activations on a device, of a model with such weights: CPU kernels compute in f32
/// whatever weights are stored in.
pub fn activations(weights: DType, device: &Device) -> DType {
    #[cfg(feature = "flex")]
    if *device == Device::flex() {
        return DType::F32;
    }
    #[cfg(not(feature = "flex"))]
    let _ = device;
    weights
}

/// Whether NCCL can sum between these devices: different GPUs of CUDA, on a machine that has the
/// library.
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

/// How much of a device's memory is taken, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// By tensors.
    pub in_use: u64,
    /// By the allocator, tensors included.
    pub reserved: u64,
}

/// Tells how much of a device's memory is taken at the moment.
pub type MemoryGauge = Box<dyn Fn() -> MemoryUse>;

/// The backends of this program, by the head of their names.
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
    /// The device of this name.
    ///
    /// # Errors
    /// When the program lacks the backend, or the machine the device or what its backend needs.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "cube")]
            gpu if gpu != Self::Flex && compiled().contains(&gpu.backend()) => gpu::open(gpu),
            other => Err(DeviceError::NotCompiled(other)),
        }
    }

    /// As [`DeviceName::open`], for what fills the memory: where the allocator cuts it into pages,
    /// these are large, and less of them is lost. For the thread that computes.
    ///
    /// # Errors
    /// As there.
    pub fn open_for_training(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "cube")]
            gpu if gpu != Self::Flex && compiled().contains(&gpu.backend()) => {
                gpu::open_for_training(gpu)
            }
            other => other.open(),
        }
    }

    /// What is known of an opened device; `None` for `flex`, which is the machine itself.
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

    /// What tells how much memory the allocator of an opened device holds; `None` for `flex`, whose
    /// tensors are the process's own memory. To be asked on the thread that computes.
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

    /// Whether its memory is the machine's own.
    pub fn is_host(self) -> bool {
        matches!(self, Self::Flex | Self::WebGpuCpu)
    }

    /// The head of the name, which is also the cargo feature.
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
                "`{text}` is no device; it must be `flex` (the CPU), `webgpu:N`, `webgpu:cpu` (software), `vulkan:N` or \
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

/// What to do on a machine where a backend finds nothing at all.
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
            assert!(error.to_string().starts_with(&format!("`{text}` is no device; ")), "{error}");
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

    /// Whatever this machine has: a device that cannot be there is an error and no panic.
    #[test]
    fn absent_devices_are_errors() {
        for name in [DeviceName::WebGpu(1_000), DeviceName::Vulkan(1_000), DeviceName::Cuda(1_000)]
        {
            let error = name.open().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{name}`")), "{error}");
        }
    }
}

//! Stands in for `uner_kernels::device` until that is merged.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(feature = "webgpu")]
use burn::tensor::{DeviceKind, DeviceType};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceName {
    Flex,
    WebGpuCpu,
    Cuda(usize),
}

impl DeviceName {
    pub(crate) fn open(self) -> Result<Device, String> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "webgpu")]
            Self::WebGpuCpu => {
                let device = Device::wgpu(DeviceKind::Cpu);
                let there = Device::enumerate(DeviceType::Wgpu).into_vec().contains(&device);
                there.then_some(device).ok_or("no software adapter".to_owned())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(Device::cuda(index)),
            #[allow(unreachable_patterns)]
            _ => Err("not compiled".to_owned()),
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "flex" => Ok(Self::Flex),
            "webgpu:cpu" => Ok(Self::WebGpuCpu),
            "cuda:0" => Ok(Self::Cuda(0)),
            _ => Err(format!("`{text}` is no device")),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => out.write_str("flex"),
            Self::WebGpuCpu => out.write_str("webgpu:cpu"),
            Self::Cuda(index) => write!(out, "cuda:{index}"),
        }
    }
}

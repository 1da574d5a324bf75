//! Runs a kernel on a device and compares it with the same computation on the CPU.

use anyhow::{Context as _, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use uner_kernels::device::{DeviceName, Properties};
use uner_kernels::rms_norm;

use super::cpu::Cpu;

/// Rows and their width: neither a power of two nor a multiple of a vector.
const SHAPE: [usize; 2] = [7, 103];
const EPS: f64 = 1e-5;
/// Largest allowed difference: both sides add up 103 squares in f32, in different orders.
const TOLERANCE: f32 = 1e-5;

/// The result of [`check`].
#[derive(Debug, Serialize, Deserialize)]
pub struct DeviceReport {
    /// The device's name, such as `cuda:0`.
    pub device: String,
    /// Whether a kernel computes the right values on it.
    pub ok: bool,
    /// The error of these values, or the problem.
    pub check: String,
    /// The device's properties, if it could be opened.
    #[serde(flatten)]
    pub facts: Option<Facts>,
}

/// The properties of a device.
#[derive(Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Its model.
    pub name: String,
    /// The runtime and the language of its kernels.
    pub runtime: String,
    /// Bytes; `None` if the runtime does not report them.
    pub memory: Option<u64>,
    /// Bytes of the largest tensor; `None` if only the memory limits it.
    pub max_allocation: Option<u64>,
    /// Bytes of shared memory of a cube.
    pub shared_memory: Option<usize>,
    /// Smallest and largest number of units of a plane; `None` without plane operations.
    pub plane: Option<(u32, u32)>,
    /// Whether it has tensor cores that our kernels use.
    pub tensor_cores: bool,
    /// Float types that kernels can compute with.
    pub floats: Vec<String>,
}

/// Opens the device, reads its properties, and runs a kernel.
///
/// # Errors
/// When the device cannot be opened, or its memory cannot be read. A driver may also panic.
pub fn check(name: DeviceName) -> Result<DeviceReport> {
    let device = name.open()?;
    let facts = facts(name.properties());
    let off =
        difference(&device).with_context(|| format!("cannot read the results from `{name}`"))?;
    Ok(DeviceReport {
        device: name.to_string(),
        ok: off <= TOLERANCE,
        check: format!("RMSNorm is off by {off:.1e}"),
        facts: Some(facts),
    })
}

/// The largest difference between a norm and its reference; infinite if a value is NaN.
fn difference(device: &Device) -> Result<f32> {
    let [rows, width] = SHAPE;
    let ramp = |count: usize, step: f32| {
        (0..count).map(|index| (index as f32 * step).sin()).collect::<Vec<_>>()
    };
    let (x, weight) = (ramp(rows * width, 0.7), ramp(width, 0.3));
    let inputs = |device: &Device| {
        (
            Tensor::<2>::from_data(TensorData::new(x.clone(), SHAPE), (device, DType::F32)),
            Tensor::<1>::from_data(TensorData::new(weight.clone(), [width]), (device, DType::F32)),
        )
    };
    let (x, weight) = inputs(device);
    let got: Vec<f32> = rms_norm(x, weight, EPS).try_into_vec_as()?;
    let (x, weight) = inputs(&Device::flex());
    let expected: Vec<f32> = rms_norm::reference(x, weight, EPS).try_into_vec_as()?;
    let difference = |(got, expected): (&f32, &f32)| {
        let difference = (got - expected).abs();
        if difference.is_nan() { f32::INFINITY } else { difference }
    };
    Ok(got.iter().zip(&expected).map(difference).fold(0.0, f32::max))
}

fn facts(properties: Option<Properties>) -> Facts {
    let cpu = Cpu::detect();
    match properties {
        Some(properties) => Facts {
            name: properties.name,
            runtime: properties.runtime,
            memory: properties.memory,
            max_allocation: Some(properties.max_allocation),
            shared_memory: Some(properties.shared_memory),
            plane: properties.plane,
            tensor_cores: properties.tensor_cores,
            floats: properties
                .floats
                .iter()
                .map(|dtype| format!("{dtype:?}").to_lowercase())
                .collect(),
        },
        None => Facts {
            name: cpu.model,
            runtime: "flex".to_owned(),
            memory: cpu.memory,
            max_allocation: None,
            shared_memory: None,
            plane: None,
            tensor_cores: false,
            floats: vec!["f32".to_owned()],
        },
    }
}

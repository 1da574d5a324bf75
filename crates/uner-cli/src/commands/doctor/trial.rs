//! Runs a kernel on a device and compares it with the same computation on the CPU.

use anyhow::{Context as _, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use uner_kernels::device::{DeviceName, Properties};
use uner_kernels::rms_norm;

use super::host::Cpu;
use super::{DeviceReport, Facts};
use uner_plan::machine::host_memory;

/// Rows and their width: neither a power of two nor a multiple of a vector.
const SHAPE: [usize; 2] = [7, 103];
const EPS: f64 = 1e-5;
/// Largest allowed difference: both sides add up 103 squares in f32, in different orders.
const TOLERANCE: f32 = 1e-5;

/// Opens the device, reads its properties, and runs a kernel.
///
/// # Errors
/// When the device cannot be opened, or its memory cannot be read. A driver may also panic.
pub(super) fn device(name: DeviceName) -> Result<DeviceReport> {
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
            name: Cpu::look().model,
            runtime: "flex".to_owned(),
            memory: host_memory().map(|memory| memory.total),
            max_allocation: None,
            shared_memory: None,
            plane: None,
            tensor_cores: false,
            floats: vec!["f32".to_owned()],
        },
    }
}

//! The devices that tests run on, their float types and their tolerances.
//!
//! `UNER_TEST_DEVICES` lists them, as in `flex,webgpu:cpu,cuda:0`; a listed device that cannot be
//! opened fails the test. The default is the CPU and the software adapter of WebGPU. If that
//! adapter is missing, the test says so on stderr and goes on, unless `UNER_REQUIRE_WEBGPU` is `1`,
//! as in CI.

use std::fmt;

use burn::tensor::{DType, Device, Tensor};

use uner_kernels::device::DeviceName;

const USUAL: &str = "flex,webgpu:cpu";

/// A device and the float type to compute in.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: DeviceName,
    pub(crate) device: Device,
    pub(crate) dtype: DType,
    pub(crate) tolerance: Tolerance,
}

/// Largest allowed differences from results in f32 arithmetic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    /// Output and gradients of one op, as a share of the tensor's largest entry.
    pub(crate) op: f32,
    /// Logits and token losses of a model, as a share of the largest logit.
    pub(crate) forward: f32,
    /// Summed loss, relative.
    pub(crate) loss: f64,
    /// Norm of the gradient, relative.
    pub(crate) norm: f64,
    /// Gradients of a model, as a share of the tensor's largest entry.
    pub(crate) gradient: f32,
}

/// f32 throughout. Both sides add the same f32 products in another order. The golden values differ
/// from a float64 computation by less than a tenth of these.
const F32: Tolerance =
    Tolerance { op: 2e-5, forward: 2.5e-5, loss: 1e-5, norm: 1e-4, gradient: 1e-4 };
/// CUDA without cuBLASLt rounds the factors of an f32 product to TF32 (10 bits of mantissa); burn
/// has no switch for it. For models: 1.5 times the error of PyTorch in f32 on a CPU when it rounds
/// the factors of every product like that (at worst logits 3.5e-3, loss 3.5e-4, norm 1.9e-3,
/// gradients 9.9e-3).
const TF32: Tolerance =
    Tolerance { op: 2e-3, forward: 5e-3, loss: 5e-4, norm: 3e-3, gradient: 1.5e-2 };
/// 7 bits of mantissa in every tensor. For models: 1.5 times the error of PyTorch in bf16 on a CPU
/// (at worst logits 3.9e-2, loss 3.4e-3, gradients 0.113; norm 1.44e-2, over 30 runs whose weights
/// were changed by less than a bf16 step, since rounding alone makes the norm 0.4 to 1 % too
/// large).
const BF16: Tolerance =
    Tolerance { op: 2e-2, forward: 6e-2, loss: 5e-3, norm: 2.2e-2, gradient: 0.17 };

/// The CPU in f32, the reference of the other devices, whether it is listed or not.
pub(crate) fn cpu() -> Setup {
    Setup { name: DeviceName::Flex, device: Device::flex(), dtype: DType::F32, tolerance: F32 }
}

/// Every device in f32.
pub(crate) fn devices() -> Vec<Setup> {
    setups(&[DType::F32])
}

/// Every device with each of these types that it supports. The CPU kernels support f32 activations
/// only.
pub(crate) fn setups(dtypes: &[DType]) -> Vec<Setup> {
    let named = std::env::var("UNER_TEST_DEVICES").ok();
    let names = named.as_deref().unwrap_or(USUAL).split(',');
    let names = names
        .map(|name| name.trim().parse::<DeviceName>().unwrap_or_else(|error| panic!("{error}")));
    names
        .filter_map(|name| open(name, named.is_some()))
        .flat_map(|opened| typed(&opened, dtypes))
        .collect()
}

fn open(name: DeviceName, required: bool) -> Option<(DeviceName, Device)> {
    let required = required || std::env::var("UNER_REQUIRE_WEBGPU").is_ok_and(|value| value == "1");
    match name.open() {
        Ok(device) => Some((name, device)),
        Err(error) if required => panic!("{error}"),
        Err(error) => {
            eprintln!("SKIPPED on `{name}`: {error}");
            None
        }
    }
}

fn typed((name, device): &(DeviceName, Device), dtypes: &[DType]) -> Vec<Setup> {
    let computes = |dtype: DType| match (dtype, name) {
        (DType::F32, _) => true,
        (_, DeviceName::Flex) => false,
        _ => device.supports_dtype(dtype),
    };
    let served = dtypes.iter().copied().filter(|&dtype| computes(dtype));
    served
        .map(|dtype| {
            let tolerance = match dtype {
                DType::F32 if rounds_to_tf32(*name) => TF32,
                DType::F32 => F32,
                DType::BF16 => BF16,
                other => panic!("no tolerance is stated for {other:?}"),
            };
            Setup { name: *name, device: device.clone(), dtype, tolerance }
        })
        .collect()
}

#[cfg(feature = "cuda")]
fn rounds_to_tf32(name: DeviceName) -> bool {
    matches!(name, DeviceName::Cuda(_)) && uner_kernels::device::cuda::toolkit().cublaslt.is_err()
}

#[cfg(not(feature = "cuda"))]
fn rounds_to_tf32(_: DeviceName) -> bool {
    false
}

impl Setup {
    /// Copies a tensor to this device, rounded to this type.
    pub(crate) fn put<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        Tensor::from_data(tensor.into_data(), (&self.device, self.dtype))
    }

    /// Whether products have the precision of f32. Comparing logits then chooses the same tokens on
    /// every device.
    pub(crate) fn is_exact(&self) -> bool {
        self.dtype == DType::F32 && !rounds_to_tf32(self.name)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}", self.name, self.dtype)
    }
}

/// Copies a tensor to the CPU, in f32.
pub(crate) fn fetch<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    Tensor::from_data(tensor.into_data(), (&Device::flex(), DType::F32))
}

#[test]
fn the_cpu_is_always_tested_in_f32() {
    let all = setups(&[DType::F32, DType::BF16]);
    let of_cpu: Vec<DType> = all
        .iter()
        .filter(|setup| setup.name == DeviceName::Flex)
        .map(|setup| setup.dtype)
        .collect();
    assert!(std::env::var_os("UNER_TEST_DEVICES").is_some() || of_cpu == [DType::F32]);
    for setup in all {
        println!("{setup}");
        let values = Tensor::<1>::from_data([1.0, 2.5, -3.0], &Device::flex());
        assert_eq!(fetch(setup.put(values.clone())).into_data(), values.into_data(), "{setup}");
    }
}

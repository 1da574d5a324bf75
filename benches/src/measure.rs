//! Times one op in batches of runs between two waits for the device, and reports the median of the
//! batches. A GPU computes while the next runs are launched, so a figure is the larger of compute
//! time and launch time. The preset `tiny` on the same device shows the latter.

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use uner_kernels::device::DeviceName;

use crate::memory::Peak;

/// Shortest time of a batch in seconds, so that waiting for the device does not count.
const BATCH_SECONDS: f64 = 0.02;
/// Smallest and largest number of batches.
const BATCHES: std::ops::RangeInclusive<usize> = 5..=30;

/// The work of an op.
#[derive(Debug, Clone, Copy)]
pub enum Cost {
    /// Bytes read and written if every tensor is accessed once.
    Bytes(usize),
    /// Multiplications and additions.
    Flops(usize),
}

/// The device and type in which ops are measured.
#[derive(Debug)]
pub struct Bench {
    /// The device.
    pub device: Device,
    /// Its name.
    pub device_name: DeviceName,
    /// Name of the preset.
    pub preset: String,
    /// Type of the weights; activations are f32 on the CPU.
    pub dtype: DType,
    /// Seconds to spend on each figure after the warm-up.
    pub seconds: f64,
    /// Whether every pass is launched once and not measured.
    pub once: bool,
}

/// An op at a shape.
#[derive(Debug)]
pub struct Case {
    /// The op's directory in `uner-kernels`.
    pub op: &'static str,
    /// The shape as `pytorch_ops.py` writes it.
    pub shape: String,
}

impl Bench {
    /// Whether this is the CPU.
    pub fn is_cpu(&self) -> bool {
        self.device_name == DeviceName::Flex
    }

    /// Bytes per element of activations.
    pub fn activation_bytes(&self) -> usize {
        if self.activation() == DType::F32 { 4 } else { 2 }
    }

    fn activation(&self) -> DType {
        if self.is_cpu() { DType::F32 } else { self.dtype }
    }

    /// Draws normal values in the type of activations.
    pub fn random<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let values: Tensor<D> = Tensor::random(shape, Distribution::Normal(0.0, 1.0), &self.device);
        values.cast(self.activation())
    }

    /// Draws small normal values in the type of weights.
    pub fn weight<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let values: Tensor<D> =
            Tensor::random(shape, Distribution::Normal(0.0, 0.02), &self.device);
        values.cast(self.dtype)
    }

    /// Measures and prints one pass. Returns its milliseconds, or 0 with `once`.
    pub fn pass(&self, case: &Case, pass: &str, cost: Cost, mut work: impl FnMut()) -> f64 {
        if self.once {
            work();
            self.wait();
            return 0.0;
        }
        // On the CPU the allocator keeps its memory, so only the first run shows how much is
        // needed. On a GPU the first run tunes kernels, which takes additional memory.
        let first = self.is_cpu().then(|| self.peak_mib(&mut work));
        let ms = self.median_ms(&mut work);
        let peak = first.unwrap_or_else(|| self.peak_mib(&mut work));
        self.print(case, pass, cost, ms, peak);
        ms
    }

    /// Measures and prints the forward pass and forward plus backward, and prints their difference.
    pub fn passes(
        &self,
        case: &Case,
        forward_cost: Cost,
        backward_cost: Cost,
        forward: impl FnMut(),
        both: impl FnMut(),
    ) {
        let forward = self.pass(case, "forward", forward_cost, forward);
        let together = self.pass(case, "forward+backward", forward_cost.plus(backward_cost), both);
        if together > forward {
            self.print(case, "backward", backward_cost, together - forward, None);
        }
    }

    fn peak_mib(&self, work: &mut impl FnMut()) -> Option<f64> {
        let peak = Peak::start(&self.device);
        work();
        self.wait();
        peak.mib()
    }

    fn median_ms(&self, work: &mut impl FnMut()) -> f64 {
        // The first run compiles and tunes kernels.
        work();
        self.wait();
        let start = Instant::now();
        work();
        self.wait();
        let once = start.elapsed().as_secs_f64();
        let runs = (BATCH_SECONDS / once).ceil().clamp(1.0, 200.0) as usize;
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < *BATCHES.start()
            || times.len() < *BATCHES.end() && start.elapsed().as_secs_f64() < self.seconds
        {
            let batch = Instant::now();
            (0..runs).for_each(|_| work());
            self.wait();
            times.push(batch.elapsed().as_secs_f64() / runs as f64);
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] * 1e3
    }

    fn wait(&self) {
        self.device.sync().expect("the device finishes its work");
    }

    #[expect(clippy::print_stdout, reason = "the result")]
    fn print(&self, case: &Case, pass: &str, cost: Cost, ms: f64, peak_mib: Option<f64>) {
        let (unit, rate) = match cost {
            Cost::Bytes(bytes) => ("gbytes_per_s", bytes as f64 / ms / 1e6),
            Cost::Flops(flops) => ("tflops", flops as f64 / ms / 1e9),
        };
        println!(
            "{}",
            serde_json::json!({
                "op": case.op,
                "pass": pass,
                "shape": case.shape,
                "dtype": if self.dtype == DType::BF16 { "bf16" } else { "f32" },
                "device": self.device_name.to_string(),
                "preset": self.preset,
                "variant": "uner",
                "ms": ms,
                unit: rate,
                "peak_mib": peak_mib,
            })
        );
    }
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bytes(a), Self::Bytes(b)) => Self::Bytes(a + b),
            (Self::Flops(a), Self::Flops(b)) => Self::Flops(a + b),
            _ => panic!("bytes and operations do not add up"),
        }
    }
}

//! How fast a device is. Rates are measured once for each device, shape of the model and version of
//! the program, and kept in the user's cache.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use uner_kernels::device::{DeviceName, cache_folder};
use uner_kernels::linear;
use uner_model::{LlamaConfig, atomic};
use uner_trainer::step::precision;

/// The rates of a device, used to compare layouts and to estimate times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// A matrix product of few rows, and one of many rows, which runs at a higher rate.
    pub products: [Product; 2],
    /// Bytes a second that an addition reads and writes.
    pub memory: f64,
    /// Whether the device was measured; otherwise its rates are assumed.
    pub measured: bool,
}

/// The rate of a matrix product `[m, k] · [k, n]`, in the type that the device trains in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// `[m, k, n]`.
    pub shape: [usize; 3],
    /// Floating-point operations a second.
    pub flops: f64,
}

/// Rows of the two measured products, on a CPU and on a GPU: the tokens of one packed row, and of a
/// micro-batch of several.
const ROWS: [[usize; 2]; 2] = [[128, 512], [2048, 8192]];
/// Most inputs and outputs of these products: on a CPU, one product takes a tenth of a second.
const MOST: [[usize; 2]; 2] = [[2048, 2048], [4096, 8192]];
/// Elements of the addition that is measured.
const ADDED: [usize; 2] = [1024, 4096];
/// Shortest measurement, in seconds.
const LONG_ENOUGH: f64 = 0.02;
/// Measurements of which the fastest counts: other programs slow some of them down.
const MEASUREMENTS: usize = 5;
/// The file in the user's cache.
const FILE: &str = "rates.json";

impl Rates {
    /// A device that is not on this machine: 200 TFLOP/s, about what a GPU of 2020 (A100) reaches
    /// in bf16, and 1.5 TB/s.
    pub const ASSUMED: Self = Self {
        products: [
            Product { shape: [2048, 4096, 8192], flops: 2e14 },
            Product { shape: [8192, 4096, 8192], flops: 2e14 },
        ],
        memory: 1.5e12,
        measured: false,
    };

    /// Floating-point operations a second of a product of `rows` rows.
    ///
    /// A product takes a fixed time plus a time for each row, so the inverse of its rate is linear
    /// in the inverse of its rows. Beyond the larger measured product, the rate is constant.
    pub fn matmul(&self, rows: usize) -> f64 {
        let [few, many] = self.products;
        let inverse = |rows: usize| 1.0 / rows.max(1) as f64;
        let [at_few, at_many] = [few, many].map(|product| inverse(product.shape[0]));
        // If the product of more rows measures slower, that is noise.
        let slower = (1.0 / few.flops - 1.0 / many.flops).max(0.0);
        let weight = ((inverse(rows) - at_many) / (at_few - at_many)).max(0.0);
        1.0 / (1.0 / self.fastest() + weight * slower)
    }

    /// Floating-point operations a second of the fastest product.
    pub fn fastest(&self) -> f64 {
        let [few, many] = self.products;
        few.flops.max(many.flops)
    }

    /// Reads the rates of a device for the model's shapes from the user's cache, or measures them
    /// (in less than two seconds) and writes them there.
    pub fn of(name: DeviceName, description: &str, device: &Device, model: &LlamaConfig) -> Self {
        let file = cache_folder().map(|folder| folder.join(FILE));
        let shapes = shapes(name, model);
        let version = env!("CARGO_PKG_VERSION");
        let dtype = precision::parameters(device);
        let key = format!("{version}, {name}, {description}, {dtype:?}, {shapes:?}");
        let mut cache = file.as_deref().map(read).unwrap_or_default();
        if let Some(rates) = cache.get(&key) {
            return *rates;
        }
        let rates = measure(shapes, dtype, device);
        cache.insert(key, rates);
        if let Some(problem) = file.and_then(|file| write(&file, &cache).err()) {
            tracing::debug!("the device's rates cannot be cached: {problem}");
        }
        rates
    }
}

/// The products to measure.
fn shapes(name: DeviceName, model: &LlamaConfig) -> [[usize; 3]; 2] {
    let kind = usize::from(!name.is_host());
    let [k, n] = [model.hidden_size.min(MOST[kind][0]), model.intermediate_size.min(MOST[kind][1])];
    ROWS[kind].map(|rows| [rows, k, n])
}

fn measure(shapes: [[usize; 3]; 2], dtype: DType, device: &Device) -> Rates {
    let products = shapes.map(|[m, k, n]| {
        let (x, weight) =
            (numbers([m, k], device).cast(dtype), numbers([n, k], device).cast(dtype));
        let seconds = seconds(|| linear(x.clone(), weight.clone()));
        Product { shape: [m, k, n], flops: 2.0 * (m * k * n) as f64 / seconds }
    });
    let (a, b) = (numbers(ADDED, device), numbers(ADDED, device));
    let addition = seconds(|| a.clone().add(b.clone()));
    // Two read, one written.
    let bytes = 3.0 * (ADDED[0] * ADDED[1] * size_of::<f32>()) as f64;
    Rates { products, memory: bytes / addition, measured: true }
}

/// Varied numbers: a GPU multiplies zeros with less power, and therefore faster.
fn numbers([rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
    let values = (0..rows * columns)
        .map(|index| (index * 7919 % 1009) as f32 / 1009.0 - 0.5)
        .collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Seconds that one call of `work` takes. A device computes in order, so reading a number of the
/// last result waits for all of them.
fn seconds(work: impl Fn() -> Tensor<2>) -> f64 {
    let wait = |result: Tensor<2>| result.slice([0..1, 0..1]).cast(DType::F32).into_scalar::<f32>();
    let measure = |repetitions: u32| {
        let start = Instant::now();
        for _ in 1..repetitions {
            work();
        }
        wait(work());
        start.elapsed().as_secs_f64()
    };
    measure(1);
    let mut repetitions = 1;
    while measure(repetitions) < LONG_ENOUGH {
        repetitions *= 2;
    }
    let fastest = (0..MEASUREMENTS).map(|_| measure(repetitions)).fold(f64::INFINITY, f64::min);
    fastest / f64::from(repetitions)
}

/// Reads the cache; empty if it cannot be read.
fn read(file: &Path) -> BTreeMap<String, Rates> {
    let text = fs_err::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write(file: &Path, cache: &BTreeMap<String, Rates>) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new(""));
    fs_err::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(cache)?;
    atomic::write(file, |out| out.write_all(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_more_rows_is_faster_up_to_the_largest_that_was_measured() {
        let product = |rows, flops| Product { shape: [rows, 4096, 8192], flops };
        // The rates of an H200.
        let products = [product(2048, 500e12), product(8192, 630e12)];
        let rates = Rates { products, ..Rates::ASSUMED };
        let close = |rows, flops: f64| (rates.matmul(rows) / flops - 1.0).abs() < 1e-9;
        assert!(close(2048, 500e12) && close(8192, 630e12) && close(1 << 20, 630e12));
        // Five times the difference of the inverse rates: 1 / (1 / 630 + 5 · (1 / 500 - 1 / 630)).
        assert!((273e12..275e12).contains(&rates.matmul(512)));
        assert!((500e12..630e12).contains(&rates.matmul(4096)));
        let noisy = Rates { products: [products[1], products[0]], ..rates };
        assert_eq!(noisy.fastest(), 630e12);
        let slow = Rates { products: [product(2048, 2.0), product(8192, 1.0)], ..rates };
        assert_eq!(slow.matmul(2048), 2.0);
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/rates.json");
        assert!(read(&file).is_empty());
        let cache = BTreeMap::from([("a device".to_owned(), Rates::ASSUMED)]);
        write(&file, &cache).unwrap();
        assert_eq!(read(&file), cache);
        fs_err::write(&file, "{").unwrap();
        assert!(read(&file).is_empty());
    }

    #[test]
    fn a_cpu_multiplies_and_adds() {
        let rates = measure([[16, 64, 96], [64, 64, 96]], DType::F32, &Device::flex());
        assert_eq!(rates.products.map(|product| product.shape[0]), [16, 64]);
        assert!(rates.measured && rates.memory > 0.0 && rates.fastest() > 0.0, "{rates:?}");
        assert!(rates.memory.is_finite() && rates.fastest().is_finite(), "{rates:?}");
    }
}

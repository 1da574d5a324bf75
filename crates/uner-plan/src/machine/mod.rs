//! The machine of a run: its devices, their memory, and how fast they are.

mod check;
mod cpu;
mod devices;
mod memory;
mod peak;
mod rates;

pub use check::{DeviceReport, Facts, check};
pub use cpu::Cpu;
pub use devices::{Devices, parse};
pub use memory::{Budget, MemorySource, cpu, host_memory, resident_memory};
pub use peak::peak_flops;
pub use rates::{Product, Rates};

use serde::{Deserialize, Serialize};
use uner_model::LlamaConfig;

/// The machine of a run. The plan assumes that every rank's device is like the first one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The first device and its model, such as `cuda:0 (NVIDIA H200)`, or why it cannot be opened.
    pub device: String,
    /// Data-sheet peak of that device in floating-point operations a second; `None` if it is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_flops: Option<f64>,
    /// Ranks of the run, on all machines.
    pub ranks: usize,
    /// The memory that each rank may use.
    pub memory: Budget,
    /// How fast the device is.
    pub rates: Rates,
}

/// Number of ranks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    /// On all machines.
    pub all: usize,
    /// On this machine.
    pub here: usize,
}

impl Ranks {
    /// One rank for each device, in one process.
    pub fn of_one_process(devices: &Devices) -> Self {
        Self { all: devices.count(), here: devices.count() }
    }
}

impl Machine {
    /// Opens the first device of a run, and measures it unless its rates are cached. `limit_gib`
    /// applies if the device has more memory, or is not here. A plan may be made on another machine
    /// than the run: a device that cannot be opened is assumed to be like
    /// [`Machine::elsewhere`].
    pub fn detect(
        devices: &Devices,
        limit_gib: Option<f64>,
        model: &LlamaConfig,
        ranks: Ranks,
    ) -> Self {
        let name = devices.first();
        let device = match name.open() {
            Ok(device) => device,
            // The message begins with the device's name.
            Err(error) => {
                let elsewhere = Self::elsewhere(devices, limit_gib, ranks);
                return Self { device: error.to_string(), ..elsewhere };
            }
        };
        let properties = name.properties();
        let memory = properties.as_ref().and_then(|properties| properties.memory);
        let part = properties.map_or_else(|| "the CPU".to_owned(), |properties| properties.name);
        // The ranks of a machine share its memory.
        let host = || host_memory().map(|memory| memory.available / ranks.here as u64);
        let available = if name.is_host() { host() } else { memory };
        let description = if name.is_host() { cpu() } else { part.clone() };
        Self {
            device: format!("{name} ({part})"),
            peak_flops: peak_flops(&part),
            ranks: ranks.all,
            memory: Budget::new(name, available, limit_gib),
            rates: Rates::of(name, &description, &device, model),
        }
    }

    /// A machine other than this one: its device's memory and rates are assumed.
    pub fn elsewhere(devices: &Devices, limit_gib: Option<f64>, ranks: Ranks) -> Self {
        let name = devices.first();
        Self {
            device: format!("{name}, which is not here"),
            peak_flops: None,
            ranks: ranks.all,
            memory: Budget::new(name, None, limit_gib),
            rates: Rates::ASSUMED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> LlamaConfig {
        let text = "hidden_size = 8\nintermediate_size = 8\nnum_hidden_layers = 1\n\
                    num_attention_heads = 2\nvocab_size = 9\n";
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_cpu_and_a_device_that_is_not_there() {
        let [two, one, absent] =
            ["flex,flex", "flex", "cuda:1000"].map(|names| names.parse::<Devices>().unwrap());
        let ranks = Ranks::of_one_process(&two);
        assert_eq!(ranks, Ranks { all: 2, here: 2 });
        let cpu = Machine::detect(&two, None, &tiny(), ranks);
        assert_eq!((cpu.device.as_str(), cpu.ranks), ("flex (the CPU)", 2));
        assert!(cpu.memory.source == MemorySource::Device && cpu.rates.measured);
        let alone = Machine::detect(&one, None, &tiny(), Ranks::of_one_process(&one));
        assert!(alone.memory.available > cpu.memory.available, "two ranks share the memory");
        let absent = Machine::detect(&absent, None, &tiny(), Ranks::of_one_process(&absent));
        assert!(absent.device.starts_with("`cuda:1000` "), "{absent:?}");
        assert_eq!(absent.memory.source, MemorySource::Assumed);
        assert!(!absent.rates.measured);
    }
}

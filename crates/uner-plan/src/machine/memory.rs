//! How much memory a run may take.

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};
use uner_kernels::device::DeviceName;

/// Share of a GPU's memory that a plan uses: the estimate is within 10 % of the memory in use.
const GPU_FRACTION: f64 = 0.9;
/// Share of the host's memory that a plan uses. The allocator keeps freed memory for the next step
/// (`uner_cli::allocator`): in runs of 5 to 20 million parameters, a third more memory was resident
/// than in use, and at most two fifths more.
const HOST_FRACTION: f64 = 0.65;
/// Memory assumed of a host that does not report it.
const ASSUMED_HOST: u64 = 4 << 30;
/// Memory assumed of a GPU that is not on this machine: the common size of 80 GB.
const ASSUMED_GPU: u64 = 80_000_000_000;

/// Memory of one device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Memory that can be used.
    pub available: u64,
    /// The part that a plan uses; the rest is for everything that the estimate leaves out.
    pub usable: u64,
    /// The source of `available`.
    pub source: MemorySource,
}

/// The source of a memory size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemorySource {
    /// The device reported it; a lower limit of the recipe counts.
    Device,
    /// `run.memory.limit_gib` of the recipe.
    Recipe,
    /// It is assumed.
    Assumed,
}

impl Budget {
    /// Combines the memory that the device reports (`found`) with the recipe's limit in GiB.
    ///
    /// The limit applies if it is below the device's memory. If the device reports nothing, the
    /// limit is taken as its memory, or else a usual size is assumed.
    pub fn new(device: DeviceName, found: Option<u64>, limit_gib: Option<f64>) -> Self {
        let limit = limit_gib.map(|gib| (gib * f64::from(1 << 30)) as u64);
        let available = match (found, limit) {
            (Some(found), Some(limit)) => found.min(limit),
            (found, limit) => {
                let assumed = if device.is_host() { ASSUMED_HOST } else { ASSUMED_GPU };
                found.or(limit).unwrap_or(assumed)
            }
        };
        let fraction = if device.is_host() { HOST_FRACTION } else { GPU_FRACTION };
        let usable = (available as f64 * fraction) as u64;
        let source = match (found, limit_gib) {
            (Some(_), _) => MemorySource::Device,
            (None, Some(_)) => MemorySource::Recipe,
            (None, None) => MemorySource::Assumed,
        };
        Self { available, usable, source }
    }
}

/// Memory of this machine, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostMemory {
    /// Installed memory, or the limit of the container (control group) if that is lower.
    pub total: u64,
    /// Usable without swapping.
    pub available: u64,
}

/// Memory of this machine; `None` if the system does not report it.
pub fn host_memory() -> Option<HostMemory> {
    let mut system = System::new();
    system.refresh_memory();
    let all = HostMemory { total: system.total_memory(), available: system.available_memory() };
    let memory = match system.cgroup_limits() {
        Some(limits) => HostMemory {
            total: all.total.min(limits.total_memory),
            // The control group counts the file cache as used, but the system evicts it on demand.
            available: all.available.min(limits.total_memory.saturating_sub(limits.rss)),
        },
        None => all,
    };
    (memory.total > 0).then_some(memory)
}

/// Resident memory of this process in bytes; `None` if the system does not report it.
pub fn resident_memory() -> Option<u64> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = System::new();
    let only = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, only);
    Some(system.process(pid)?.memory())
}

/// The processor and its threads, such as `AMD EPYC 7763 (8 threads)`.
pub fn cpu() -> String {
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let name = system.cpus().first().map_or("", |cpu| cpu.brand());
    format!("{name} ({} threads)", system.cpus().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_only_lowers_what_a_device_has() {
        let of = |found, limit| Budget::new(DeviceName::Cuda(0), found, limit).available;
        assert_eq!(of(Some(3 << 30), Some(2.0)), 2 << 30);
        assert_eq!(of(Some(1 << 30), Some(2.0)), 1 << 30);
        assert_eq!(of(None, Some(2.0)), 2 << 30);
        assert_eq!(of(None, None), ASSUMED_GPU);
        assert_eq!(Budget::new(DeviceName::Flex, None, None).available, ASSUMED_HOST);
        assert_eq!(Budget::new(DeviceName::Flex, Some(1000), None).usable, 650);
    }

    #[test]
    fn the_machine_and_this_process_have_memory() {
        let HostMemory { total, available } = host_memory().unwrap();
        assert!((1..=total).contains(&available), "{available} of {total}");
        let resident = resident_memory().unwrap();
        assert!((1 << 20..total).contains(&resident), "{resident}");
        assert!(cpu().contains("threads)"), "{}", cpu());
    }
}

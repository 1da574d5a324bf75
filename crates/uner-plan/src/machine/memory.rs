//! How much memory a run may take.

use uner_kernels::device::DeviceName;

/// Share of a GPU's memory that is planned with: the estimate of what is in use is within 10 % of
/// it.
const GPU_SHARE: f64 = 0.9;
/// Share of the host's memory that is planned with. The allocator keeps what was freed for the next
/// step (`uner_cli::allocator`): in runs of 5 to 20 million parameters a third more was resident
/// than in use, and up to two fifths.
const HOST_SHARE: f64 = 0.65;
/// Assumed of a host that does not say what it has.
const ASSUMED_HOST: u64 = 4 << 30;
/// Assumed of a GPU that is not here: the common size of 80 GB.
const ASSUMED_GPU: u64 = 80_000_000_000;

/// What one device has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Bytes.
    pub available: u64,
    /// Whether that was read from the device, and not written in the recipe or assumed.
    pub known: bool,
    /// Share of them that is planned with.
    share: f64,
}

impl Budget {
    /// From what a device says of itself and the recipe's limit in GiB.
    ///
    /// A limit counts where it is less than the device has, and where the device is not here to be
    /// asked.
    pub fn new(device: DeviceName, found: Option<u64>, limit_gib: Option<f64>) -> Self {
        let limit = limit_gib.map(|gib| (gib * f64::from(1 << 30)) as u64);
        let available = match (found, limit) {
            (Some(found), Some(limit)) => found.min(limit),
            (found, limit) => {
                let assumed = if device.is_host() { ASSUMED_HOST } else { ASSUMED_GPU };
                found.or(limit).unwrap_or(assumed)
            }
        };
        let share = if device.is_host() { HOST_SHARE } else { GPU_SHARE };
        Self { available, known: found.is_some(), share }
    }

    /// Bytes that are planned with.
    pub fn usable(&self) -> u64 {
        (self.available as f64 * self.share) as u64
    }
}

/// An entry of `/proc/meminfo` in bytes, such as `MemAvailable`, what can be used without swapping;
/// `None` where there is no such file.
pub fn host_memory(entry: &str) -> Option<u64> {
    parse_memory(&fs_err::read_to_string("/proc/meminfo").ok()?, entry)
}

fn parse_memory(meminfo: &str, entry: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(entry)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
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
        assert_eq!(Budget::new(DeviceName::Flex, Some(1000), None).usable(), 650);
    }

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:  9 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(parse_memory(text, "MemAvailable"), Some(2 << 20));
        assert_eq!(parse_memory(text, "MemTotal"), Some(9 << 10));
        assert_eq!(parse_memory(text, "Mem"), None);
    }
}

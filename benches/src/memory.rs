//! Peak memory of the process and of one run.

use burn::tensor::Device;

/// Returns the largest resident set of this process so far, in MiB: `VmHWM` on Linux, else `None`.
pub fn peak_rss_mib() -> Option<f64> {
    status_mib("VmHWM")
}

/// Reads a value of `/proc/self/status`, in MiB.
fn status_mib(key: &str) -> Option<f64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// Memory at the start of a run, for comparison with its peak.
pub(crate) struct Peak<'a> {
    device: &'a Device,
    before_mib: Option<f64>,
}

impl<'a> Peak<'a> {
    /// Records the start of a run. On a GPU the pools are emptied first. Their size at the end is
    /// an upper bound of the run's peak: it includes the unused rest of their pages.
    pub(crate) fn start(device: &'a Device) -> Self {
        device.memory_cleanup();
        let in_use = device.memory_pool_usage().map(|usage| mib(usage.bytes_in_use));
        let before_mib = in_use.or_else(|| {
            // Makes Linux count the peak from here.
            fs_err::write("/proc/self/clear_refs", "5").ok()?;
            status_mib("VmRSS")
        });
        Self { device, before_mib }
    }

    /// Returns the run's peak above the memory at its start (its inputs); `None` if it is unknown.
    pub(crate) fn mib(&self) -> Option<f64> {
        let reserved = self.device.memory_pool_usage().map(|usage| mib(usage.bytes_reserved));
        let peak = reserved.or_else(peak_rss_mib)?;
        Some((peak - self.before_mib?).max(0.0))
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

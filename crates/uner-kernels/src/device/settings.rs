//! CubeCL's settings, applied before the first device is opened.

use cubecl::config::autotune::AutotuneLevel;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

use super::DeviceName;

/// Runs per candidate when burn searches for the fastest of its own kernels: a few are enough, and
/// there are many candidates.
const SAMPLES: usize = 3;

/// Applies the settings to every device, unless they are already set. On CUDA, the search for the
/// fastest of burn's own kernels is shortened, because a full search takes over a minute per new
/// shape.
pub(super) fn set(first: DeviceName) {
    let mut settings = CubeClRuntimeConfig::from_current_dir().override_from_env();
    if matches!(first, DeviceName::Cuda(_)) {
        settings.autotune.level = AutotuneLevel::Minimal;
        settings.autotune.bench.min_samples = SAMPLES;
        settings.autotune.bench.max_samples = SAMPLES;
    }
    // If they are already set, an earlier call or the program itself has set them.
    let _ = CubeClRuntimeConfig::try_set(settings);
}

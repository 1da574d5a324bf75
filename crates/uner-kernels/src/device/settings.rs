//! What CubeCL's runtimes are told before the first device is opened, and where they may keep what
//! they find out.

use std::path::PathBuf;

use cubecl::config::autotune::AutotuneLevel;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

use super::DeviceName;

/// Runs of a candidate when burn looks for the fastest of its own kernels: a few tell, and there
/// are many candidates.
const SAMPLES: usize = 3;

/// The program's folder among the user's caches; `None` where the environment names none.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let folder =
        |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("uner"))
}

/// Sets them, unless they are set: from then on they hold for every device. On CUDA the search for
/// the fastest of burn's own kernels is cut short: a whole one takes over a minute for each new
/// shape.
pub(super) fn set(first: DeviceName) {
    let mut settings = CubeClRuntimeConfig::from_current_dir().override_from_env();
    if matches!(first, DeviceName::Cuda(_)) {
        settings.autotune.level = AutotuneLevel::Minimal;
        settings.autotune.bench.min_samples = SAMPLES;
        settings.autotune.bench.max_samples = SAMPLES;
    }
    // Where they are set already, an earlier call or the program itself has done it.
    let _ = CubeClRuntimeConfig::try_set(settings);
}

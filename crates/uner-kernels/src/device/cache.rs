//! The folder for results that later runs reuse.

use std::path::PathBuf;

/// The program's folder in the user's cache; `None` if the environment does not name a cache.
pub fn cache_folder() -> Option<PathBuf> {
    let folder =
        |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("uner"))
}

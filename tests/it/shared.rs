//! Where test material lives.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package has a parent folder")
}

/// A file or folder of the published material (real datasets, golden vectors of other implementations) that is
/// not part of this repository. It is looked for in `UNER_SHARED`, else in `shared` beside the repository. Where it is missing
/// the test says so on stderr and returns.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("UNER_SHARED")
        .map_or_else(|| repository().parent().expect("a parent folder").join("shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!(
        "SKIPPED: `{}` does not exist; set UNER_SHARED to the folder that holds `{path}`",
        found.display()
    );
    None
}

//! Locates the files that tests read.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The folder of this package. cargo and nextest set the variable; set it by hand for a test binary
/// that runs on a machine without cargo.
static PACKAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
});

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    PACKAGE.parent().expect("the tests package has a parent folder")
}

/// Returns a file or folder of published material (real datasets, golden vectors of other
/// implementations) that is not part of this repository: from `UNER_SHARED`, else from `shared`
/// next to the repository. If it is missing, the test says so on stderr and returns, or fails with
/// `UNER_REQUIRE_SHARED=1`.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("UNER_SHARED").map_or_else(
        || repository().parent().expect("a parent folder").join("shared"),
        PathBuf::from,
    );
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    let missing = format!(
        "`{}` does not exist; set UNER_SHARED to the folder that holds `{path}`",
        found.display()
    );
    let required = std::env::var("UNER_REQUIRE_SHARED").is_ok_and(|value| value == "1");
    assert!(!required, "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

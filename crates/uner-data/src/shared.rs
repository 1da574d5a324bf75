//! Locates published files that tests compare with. They are not part of the repository.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A file or folder of published material: from `UNER_SHARED`, else from `shared` next to the
/// repository. If it is missing, the test says so on stderr and returns, or fails with
/// `UNER_REQUIRE_SHARED=1`.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let root =
        std::env::var_os("UNER_SHARED").map_or_else(|| repository.join("shared"), PathBuf::from);
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

/// The SHA-256 of bytes, in lower-case hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut digits = String::with_capacity(2 * digest.len());
    for byte in digest {
        digits.extend(format!("{byte:02x}").chars());
    }
    digits
}

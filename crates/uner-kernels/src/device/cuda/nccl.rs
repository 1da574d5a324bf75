//! NCCL: where it may lie, and whether it can be opened.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::places::Places;

/// Its name. That of CubeCL's own binding is without the number, which only development packages
/// install.
const NAME: &str = "libnccl.so.2";
/// Where it lies in a toolkit or beside one of Python packages, and in the folder of these.
const PLACES: Places =
    Places { in_toolkit: &["lib64", "lib", "../nccl/lib"], in_packages: &["nvidia/nccl/lib"] };

/// Whether the library is there.
pub(in crate::device) fn has_nccl() -> bool {
    library().is_some()
}

/// The library: the loader's own, else a toolkit's, else that of PyTorch. Looked for once.
pub(crate) fn library() -> Option<&'static libloading::Library> {
    static FOUND: OnceLock<Option<libloading::Library>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let files = PLACES
            .folders()
            .into_iter()
            .map(|folder| folder.join(NAME))
            .filter(|file| file.is_file());
        std::iter::once(PathBuf::from(NAME)).chain(files).find_map(open)
    });
    found.as_ref()
}

fn open(file: PathBuf) -> Option<libloading::Library> {
    // SAFETY: a library of NVIDIA, which is about to be used.
    #[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
    let library = unsafe { libloading::Library::new(file) };
    library.ok()
}

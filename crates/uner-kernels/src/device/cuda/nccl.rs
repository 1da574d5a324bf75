//! NCCL: finds the library and opens it.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::library_folders::LibraryFolders;

/// File name of the library. CubeCL's own binding omits the number, but only development packages
/// install that name.
const NAME: &str = "libnccl.so.2";
/// Folders of the library in a toolkit, beside a toolkit of Python packages, and in the folder of
/// Python packages.
const FOLDERS: LibraryFolders = LibraryFolders {
    in_toolkit: &["lib64", "lib", "../nccl/lib"],
    in_packages: &["nvidia/nccl/lib"],
};

/// Whether the library can be opened.
pub(in crate::device) fn has_nccl() -> bool {
    library().is_some()
}

/// Opens the library, once: the loader's, else a toolkit's, else PyTorch's.
pub(crate) fn library() -> Option<&'static libloading::Library> {
    static FOUND: OnceLock<Option<libloading::Library>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let files = FOLDERS
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

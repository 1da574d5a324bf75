//! cuBLASLt: finds the library and opens it.

use std::path::PathBuf;
use std::sync::{Once, OnceLock};

use cudarc::cublaslt::sys;

use super::library_folders::LibraryFolders;
use super::{Library, Version, loaded};

/// Names of the library, the newest first.
const NAMES: [&str; 2] = ["libcublasLt.so.13", "libcublasLt.so.12"];
/// Folders of the library in a toolkit, and in the folder of Python packages.
const FOLDERS: LibraryFolders = LibraryFolders {
    in_toolkit: &["lib64", "lib"],
    in_packages: &["nvidia/cu13/lib", "nvidia/cublas/lib"],
};

/// Whether the library can be opened; checked once.
pub(crate) fn has_cublaslt() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| find_cublaslt().is_ok())
}

/// Warns once if the library is missing.
pub(in crate::device) fn warn_without_cublaslt() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        if let Err(problem) = find_cublaslt() {
            tracing::warn!("{problem}");
        }
    });
}

/// Opens the library: the loader's, else a toolkit's, else PyTorch's.
pub(super) fn find_cublaslt() -> Result<Library, String> {
    if !is_present() {
        let files =
            FOLDERS.folders().into_iter().flat_map(|folder| NAMES.map(|name| folder.join(name)));
        open(files.filter(|file| file.is_file()));
    }
    if !is_present() {
        return Err("`libcublasLt.so` is neither in a folder of the loader, nor in `lib64` or `lib` of `CUDA_PATH`, nor beside \
                    PyTorch; matrix products run at half the speed without it. Install the CUDA toolkit, or \
                    `pip install nvidia-cublas` and set `CUDA_PATH` to the folder `nvidia/cu13` it makes"
            .to_owned());
    }
    // SAFETY: the library is open; the function takes nothing and returns a number.
    #[expect(unsafe_code, reason = "a call of the library's C interface")]
    let version = unsafe { sys::cublasLtGetVersion() };
    let version = Version { major: (version / 10_000) as i32, minor: (version / 100 % 100) as i32 };
    Ok(Library { version, path: loaded("libcublasLt.so") })
}

fn is_present() -> bool {
    // SAFETY: only opens the library of each candidate name.
    #[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
    unsafe {
        sys::is_culib_present()
    }
}

/// Opens the first of these files that is a library, for good: the loader then finds it by its
/// name.
fn open(files: impl Iterator<Item = PathBuf>) {
    for file in files {
        // SAFETY: a library of NVIDIA, which is about to be used.
        #[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
        if let Ok(library) = unsafe { libloading::Library::new(file) } {
            std::mem::forget(library);
            return;
        }
    }
}

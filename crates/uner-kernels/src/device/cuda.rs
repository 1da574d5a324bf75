//! CUDA's dependencies on a machine: NVIDIA's driver, the compiler NVRTC and its headers, cuBLASLt
//! for fast products, and NCCL for several GPUs. All are opened at run time. The runtime panics at
//! the first kernel if something is missing, so this module checks first.

mod cublaslt;
mod library_folders;
pub(crate) mod nccl;

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cubecl::cuda::install::cuda_path;
use cudarc::{driver, nvrtc};

use self::cublaslt::find_cublaslt;
pub(crate) use self::cublaslt::has_cublaslt;
pub(super) use self::cublaslt::warn_without_cublaslt;

/// Paths of the compiler in a toolkit.
const NVRTC: [&str; 4] =
    ["lib/libnvrtc.so.13", "lib64/libnvrtc.so.13", "lib/libnvrtc.so.12", "lib64/libnvrtc.so.12"];
/// Headers that kernels include, in `include` or `include/cccl`, each with the Python wheel that
/// contains it.
const HEADERS: [(&str, &str); 5] = [
    ("cuda_fp16.h", "nvidia-cuda-runtime"),
    ("cuda_bf16.h", "nvidia-cuda-runtime"),
    ("mma.h", "nvidia-cuda-runtime"),
    ("crt/mma.h", "nvidia-cuda-crt"),
    ("cuda/barrier", "nvidia-cuda-cccl"),
];

/// A version in NVIDIA's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 13 of 13.2.
    pub major: i32,
    /// 2 of 13.2.
    pub minor: i32,
}

/// CUDA's parts on this machine; an error says what is missing and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolkit {
    /// The newest CUDA that the driver supports.
    pub driver: Result<Version, String>,
    /// The compiler.
    pub nvrtc: Result<Library, String>,
    /// The folder of the headers.
    pub headers: Result<PathBuf, String>,
    /// The library of matrix products. Without it, burn's own kernels compute them at half the
    /// speed.
    pub cublaslt: Result<Library, String>,
    /// Whether `libnccl.so.2` can be opened; needed for several GPUs only.
    pub nccl: bool,
}

/// A library that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its version.
    pub version: Version,
    /// The file, if the operating system reports it.
    pub path: Option<PathBuf>,
}

impl std::fmt::Display for Version {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// Looks for everything that CUDA needs.
pub fn toolkit() -> Toolkit {
    Toolkit {
        driver: find_driver(),
        nvrtc: find_nvrtc(),
        headers: find_headers(cuda_path()),
        cublaslt: find_cublaslt(),
        nccl: nccl::has_nccl(),
    }
}

/// Checks that kernels can be compiled and run; returns the first problem.
pub(super) fn check() -> Result<(), String> {
    let driver = find_driver()?;
    let nvrtc = find_nvrtc()?;
    find_headers(cuda_path())?;
    check_versions(driver, nvrtc.version)
}

/// Checks that the driver can assemble NVRTC's output, which it cannot if NVRTC's CUDA is newer.
///
/// # Errors
/// When NVRTC's CUDA is newer than the driver supports.
pub fn check_versions(driver: Version, nvrtc: Version) -> Result<(), String> {
    if nvrtc <= driver {
        return Ok(());
    }
    Err(format!(
        "NVRTC is from CUDA {nvrtc}, but the driver supports CUDA up to {driver}; install a newer driver, or NVRTC and headers \
         of CUDA {driver} (`pip install 'nvidia-cuda-nvrtc=={driver}.*'`)"
    ))
}

fn find_driver() -> Result<Version, String> {
    // SAFETY: only opens the library of each candidate name.
    #[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
    let found = unsafe { driver::sys::is_culib_present() };
    if !found {
        return Err("NVIDIA's driver is not installed: `libcuda.so.1` cannot be opened".to_owned());
    }
    driver::result::init().map_err(|error| format!("NVIDIA's driver does not start: {error}"))?;
    let mut version = 0;
    // SAFETY: writes one integer, which outlives the call.
    #[expect(unsafe_code, reason = "a call of the driver's C interface")]
    let status = unsafe { driver::sys::cuDriverGetVersion(&raw mut version) };
    status
        .result()
        .map_err(|error| format!("NVIDIA's driver does not report its version: {error}"))?;
    Ok(Version { major: version / 1_000, minor: version % 1_000 / 10 })
}

fn find_nvrtc() -> Result<Library, String> {
    open_own_nvrtc(cuda_path().as_deref());
    // SAFETY: only opens the library of each candidate name.
    #[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
    let found = unsafe { nvrtc::sys::is_culib_present() };
    if !found {
        return Err("CUDA's compiler is not installed: `libnvrtc.so` is neither in a folder of the loader nor in `lib` of \
                    `CUDA_PATH`; install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc` and set `CUDA_PATH` to the \
                    folder `nvidia/cu13` it makes"
            .to_owned());
    }
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: writes two integers, which outlive the call.
    #[expect(unsafe_code, reason = "a call of NVRTC's C interface")]
    let status = unsafe { nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    status.result().map_err(|error| format!("NVRTC does not report its version: {error:?}"))?;
    Ok(Library { version: Version { major, minor }, path: loaded("libnvrtc.so") })
}

/// Opens the toolkit's own NVRTC. The runtime asks the loader for `libnvrtc.so.13`, which the
/// loader does not find in a toolkit from wheels, but a library that is already open is found by
/// its name.
fn open_own_nvrtc(root: Option<&Path>) {
    static OPENED: OnceLock<Option<libloading::Library>> = OnceLock::new();
    OPENED.get_or_init(|| {
        let root = root?;
        let file = NVRTC.iter().map(|file| root.join(file)).find(|file| file.is_file())?;
        // SAFETY: NVRTC, which the runtime is about to open anyway.
        #[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
        let library = unsafe { libloading::Library::new(file) };
        library.ok()
    });
}

fn find_headers(root: Option<PathBuf>) -> Result<PathBuf, String> {
    let Some(root) = root else {
        return Err(format!(
            "CUDA's headers are not installed: `/usr/local/cuda` is missing, and `CUDA_PATH` is not set; install the CUDA \
             toolkit, or `pip install {}` and set `CUDA_PATH` to the folder `nvidia/cu13` they make",
            packages(HEADERS.iter().map(|(_, package)| *package))
        ));
    };
    let include = root.join("include");
    let there = |header: &str| {
        [&include, &include.join("cccl")].iter().any(|folder| folder.join(header).is_file())
    };
    let missing: Vec<_> = HEADERS.iter().filter(|(header, _)| !there(header)).collect();
    if missing.is_empty() {
        return Ok(include);
    }
    let names: Vec<&str> = missing.iter().map(|(header, _)| *header).collect();
    Err(format!(
        "`{}` lacks {}; install the whole CUDA toolkit, or `pip install {}` and set `CUDA_PATH` to the folder `nvidia/cu13` \
         they make",
        include.display(),
        names.join(", "),
        packages(missing.iter().map(|(_, package)| *package))
    ))
}

/// Joins the names, each once, in order.
fn packages<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.join(" ")
}

/// The file of a library that this process has loaded, from Linux's `/proc/self/maps`.
fn loaded(name: &str) -> Option<PathBuf> {
    let maps = fs_err::read_to_string("/proc/self/maps").ok()?;
    let path = maps
        .lines()
        .find_map(|line| line.find('/').map(|at| &line[at..]).filter(|path| path.contains(name)))?;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use cubecl::cuda::compiler::CudaBackend;

    use super::*;

    const fn version(major: i32, minor: i32) -> Version {
        Version { major, minor }
    }

    /// CubeCL's other backend is a stub that refuses every kernel.
    #[test]
    fn kernels_are_compiled_by_nvrtc() {
        assert_eq!(CudaBackend::default(), CudaBackend::Cpp);
    }

    #[test]
    fn a_compiler_newer_than_the_driver_is_refused() {
        assert_eq!(check_versions(version(13, 2), version(13, 2)), Ok(()));
        assert_eq!(check_versions(version(13, 2), version(12, 9)), Ok(()));
        let problem = check_versions(version(13, 0), version(13, 2)).unwrap_err();
        assert!(problem.contains("nvidia-cuda-nvrtc==13.0.*"), "{problem}");
    }

    #[test]
    fn missing_headers_are_named_with_their_package() {
        let problem = find_headers(None).unwrap_err();
        assert!(
            problem.contains("pip install nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl`"),
            "{problem}"
        );
        let problem = find_headers(Some(PathBuf::from("/nowhere"))).unwrap_err();
        assert!(problem.contains("`/nowhere/include` lacks cuda_fp16.h, "), "{problem}");
        let root = tempfile::tempdir().unwrap();
        let write = |header: &str| {
            let file = root.path().join("include").join(header);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, "").unwrap();
        };
        for header in ["cuda_fp16.h", "cuda_bf16.h", "mma.h", "cccl/cuda/barrier"] {
            write(header);
        }
        let problem = find_headers(Some(root.path().to_owned())).unwrap_err();
        assert!(
            problem.contains("lacks crt/mma.h; ")
                && problem.contains("pip install nvidia-cuda-crt`"),
            "{problem}"
        );
        write("crt/mma.h");
        assert_eq!(find_headers(Some(root.path().to_owned())), Ok(root.path().join("include")));
    }
}

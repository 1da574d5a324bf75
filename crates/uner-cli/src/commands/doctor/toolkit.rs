//! The parts that CUDA needs besides a GPU.

use uner_kernels::device::cuda::{self, Library, Toolkit, check_versions};

use super::Finding;

/// Driver, compiler, headers and libraries.
pub(super) fn findings() -> Vec<Finding> {
    let Toolkit { driver, nvrtc, headers, cublaslt, nccl } = cuda::toolkit();
    let finding = |what, found: Result<String, String>| {
        let ok = found.is_ok();
        Finding { what, ok, text: found.unwrap_or_else(|problem| problem) }
    };
    // NVRTC is useless if the driver cannot load its output.
    let fits = match (&driver, &nvrtc) {
        (Ok(driver), Ok(nvrtc)) => check_versions(*driver, nvrtc.version),
        _ => Ok(()),
    };
    let nvrtc = nvrtc.and_then(|nvrtc| fits.map(|()| library(&nvrtc)));
    let nccl = if nccl {
        Ok("found")
    } else {
        Err("`libnccl.so.2` is not installed; only several GPUs need it")
    };
    vec![
        finding("driver", driver.map(|version| format!("supports CUDA up to {version}"))),
        finding("NVRTC", nvrtc),
        finding("headers", headers.map(|folder| format!("`{}`", folder.display()))),
        finding("cuBLASLt", cublaslt.map(|found| library(&found))),
        finding("NCCL", nccl.map(str::to_owned).map_err(str::to_owned)),
    ]
}

fn library(library: &Library) -> String {
    let path =
        library.path.as_ref().map_or_else(String::new, |path| format!(", `{}`", path.display()));
    format!("{}{path}", library.version)
}

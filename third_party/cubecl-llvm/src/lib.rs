//! Stand-in for `cubecl-llvm`, put in its place by `[patch.crates-io]`.
//!
//! `cubecl-cuda` 0.11 always compiles two compilers: CUDA C++ through NVRTC (its feature `cpp`), and LLVM, whose build
//! script downloads an LLVM archive. uner uses the first. This crate holds the items of the second that `cubecl-cuda`
//! names, so that the CUDA build needs nothing but the crate registry. None of it runs, but for
//! [`PtxVersion::for_driver`](nvptx::ptx_version::PtxVersion::for_driver): a build without the feature `cpp` gets the
//! error of [`PlironCompiler`].

use std::ffi::c_char;
use std::fmt::{Display, Formatter, Result as FmtResult};

use cubecl_core::ir::nvidia::SmArch;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::{BufferIOAttr, KernelDefinition};

use crate::nvptx::ptx_version::PtxVersion;

pub mod nvptx {
    pub mod ptx_version {
        use std::fmt::{Display, Formatter, Result as FmtResult};

        /// The version of the PTX language. It has no value: C++ goes through NVRTC, which picks its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            #[must_use]
            pub fn for_driver(_driver_version: i32) -> Option<Self> {
                None
            }
        }

        impl Display for PtxVersion {
            fn fmt(&self, _: &mut Formatter<'_>) -> FmtResult {
                match *self {}
            }
        }
    }
}

pub mod shared {
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        pub enum GpuTarget {
            Nvptx,
        }

        /// Called for the LLVM backend only, to switch off what it cannot lower.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub enum LlvmTarget {
    #[default]
    Nvptx,
}

#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    pub target: LlvmTarget,
}

/// `cubecl-cuda` fills the first four fields and takes the rest from `Default`.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    pub arch: Option<String>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<PtxVersion>,
    pub grid_constants: bool,
    pub _rest: (),
}

#[derive(Clone, Debug)]
pub struct NvptxModule {
    pub ptx: Vec<c_char>,
    pub entrypoint: String,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}

pub enum PlironArtifact {
    NvptxCode(NvptxModule),
    /// Never made; `cubecl-cuda` matches with a wildcard arm, which must be reachable.
    Other,
}

impl Display for PlironArtifact {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        match self {
            Self::NvptxCode(module) => f.write_str(&module.ir),
            Self::Other => Ok(()),
        }
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this binary was built without LLVM: build it with the feature `cubecl/cuda-cpp`, as uner's \
                     feature `cuda` does"
                .into(),
            backtrace: Default::default(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

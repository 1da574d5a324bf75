//! NVIDIA's run-time compiler, loaded from a folder: no driver, no toolkit.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use libloading::Library;
use rayon::prelude::*;

use super::KernelSource;
use super::properties::ARCHITECTURE;

/// Headers that the generated code includes, and the `PyPI` packages that contain them.
const HEADERS: [(&str, &str); 3] = [
    ("cuda_fp16.h", "nvidia-cuda-runtime"),
    ("crt/mma.h", "nvidia-cuda-crt"),
    ("cccl/cuda/barrier", "nvidia-cuda-cccl"),
];

/// Why a kernel is not compiled.
#[derive(Debug, thiserror::Error)]
pub enum NvrtcError {
    /// The library is missing or has no such function.
    #[error("`{path}` does not load: install the PyPI package `nvidia-cuda-nvrtc`")]
    Library {
        /// The file.
        path: String,
        /// The loader's error.
        source: libloading::Error,
    },
    /// A header is missing.
    #[error("`{path}` is missing: install the PyPI package `{package}`")]
    Header {
        /// The file.
        path: String,
        /// The package that contains it.
        package: &'static str,
    },
    /// The compiler or its assembler refuses the source.
    #[error("`{label}` does not compile (NVRTC status {status}):\n{log}")]
    Refused {
        /// The label of the source.
        label: String,
        /// The `nvrtcResult`.
        status: i32,
        /// The compiler's log.
        log: String,
    },
    /// The assembler waits for each product of warp groups right after its start, since it cannot
    /// prove that nothing else touches the registers.
    #[error("`{label}`: the assembler serialises the `wgmma` products:\n{log}")]
    Serialized {
        /// The label of the source.
        label: String,
        /// The compiler's log.
        log: String,
    },
    /// The log lacks the assembler's numbers.
    #[error("`{label}`: the assembler's log lacks registers, stack or spills:\n{log}")]
    Log {
        /// The label of the source.
        label: String,
        /// The compiler's log.
        log: String,
    },
}

/// The assembler's numbers for one kernel, and the machine code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Registers per unit.
    pub registers: usize,
    /// Bytes of the stack per unit, spills included.
    pub stack: usize,
    /// Bytes written to spilled registers, all instructions together.
    pub spill_stores: usize,
    /// Bytes read from spilled registers, all instructions together.
    pub spill_loads: usize,
    /// Bytes that spill even if one cube has a multiprocessor to itself: the registers do not
    /// suffice. Other spills make room for another cube.
    pub short: usize,
    /// The machine code, an ELF file.
    pub cubin: Vec<u8>,
}

impl Report {
    /// Bytes written to and read from spilled registers.
    pub fn spilled(&self) -> usize {
        self.spill_stores + self.spill_loads
    }
}

/// The compiler.
pub struct Nvrtc {
    functions: Functions,
    options: Vec<CString>,
    /// Keeps the functions loaded.
    _library: Library,
}

impl Nvrtc {
    /// Opens `lib/libnvrtc.so.13` of a folder that also has the headers under `include`.
    ///
    /// # Errors
    /// When the library does not load or a header is missing.
    pub fn open(sdk: &Path) -> Result<Self, NvrtcError> {
        let include = sdk.join("include");
        for (header, package) in HEADERS {
            let path = include.join(header);
            if !path.exists() {
                return Err(NvrtcError::Header { path: path.display().to_string(), package });
            }
        }
        let path = sdk.join("lib/libnvrtc.so.13");
        let refuse = |source| NvrtcError::Library { path: path.display().to_string(), source };
        #[expect(unsafe_code, reason = "NVRTC's initialisers only set up the library itself")]
        let library = unsafe { Library::new(&path) }.map_err(refuse)?;
        let functions = Functions::of(&library).map_err(refuse)?;
        Ok(Self { functions, options: options(&include), _library: library })
    }

    /// [`Self::compile`] for each of the sources, in order, on all processors.
    pub fn compile_all(&self, sources: &[KernelSource]) -> Vec<Result<Report, NvrtcError>> {
        sources.par_iter().map(|source| self.compile(source)).collect()
    }

    /// Compiles and assembles with the options of the runtime. A kernel that spills is compiled a
    /// second time, for [`Report::short`].
    ///
    /// # Errors
    /// When the compiler or the assembler refuses the source, serialises its products or logs no
    /// numbers.
    pub fn compile(&self, source: &KernelSource) -> Result<Report, NvrtcError> {
        let report = self.compile_text(source, &source.text)?;
        if report.spilled() == 0 {
            return Ok(report);
        }
        let short = self.compile_text(source, &alone(source))?.spilled();
        Ok(Report { short, ..report })
    }

    fn compile_text(&self, source: &KernelSource, text: &str) -> Result<Report, NvrtcError> {
        let program = Program::new(&self.functions, text);
        let status = program.compile(&self.options);
        let log = program.log();
        let label = source.label.clone();
        if status != 0 {
            return Err(NvrtcError::Refused { label, status, log });
        }
        if log.contains("wgmma.mma_async instructions are serialized") {
            return Err(NvrtcError::Serialized { label, log });
        }
        let report = parse(&log).ok_or(NvrtcError::Log { label, log })?;
        Ok(Report { cubin: program.cubin(), ..report })
    }
}

/// The options of `CudaContext::compile_to_ptx` in cubecl-cuda 0.11.3, and the one that logs the
/// assembler's numbers.
fn options(include: &Path) -> Vec<CString> {
    let options = [
        format!("--gpu-architecture={ARCHITECTURE}"),
        format!("--include-path={}", include.display()),
        "-lineinfo".to_owned(),
        format!("--include-path={}", include.join("cccl").display()),
        "--ptxas-options=-v".to_owned(),
    ];
    options.map(|option| CString::new(option).expect("paths have no NUL")).into()
}

/// The text of a source with launch bounds that need only one cube per multiprocessor.
pub(super) fn alone(source: &KernelSource) -> String {
    let (x, y, z) = source.cube_dim;
    let (bounds, one_cube) = (
        format!("__launch_bounds__({})", x * y * z),
        format!("__launch_bounds__({}, 1)", x * y * z),
    );
    assert!(source.text.contains(&bounds), "`{}` has no `{bounds}`", source.label);
    source.text.replace(&bounds, &one_cube)
}

/// Reads a log of `ptxas -v`: the most registers of any function, and the bytes of all of them.
fn parse(log: &str) -> Option<Report> {
    let before = |line: &str, what: &str| {
        let words = line.split_once(what)?.0;
        words.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse::<usize>().ok()
    };
    let most = |what: &str| log.lines().filter_map(|line| before(line, what)).max();
    let total = |what: &str| log.lines().filter_map(|line| before(line, what)).reduce(|a, b| a + b);
    Some(Report {
        registers: most(" registers")?,
        stack: total(" bytes stack frame")?,
        spill_stores: total(" bytes spill stores")?,
        spill_loads: total(" bytes spill loads")?,
        ..Report::default()
    })
}

type Pointer = *mut c_void;
type SizeOf = unsafe extern "C" fn(Pointer, *mut usize) -> c_int;
type BytesOf = unsafe extern "C" fn(Pointer, *mut c_char) -> c_int;
type Strings = *const *const c_char;

/// The used functions of `nvrtc.h`.
struct Functions {
    create: unsafe extern "C" fn(
        *mut Pointer,
        *const c_char,
        *const c_char,
        c_int,
        Strings,
        Strings,
    ) -> c_int,
    compile: unsafe extern "C" fn(Pointer, c_int, Strings) -> c_int,
    destroy: unsafe extern "C" fn(*mut Pointer) -> c_int,
    log: (SizeOf, BytesOf),
    cubin: (SizeOf, BytesOf),
}

impl Functions {
    fn of(library: &Library) -> Result<Self, libloading::Error> {
        Ok(Self {
            create: function(library, c"nvrtcCreateProgram")?,
            compile: function(library, c"nvrtcCompileProgram")?,
            destroy: function(library, c"nvrtcDestroyProgram")?,
            log: (
                function(library, c"nvrtcGetProgramLogSize")?,
                function(library, c"nvrtcGetProgramLog")?,
            ),
            cubin: (function(library, c"nvrtcGetCUBINSize")?, function(library, c"nvrtcGetCUBIN")?),
        })
    }
}

fn function<F: Copy>(library: &Library, name: &CStr) -> Result<F, libloading::Error> {
    #[expect(unsafe_code, reason = "the fields of `Functions` have the types of nvrtc.h")]
    let symbol = unsafe { library.get::<F>(name) }?;
    Ok(*symbol)
}

/// One translation unit.
struct Program<'a> {
    functions: &'a Functions,
    pointer: Pointer,
}

impl<'a> Program<'a> {
    fn new(functions: &'a Functions, text: &str) -> Self {
        let text = CString::new(text).expect("generated code has no NUL");
        let mut pointer = std::ptr::null_mut();
        let none = std::ptr::null();
        #[expect(
            unsafe_code,
            reason = "NVRTC copies the text, which ends with a NUL; there are no headers"
        )]
        let status = unsafe {
            (functions.create)(&raw mut pointer, text.as_ptr(), none, 0, none.cast(), none.cast())
        };
        assert_eq!(status, 0, "NVRTC creates no program");
        Self { functions, pointer }
    }

    fn compile(&self, options: &[CString]) -> i32 {
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        #[expect(
            unsafe_code,
            reason = "the program lives, and so do the options, which end with a NUL"
        )]
        unsafe {
            (self.functions.compile)(self.pointer, options.len() as c_int, options.as_ptr())
        }
    }

    fn log(&self) -> String {
        let bytes = self.bytes(self.functions.log);
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    fn cubin(&self) -> Vec<u8> {
        self.bytes(self.functions.cubin)
    }

    fn bytes(&self, (size_of, bytes_of): (SizeOf, BytesOf)) -> Vec<u8> {
        let mut size = 0;
        #[expect(unsafe_code, reason = "the program lives, and NVRTC writes one number")]
        let status = unsafe { size_of(self.pointer, &raw mut size) };
        assert_eq!(status, 0, "NVRTC has no such output");
        let mut bytes = vec![0u8; size];
        #[expect(
            unsafe_code,
            reason = "the program lives, and NVRTC writes as many bytes as it said"
        )]
        let status = unsafe { bytes_of(self.pointer, bytes.as_mut_ptr().cast()) };
        assert_eq!(status, 0, "NVRTC has no such output");
        bytes
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "the program lives until here")]
        unsafe {
            (self.functions.destroy)(&raw mut self.pointer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'forward_f32' for 'sm_90a'
ptxas info    : Function properties for forward_f32
ptxas         .     8 bytes stack frame, 244 bytes spill stores, 248 bytes spill loads
ptxas info    : Used 58 registers, used 1 barriers
";

    #[test]
    fn numbers_are_read_from_the_log() {
        let report = Report {
            registers: 58,
            stack: 8,
            spill_stores: 244,
            spill_loads: 248,
            ..Report::default()
        };
        assert_eq!(parse(LOG), Some(report));
        assert_eq!(parse("ptxas info    : 0 bytes gmem\n"), None);
    }

    #[test]
    fn an_empty_folder_is_refused_with_the_name_of_the_package() {
        let error = Nvrtc::open(Path::new("/nonexistent")).err().expect("there is nothing");
        assert!(error.to_string().contains("`nvidia-cuda-runtime`"), "{error}");
    }
}

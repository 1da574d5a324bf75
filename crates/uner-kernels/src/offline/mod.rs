//! The CUDA C++ of every kernel, without a GPU: the source that the CUDA runtime would compile on
//! an H100, and NVRTC to compile it.
//!
//! The ops are called on a device that has the properties of the card and runs nothing
//! (`recorder`). It records the launches. Kernels, vector sizes, cubes and comptime arguments are
//! those of the card, since the same code chose them. Each kernel is then expanded and emitted as
//! in the runtime. An op needs no code for this; a new op, or a new form of one, needs a call in
//! `calls`.
//!
//! This proves that every kernel expands, fits the card, compiles and assembles, and it counts
//! registers. It proves nothing about results, races or other behaviour at run time; tests can run
//! the same launches on the CPU (`emulator`).

mod calls;
#[cfg(test)]
pub(crate) mod emulator;
mod limits;
mod nvrtc;
mod properties;
pub(crate) mod recorder;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use cubecl::ir::DeviceProperties;
use cubecl_core::{Compiler, define_kernel};
use cubecl_cpp::{shared::CppCompiler, target::Cuda};
use rayon::prelude::*;

pub use nvrtc::{Nvrtc, NvrtcError, Report};

use calls::{Call, calls};
use properties::compilation_options;
use recorder::{Card, Launch, Recorder};

/// The CUDA C++ of one kernel.
#[derive(Debug, Clone)]
pub struct KernelSource {
    /// Op, file and function of the kernel, element type and form:
    /// `attention/backward/queries bf16 head_dim 64 group 1`.
    pub label: String,
    /// The name of the entry function. Its last part is a hash, which another build of the same
    /// source may change.
    pub entry: String,
    /// The translation unit.
    pub text: String,
    /// Units of a cube in x, y and z.
    pub cube_dim: (u32, u32, u32),
    /// Bytes of shared memory. They are reserved at launch: no compiler counts or limits them.
    pub shared_memory: usize,
    /// Limits of the card that the launch exceeds; empty if it fits.
    pub problems: Vec<String>,
}

impl KernelSource {
    /// The text with stable names. The entry function's name contains a hash, and the values of
    /// shared memory are numbered in the order of a hash map (cubecl-opt 0.11.3,
    /// `AllocateSharedMemoryBlockPass`), which differs from call to call.
    pub fn stable_text(&self) -> String {
        let masked = self.text.replace(&self.entry, "kernel");
        let mut numbers = HashMap::new();
        let mut stable = String::with_capacity(masked.len());
        for piece in masked.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let name = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            match value_number(name) {
                Some((prefix, number)) => {
                    let next = numbers.len();
                    let number = *numbers.entry(number).or_insert(next);
                    write!(stable, "{prefix}v{number}{}", &piece[name.len()..])
                        .expect("memory takes any text");
                }
                None => stable.push_str(piece),
            }
        }
        stable
    }
}

/// Splits the name of a value, `v12` or `info_v12`, into prefix and number.
fn value_number(name: &str) -> Option<(&str, &str)> {
    let (prefix, number) = name.rsplit_once('v')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && (prefix.is_empty() || prefix.ends_with('_'))).then_some((prefix, number))
}

/// The CUDA C++ of every kernel of this crate, each instance once, under the label of the first
/// call that launches it.
///
/// # Panics
/// When a kernel does not expand, or CUDA C++ cannot express it: a defect of the kernel.
pub fn sources() -> Vec<KernelSource> {
    sources_of(&calls())
}

fn sources_of(calls: &[Call]) -> Vec<KernelSource> {
    let device = Recorder::of(Card::Hopper);
    let launches = launches(&device, calls);
    let properties = device.client.properties();
    launches.into_par_iter().map(|(label, launch)| emit(label, &launch, properties)).collect()
}

/// The first launch of each instance of a kernel, with its label.
fn launches(device: &Recorder, calls: &[Call]) -> Vec<(String, Launch)> {
    let (mut known, mut labels) = (HashSet::new(), HashSet::new());
    let mut launches = Vec::new();
    for call in calls {
        for launch in device.record(&call.run) {
            let id = launch.kernel.id();
            // Copies and matrix products are burn's own kernels.
            let Some(path) = id.type_name().strip_prefix("uner_kernels::") else { continue };
            let label = format!("{} {}", function(path), call.form);
            if known.insert(id) {
                let label = unused(&label, &labels);
                labels.insert(label.clone());
                launches.push((label, launch));
            }
        }
    }
    launches
}

/// Op, file and name of the function that a kernel's type was generated from, as in
/// `attention/backward/queries`. The type lies in a module of the function's name. Modules named
/// `cube` are left out, since they only say that this is a kernel.
fn function(path: &str) -> String {
    let path = path.split('<').next().unwrap_or(path);
    let mut modules: Vec<&str> = path.split("::").filter(|module| *module != "cube").collect();
    modules.pop();
    modules.join("/")
}

/// The label, with a number if it is taken: a call can launch several instances of a kernel.
fn unused(label: &str, taken: &HashSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{label} #{number}"));
    let mut labels = std::iter::once(label.to_owned()).chain(numbered);
    labels.find(|label| !taken.contains(label)).expect("numbers do not end")
}

fn emit(label: String, launch: &Launch, properties: &DeviceProperties) -> KernelSource {
    let definition = define_kernel(&*launch.kernel)
        .unwrap_or_else(|error| panic!("`{label}` does not expand: {error}"));
    let entry = definition.settings.kernel_name.clone();
    let kernel = CppCompiler::<Cuda>::default()
        .compile(definition, &compilation_options())
        .unwrap_or_else(|error| panic!("`{label}` cannot be expressed in CUDA C++: {error}"));
    let cube_dim = launch.kernel.id().cube_dim.into();
    let mut source = KernelSource {
        label,
        entry,
        text: kernel.source,
        cube_dim,
        shared_memory: kernel.shared_memory_size,
        problems: Vec::new(),
    };
    source.problems = limits::problems(&source, launch, properties);
    source
}

#[cfg(test)]
mod tests;

//! Runs the kernels of a call on the CPU. The machine's C++ compiler compiles the CUDA C++ of the
//! card against a small stand-in for CUDA (`cuda.h`, `runtime.cpp`). Each launch runs with the
//! buffers, cubes and scalars that the op's own launch code chose. The emulator checks results,
//! memory accesses and races, but not speed.

mod assembly;
mod program;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use burn::backend::TensorMetadata;
use burn::tensor::TensorData;
use cubecl_core::prelude::KernelId;
use cubecl_core::prelude::{
    OobFill, TensorMapFormat, TensorMapInterleave, TensorMapSwizzle, TiledArgs,
};
use cubecl_server::server::{BufferBinding, KernelResource, TensorMapBinding};
use tempfile::TempDir;

use self::program::{COMPILER, Runtime};
use super::emit;
use super::recorder::{Card, Launch, Recorder};
use crate::cube::Floats;

/// A change of a kernel's source.
pub(crate) type Change = fn(&str) -> String;

/// A device whose kernels run on the CPU.
pub(crate) struct Emulator {
    recorder: Recorder,
    folder: TempDir,
    runtime: Runtime,
    programs: HashMap<KernelId, PathBuf>,
    /// The contents of the buffers that have been written, by the identifier of their memory.
    memory: HashMap<usize, Vec<u8>>,
    /// Picks the order of cubes and planes.
    pub(crate) order: u32,
    /// A fault for tests to find: the function of a kernel, and the change of its source.
    fault: Option<(&'static str, Change)>,
    /// Programs built so far.
    built: usize,
}

impl Emulator {
    /// Opens the emulator of `card`. Without a C++ compiler, prints that and returns `None`.
    pub(crate) fn open(card: Card) -> Option<Self> {
        if Command::new(COMPILER).arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: the C++ compiler `{COMPILER}` is not installed");
            return None;
        }
        let folder = TempDir::new().expect("there is a folder for temporary files");
        let runtime = Runtime::build(folder.path());
        let (programs, memory) = (HashMap::new(), HashMap::new());
        Some(Self {
            recorder: Recorder::of(card),
            folder,
            runtime,
            programs,
            memory,
            order: 0,
            fault: None,
            built: 0,
        })
    }

    /// Injects a fault into the kernel `function` from here on, and removes the one before.
    pub(crate) fn set_fault(&mut self, function: &'static str, change: Change) {
        let before = self.fault.replace((function, change));
        let stale = [Some(function), before.map(|(function, _)| function)];
        self.programs.retain(|id, _| !stale.contains(&Some(function_of(id))));
    }

    /// A tensor with these contents.
    pub(crate) fn put(&mut self, data: &TensorData) -> Floats {
        let tensor = self.recorder.tensor(data.shape(), data.dtype());
        self.memory.insert(identifier(&tensor.handle.clone().binding()), data.as_bytes().to_vec());
        tensor
    }

    /// The contents of a tensor after the kernels have run.
    pub(crate) fn fetch(&self, tensor: &Floats) -> TensorData {
        let contents = &self.memory[&identifier(&tensor.handle.clone().binding())];
        TensorData::from_bytes_vec(contents.clone(), tensor.shape(), tensor.dtype())
    }

    /// Runs the kernels that `call` launches.
    ///
    /// # Errors
    /// When a kernel breaks a rule (memory, races, barriers) or leaves an output unwritten.
    pub(crate) fn run<T>(&mut self, call: impl FnOnce() -> T) -> Result<T, String> {
        let mut result = None;
        let launches = self.recorder.record(|_| result = Some(call()));
        for launch in &launches {
            self.launch(launch)?;
        }
        Ok(result.expect("the call was made"))
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), String> {
        let source = emit(String::new(), launch, self.recorder.client.properties());
        let (id, folder) = (launch.kernel.id(), self.folder.path());
        let kernel = function_of(&id);
        let program = self.programs.entry(id.clone()).or_insert_with(|| {
            let change =
                self.fault.filter(|(faulty, _)| *faulty == kernel).map(|(_, change)| change);
            self.built += 1;
            self.runtime.link(&source, change, &folder.join(format!("{kernel}{}", self.built)))
        });
        let (x, y, z) = launch.cube_count.expect("the count is known at launch");
        // Cubes of the kernels have one dimension or two.
        let (width, height, _) = source.cube_dim;
        let mut arguments = String::new();
        for number in [x, y, z, width * height, source.shared_memory as u32, self.order, width] {
            write!(arguments, "{number} ").expect("a string takes everything");
        }
        let buffers: Vec<_> = launch.arguments.resources.iter().map(buffer).collect();
        let maps: Vec<_> = launch.arguments.resources.iter().map(map).collect();
        let info = &launch.arguments.info;
        let (scalars, shapes) =
            info.data.split_at(info.dynamic_metadata_offset.min(info.data.len()));
        let input = input([scalars, shapes], &buffers, &maps, &self.memory);
        let output = program::run(program, &arguments, &folder.join("input"), &input)
            .map_err(|error| format!("`{kernel}`: {error}"))?;
        let mut contents = &output[..];
        for buffer in buffers {
            let (own, remainder) = contents.split_at(bytes(buffer) as usize);
            self.memory.insert(identifier(buffer), own.to_vec());
            contents = remainder;
        }
        Ok(())
    }
}

/// The function that a kernel's type was generated from: the type lies in a module of the
/// function's name.
fn function_of(id: &KernelId) -> &'static str {
    let path = id.type_name().split('<').next().unwrap_or_default();
    path.rsplit("::").nth(1).unwrap_or(path)
}

fn identifier(binding: &BufferBinding) -> usize {
    binding.memory.id().value
}

fn buffer(resource: &KernelResource) -> &BufferBinding {
    let (KernelResource::Buffer(binding)
    | KernelResource::TensorMap(TensorMapBinding { binding, .. })) = resource;
    assert_eq!(binding.offset_start.unwrap_or(0), 0, "views are not emulated");
    binding
}

/// The numbers of a tensor map, innermost dimension first: its four dimensions, the strides in
/// bytes of all but the first, its box. Empty for a plain buffer.
fn map(resource: &KernelResource) -> Vec<u64> {
    let KernelResource::TensorMap(TensorMapBinding { map, .. }) = resource else {
        return Vec::new();
    };
    let TensorMapFormat::Tiled(TiledArgs { tile_size }) = &map.format else {
        panic!("only tiled maps are emulated");
    };
    let plain = map.swizzle == TensorMapSwizzle::B128
        && map.interleave == TensorMapInterleave::None
        && map.oob_fill == OobFill::Zero
        && map.elem_stride.iter().all(|stride| *stride == 1);
    assert!(plain && map.metadata.rank() == 4, "{map:?} is not emulated");
    let (shape, strides) = (map.metadata.shape(), map.metadata.strides());
    let bytes = strides.iter().rev().skip(1).map(|stride| stride * map.elem_ty.size());
    let dimensions = shape.iter().rev().copied();
    dimensions
        .chain(bytes)
        .chain(tile_size.iter().rev().copied())
        .map(|number| number as u64)
        .collect()
}

/// Bytes of a buffer without the padding of the allocation.
fn bytes(buffer: &BufferBinding) -> u64 {
    buffer.size - buffer.offset_end.unwrap_or(0)
}

/// The input of a program: scalars and lengths, then the buffers with their maps. If a tensor has a
/// map, the shapes and strides of all tensors are a last buffer.
fn input(
    [info, shapes]: [&[u64]; 2],
    buffers: &[&BufferBinding],
    maps: &[Vec<u64>],
    memory: &HashMap<usize, Vec<u8>>,
) -> Vec<u8> {
    let mut input = (info.len() as u64 * 8).to_ne_bytes().to_vec();
    input.extend(info.iter().flat_map(|word| word.to_ne_bytes()));
    input.extend((buffers.len() as u64 + u64::from(!shapes.is_empty())).to_ne_bytes());
    for (buffer, map) in buffers.iter().zip(maps) {
        let contents = memory.get(&identifier(buffer));
        input.extend(bytes(buffer).to_ne_bytes());
        input.extend(u64::from(contents.is_some()).to_ne_bytes());
        input.extend(contents.into_iter().flatten());
        input.extend((map.len() as u64).to_ne_bytes());
        input.extend(map.iter().flat_map(|number| number.to_ne_bytes()));
    }
    if !shapes.is_empty() {
        let numbers =
            [shapes.len() as u64 * 8, 1].into_iter().chain(shapes.iter().copied()).chain([0]);
        input.extend(numbers.flat_map(u64::to_ne_bytes));
    }
    input
}

//! The properties that CubeCL's CUDA runtime reads from a card of compute capability 9.0 (H100,
//! H200).
//!
//! A transcription of `CudaServer::init` and `CudaRuntime::target_properties` of cubecl-cuda 0.11.3
//! (`src/runtime.rs`) with the backend `Cpp`. Compare it with each new version: if a feature is
//! missing here, a kernel takes another branch than on the card.

use cubecl::cmma::MatrixLayout;
use cubecl::features::{AtomicUsage, ComplexUsage, Features, Plane, Tma, TypeUsage};
use cubecl::ir::{
    ComplexKind, ContiguousElements, DeviceIdentity, DeviceProperties, ElemType, FloatKind,
    HardwareProperties, MemoryDeviceProperties, MmaProperties, OpaqueType, TargetProperties, Type,
    VectorSize,
};
use cubecl_core::profile::TimingMethod;
use cubecl_cpp::cuda::arch::CudaArchitecture;
use cubecl_cpp::cuda::mma::{CudaCmmaCompiler, manual::contiguous_elements_cuda};
use cubecl_cpp::cuda::{supported_mma_combinations, supported_scaled_mma_combinations};
use cubecl_cpp::shared::{
    CompilationOptions, CppSupportedFeatures, register_mma_features, register_scaled_mma_features,
    register_wmma_features,
};

/// The architecture that NVRTC compiles for: the runtime appends the `a` from 9.0 on.
pub(super) const ARCHITECTURE: &str = "sm_90a";
/// Alignment of allocations and of padded rows, in bytes.
pub(super) const ALIGNMENT: u64 = 512;
/// Memory of an H100 in bytes; it only sizes memory pools.
const MEMORY: u64 = 80 << 30;

/// The runtime's settings of CubeCL's C++ compiler.
pub(super) fn compilation_options() -> CompilationOptions {
    CompilationOptions {
        warp_size: 32,
        amd_wmma: None,
        supports_features: CppSupportedFeatures {
            grid_constants: true,
            clusters: true,
            fast_math: true,
            fast_tanh: true,
            elect_sync: true,
            dp4a: true,
        },
    }
}

/// The layout of tensor-core fragments in registers.
pub(super) fn target_properties() -> TargetProperties {
    TargetProperties {
        mma: MmaProperties {
            register_size_bits: 32,
            const_plane_size: 32,
            register_layout_a: MatrixLayout::RowMajor,
            register_layout_b: MatrixLayout::ColMajor,
            register_layout_acc: MatrixLayout::RowMajor,
            register_duplication_a: 1,
            register_duplication_b: 1,
            register_duplication_acc: 1,
            contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
        },
    }
}

/// The cards that a recorder can stand in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Card {
    /// H100, of compute capability 9.0.
    Hopper,
    /// The smallest partition of an H100 (MIG 1g.10gb): cubes that take work until none is left
    /// take more of it.
    Part,
    /// A100, of compute capability 8.0: it has no bulk copies, no clusters and less shared memory.
    Ampere,
}

/// Limits and features of a card.
pub(super) fn properties_of(card: Card) -> DeviceProperties {
    let mut properties = device_properties();
    if card == Card::Part {
        properties.hardware.num_streaming_multiprocessors = Some(16);
    }
    if card == Card::Ampere {
        properties.identity.fingerprint = "recorder_sm80".into();
        properties.hardware.max_shared_memory_size = 166_912;
        properties.hardware.num_streaming_multiprocessors = Some(108);
        properties.features.tma.clear();
        properties.features.cube_cluster = false;
    }
    properties
}

/// The properties of [`Card::Hopper`]. The name and the fingerprint are not the card's, so that
/// results stored for a real card are not mixed up with recorded ones.
fn device_properties() -> DeviceProperties {
    let memory = MemoryDeviceProperties::new(MEMORY / 4, ALIGNMENT).with_max_memory(MEMORY);
    let identity = DeviceIdentity {
        name: "recorder".into(),
        fingerprint: "recorder_sm90".into(),
        physical: None,
    };
    let mut properties = DeviceProperties::new(
        Features::default(),
        memory,
        hardware(),
        TimingMethod::Device,
        identity,
    );
    register_types(&mut properties);
    register_atomics(&mut properties);
    register_features(&mut properties);
    register_matrices(&mut properties);
    properties
}

fn hardware() -> HardwareProperties {
    HardwareProperties {
        load_width: 128,
        vector_register_count: None,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: 232_448,
        max_cube_count: (2_147_483_647, 65_535, 65_535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(132),
        num_cpu_cores: None,
        last_level_cache_size: None,
        num_tensor_cores: Some(4),
        min_tensor_cores_dim: Some(8),
        max_vector_size: VectorSize::MAX,
        cube_mma_reserved_shared_memory: 0,
    }
}

fn register_types(properties: &mut DeviceProperties) {
    cubecl_cpp::register_supported_types(properties);
    for kind in [ComplexKind::C32, ComplexKind::C64] {
        let element = ElemType::Complex(kind);
        properties.register_type_usage(element, TypeUsage::Conversion | TypeUsage::Buffer);
        let usage = ComplexUsage::Core | ComplexUsage::Compare | ComplexUsage::Math;
        properties.register_complex_usage(element, usage);
    }
    properties.register_type_usage(ElemType::Float(FloatKind::TF32), TypeUsage::Conversion);
    properties.register_opaque_type(OpaqueType::Barrier);
    properties.register_opaque_type(OpaqueType::TensorMap);
}

fn register_atomics(properties: &mut DeviceProperties) {
    let moving = AtomicUsage::Add | AtomicUsage::LoadStore | AtomicUsage::Exchange;
    let mut register = |kind: FloatKind, vector: usize, usage| {
        let element = Type::new(ElemType::Float(kind));
        let element = if vector == 1 { element } else { element.with_vector_size(vector) };
        properties.register_atomic_type_usage(Type::atomic(element), usage);
    };
    register(FloatKind::F64, 1, moving);
    register(FloatKind::F16, 1, AtomicUsage::Add.into());
    for kind in [FloatKind::F16, FloatKind::BF16] {
        for vector in [2, 4, 8] {
            register(kind, vector, moving);
        }
        for vector in [4, 8] {
            register(kind, vector, AtomicUsage::MinMax.into());
        }
    }
    for vector in [2, 4] {
        register(FloatKind::F32, vector, moving);
    }
}

fn register_features(properties: &mut DeviceProperties) {
    let features = &mut properties.features;
    features.plane |= Plane::Sync | Plane::Ops | Plane::NonUniformControlFlow;
    features.tma.insert(Tma::Base);
    features.copy_async = true;
    features.cube_cluster = true;
    features.memory_reinterpret = true;
    features.alignment = true;
    features.device_memory_scope = true;
    for kind in [FloatKind::F16, FloatKind::BF16] {
        features.matmul.ldmatrix.insert(ElemType::Float(kind));
        features.matmul.stmatrix.insert(ElemType::Float(kind));
    }
}

fn register_matrices(properties: &mut DeviceProperties) {
    let architecture = CudaArchitecture { version: 90, tensor_cores: true };
    register_wmma_features(
        CudaCmmaCompiler::Cpp.supported_cmma_combinations(&architecture),
        properties,
    );
    register_mma_features(supported_mma_combinations(&architecture), properties);
    register_scaled_mma_features(supported_scaled_mma_combinations(&architecture), properties);
}

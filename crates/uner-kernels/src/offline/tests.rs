//! The checks and what they refuse, on a kernel made for the purpose.

use burn::tensor::DType;
use burn_cubecl::CubeDevice;
use burn_cubecl::ops::numeric::empty_device_dtype;
use cubecl::cuda::compiler::CudaBackend;
use cubecl::device::CudaDevice;
use cubecl::prelude::*;

use super::*;
use crate::cube::contiguous;

#[cube(launch)]
fn greedy(y: &mut [f32], #[comptime] floats: usize) {
    let mut shared = Shared::<[f32]>::new_slice(floats);
    shared[UNIT_POS as usize] = 1.0f32;
    sync_cube();
    if ABSOLUTE_POS < y.len() {
        y[ABSOLUTE_POS] = shared[0];
    }
}

/// Launch and source of a kernel that uses `floats` floats of shared memory.
fn recorded(floats: usize, cubes: CubeCount, units: CubeDim) -> (Launch, KernelSource, Recorder) {
    let device = Recorder::of(Card::Hopper);
    let mut launches = device.record(|device| {
        let y = device.tensor([1024], DType::F32);
        greedy::launch(&device.client, cubes, units, y.into_buffer_arg(), floats);
    });
    let launch = launches.pop().expect("one launch");
    assert!(launches.is_empty());
    let source = emit("offline/greedy".into(), &launch, device.client.properties());
    (launch, source, device)
}

fn problems(floats: usize, cubes: CubeCount, units: CubeDim) -> Vec<String> {
    recorded(floats, cubes, units).1.problems
}

/// Another backend would compile other code than the code checked here.
#[test]
fn the_cuda_runtime_compiles_cpp() {
    assert_eq!(CudaBackend::default(), CudaBackend::Cpp, "the feature `cubecl/cuda-cpp` is off");
}

#[test]
fn a_launch_at_the_limits_has_no_problem() {
    let cubes = CubeCount::Static(2_147_483_647, 65_535, 65_535);
    let (_, source, _) = recorded(232_448 / 4, cubes, CubeDim::new_2d(512, 2));
    assert_eq!(source.problems, [""; 0]);
    assert_eq!((source.shared_memory, source.cube_dim), (232_448, (512, 2, 1)));
    assert!(source.text.contains("__launch_bounds__(1024)"), "{}", source.text);
}

#[test]
fn a_cube_alone_has_all_registers() {
    let (_, source, _) = recorded(8, CubeCount::Static(1, 1, 1), CubeDim::new_2d(16, 8));
    let alone = nvrtc::alone(&source);
    assert!(
        alone.contains("__launch_bounds__(128, 1)") && !alone.contains("__launch_bounds__(128)"),
        "{alone}"
    );
}

#[test]
fn what_the_card_refuses_is_a_problem() {
    let one = || CubeCount::Static(1, 1, 1);
    assert_eq!(
        problems(232_448 / 4 + 1, one(), CubeDim::new_1d(32)),
        ["bytes of shared memory: 232452, at most 232448"]
    );
    assert_eq!(
        problems(8, one(), CubeDim::new_2d(32, 33)),
        ["units of a cube: 1056, at most 1024"]
    );
    assert_eq!(problems(8, one(), CubeDim::new_3d(8, 1, 65)), ["units in z: 65, at most 64"]);
    assert_eq!(
        problems(8, CubeCount::Static(1, 65_536, 1), CubeDim::new_1d(32)),
        ["cubes in y: 65536, at most 65535"]
    );
}

#[test]
fn a_matrix_instruction_that_does_not_exist_is_a_problem() {
    let (launch, mut source, device) = recorded(8, CubeCount::Static(1, 1, 1), CubeDim::new_1d(32));
    let properties = device.client.properties();
    for shape in ["m16n8k16.row.col.f32.bf16.bf16.f32", "m16n8k16.row.col.f32.f16.f16.f32"] {
        source.text = format!("asm(\"mma.sync.aligned.{shape} {{%0}};\");");
        assert_eq!(limits::problems(&source, &launch, properties), [""; 0]);
    }
    source.text = "mma.sync.aligned.m16n16k16.row.col.f32.bf16.bf16.f32 {%0}".into();
    assert_eq!(
        limits::problems(&source, &launch, properties),
        ["the card lacks `mma.sync.aligned.m16n16k16.row.col.f32.bf16.bf16.f32`"]
    );
}

#[test]
fn names_that_change_are_masked() {
    let (_, mut source, _) = recorded(8, CubeCount::Static(1, 1, 1), CubeDim::new_1d(32));
    assert!(source.entry.starts_with("greedy"), "{}", source.entry);
    let stable = source.stable_text();
    assert!(!stable.contains(&source.entry) && stable.contains("kernel("), "{stable}");

    source.text = format!("{}(info_v9) {{ float_4 v7 = v3[v9]; v3.v = av3; }}", source.entry);
    assert_eq!(source.stable_text(), "kernel(info_v0) { float_4 v1 = v2[v0]; v2.v = av3; }");
}

#[test]
fn the_same_call_gives_the_same_text() {
    // Small forms of three ops: expansion is slow without optimisation.
    let forms = ["f32 hidden 7", "bf16 head_dim 16 group 2", "bf16 hidden 7 vocab 33"];
    let calls: Vec<Call> =
        calls().into_iter().filter(|call| forms.contains(&call.form.as_str())).collect();
    assert_eq!(calls.len(), forms.len());
    let texts = || sources_of(&calls).iter().map(KernelSource::stable_text).collect::<Vec<_>>();
    let first = texts();
    for _ in 0..3 {
        assert!(texts() == first);
    }
}

#[test]
fn labels_say_where_a_kernel_stands() {
    assert_eq!(function("rms_norm::cube::forward::Forward<bf16, a::N>"), "rms_norm/forward");
    assert_eq!(
        function("attention::cube::backward::queries::Queries"),
        "attention/backward/queries"
    );
    let taken = HashSet::from(["a f32".to_owned(), "a f32 #2".to_owned()]);
    assert_eq!(unused("a f32", &taken), "a f32 #3");
    assert_eq!(unused("a bf16", &taken), "a bf16");
}

/// CUDA pads the allocations of other ops, and a kernel reads the number of elements from the
/// buffer.
#[test]
fn buffers_end_with_their_last_element() {
    let (device, cuda) = (Recorder::of(Card::Hopper), CubeDevice::Cuda(CudaDevice { index: 0 }));
    let cases = [(DType::BF16, 7), (DType::BF16, 515), (DType::F32, 7), (DType::F32, 1024)];
    let padding = cases.map(|(dtype, count)| {
        let tensor = empty_device_dtype(device.client.clone(), cuda.clone(), [count].into(), dtype);
        let (allocated, bytes) = (tensor.handle.size_in_used(), (count * dtype.size()) as u64);
        assert_eq!(contiguous(tensor).handle.size_in_used(), bytes, "{count} {dtype:?}");
        allocated - bytes
    });
    assert!(padding.iter().any(|bytes| *bytes > 0), "nothing was padded: {padding:?}");
}

//! The kernels without a matrix product equal their `reference` on every device at hand: output and every gradient, f32
//! and f16, odd sizes, inputs that are not contiguous, inputs that want no gradient, a second run equal to the bit.
//!
//! The reference runs on the CPU in f32, on the values that the device has. Tolerances are shares of the largest entry
//! (at least of 0.1): 2e-5 in f32, where sums of a few hundred terms are added up in another order; 2e-3 in f16, where
//! up to four roundings of 2^-11 add up (of both inputs' sum, of a result, of the sum of two gradients).

use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor};
use uner_kernels::{AdamWState, AdamWStep, RotaryTable, adamw, add_rms_norm, rms_norm, rope, swiglu};

fn devices() -> Vec<(Device, DType)> {
    let mut devices = vec![(Device::flex(), DType::F32)];
    #[cfg(feature = "webgpu")]
    {
        let device = Device::wgpu(burn::tensor::DeviceKind::Cpu);
        devices.push((device.clone(), DType::F32));
        if device.supports_dtype(FloatDType::F16) {
            devices.push((device, DType::F16));
        }
    }
    devices
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// The values of `tensor` on another device and in another type.
fn on<const D: usize>(tensor: &Tensor<D>, device: &Device, dtype: DType) -> Tensor<D> {
    Tensor::from_data(tensor.to_data().convert_dtype(dtype), (device, dtype))
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().try_into_vec_as().expect("a float tensor")
}

fn assert_close<const D: usize>(what: &str, got: &Tensor<D>, expected: &Tensor<D>) {
    assert_eq!(got.dims(), expected.dims(), "{what}: shape");
    let tolerance = if got.dtype() == DType::F32 { 2e-5 } else { 2e-3 };
    let (got, expected) = (values(got), values(expected));
    assert!(got.iter().all(|value| value.is_finite()), "{what}: not finite");
    let largest = expected.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
    let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance * largest, "{what}: off by {worst:e}, the largest is {largest:e}");
}

/// A result and the gradients of the inputs, for a given gradient of the result. The product is not summed: what starts from
/// it starts with ones, and a GPU would spend its time on tuning the sum.
fn differentiate<const D: usize>(
    inputs: &[Tensor<D>],
    dy: &Tensor<D>,
    op: impl Fn(&[Tensor<D>]) -> Tensor<D>,
) -> Vec<Tensor<D>> {
    let inputs: Vec<_> = inputs.iter().map(|input| input.clone().autodiff().require_grad()).collect();
    let y = op(&inputs);
    let mut graph = y.clone().mul(dy.clone()).backward();
    let gradients =
        inputs.iter().map(|input| input.grad_remove(&mut graph).expect("every input has a gradient"));
    [y.inner()].into_iter().chain(gradients).collect()
}

/// Compares kernel and reference on every device.
fn assert_same<const D: usize>(
    what: &str,
    inputs: &[Tensor<D>],
    dy: &Tensor<D>,
    kernel: impl Fn(&[Tensor<D>]) -> Tensor<D>,
    reference: impl Fn(&[Tensor<D>]) -> Tensor<D>,
) {
    for (device, dtype) in devices() {
        let what = format!("{what} {device:?} {dtype:?}");
        let here = |tensor: &Tensor<D>| on(tensor, &device, dtype);
        let rounded = |tensor: &Tensor<D>| on(&here(tensor), &Device::flex(), DType::F32);
        let (ours, dy_here): (Vec<_>, _) = (inputs.iter().map(here).collect(), here(dy));
        let got = differentiate(&ours, &dy_here, &kernel);
        let again = differentiate(&ours, &dy_here, &kernel);
        let plain = kernel(&ours);
        let theirs: Vec<_> = inputs.iter().map(rounded).collect();
        let expected = differentiate(&theirs, &rounded(dy), &reference);
        assert_eq!(plain.into_data(), got[0].to_data(), "{what}: output without autodiff");
        for (index, ((got, again), expected)) in got.iter().zip(again).zip(&expected).enumerate() {
            assert_eq!(got.dtype(), dtype, "{what}: type of result {index}");
            assert_eq!(got.to_data(), again.into_data(), "{what}: result {index} of a second run");
            assert_close(&format!("{what}: result {index} of output and gradients"), got, expected);
        }
    }
}

/// Odd sizes, a width that fills vectors but no power of two, and one of which a unit keeps many vectors.
const ROWS: [[usize; 2]; 9] =
    [[1, 1], [7, 33], [33, 7], [63, 65], [127, 63], [65, 515], [515, 127], [33, 288], [3, 4096]];

#[test]
fn rms_norm_on_every_device() {
    for [tokens, hidden] in ROWS {
        let weight = random([1, hidden]);
        assert_same(
            &format!("rms_norm {tokens} {hidden}"),
            &[random([tokens, hidden]), weight],
            &random([tokens, hidden]),
            |inputs| rms_norm(inputs[0].clone(), inputs[1].clone().reshape([-1]), 1e-5),
            |inputs| {
                uner_kernels::rms_norm::reference(inputs[0].clone(), inputs[1].clone().reshape([-1]), 1e-5)
            },
        );
    }
}

/// Both results side by side, so that both have a gradient.
fn both([sum, normed]: [Tensor<2>; 2]) -> Tensor<2> {
    Tensor::cat(vec![sum, normed], 1)
}

#[test]
fn add_rms_norm_on_every_device() {
    for [tokens, hidden] in ROWS {
        assert_same(
            &format!("add_rms_norm {tokens} {hidden}"),
            &[random([tokens, hidden]), random([tokens, hidden]), random([1, hidden])],
            &random([tokens, 2 * hidden]),
            |inputs| {
                let [x, residual, weight] = [0, 1, 2].map(|index| inputs[index].clone());
                both(add_rms_norm(x, residual, weight.reshape([-1]), 1e-5).into())
            },
            |inputs| {
                let [x, residual, weight] = [0, 1, 2].map(|index| inputs[index].clone());
                both(uner_kernels::rms_norm::reference_add(x, residual, weight.reshape([-1]), 1e-5).into())
            },
        );
    }
}

/// 65,535 cubes are the most that WebGPU starts.
#[test]
fn more_rows_than_cubes_take_turns() {
    let (x, weight) = (random([70_001, 3]), random([3]));
    let expected = uner_kernels::rms_norm::reference(x.clone(), weight.clone(), 1e-5);
    for (device, dtype) in devices() {
        if dtype == DType::F32 {
            let got = rms_norm(on(&x, &device, dtype), on(&weight, &device, dtype), 1e-5);
            assert_close(&format!("rms_norm of many rows {device:?}"), &got, &expected);
        }
    }
}

#[test]
fn a_weight_may_have_another_type_than_the_rows() {
    for (device, dtype) in devices() {
        if dtype == DType::F16 {
            let (x, weight) = (on(&random([33, 65]), &device, dtype), on(&random([65]), &device, DType::F32));
            let dy = on(&random([33, 65]), &device, dtype);
            let (x_leaf, weight_leaf) =
                (x.clone().autodiff().require_grad(), weight.clone().autodiff().require_grad());
            let y = rms_norm(x_leaf, weight_leaf.clone(), 1e-5);
            let mut graph = y.clone().mul(dy.clone()).backward();
            let dweight = weight_leaf.grad_remove(&mut graph).expect("a gradient");
            assert_eq!((y.dtype(), dweight.dtype()), (DType::F16, DType::F32));
            let flex = |tensor: &Tensor<2>| on(tensor, &Device::flex(), DType::F32);
            let weight = on(&weight, &Device::flex(), DType::F32).autodiff().require_grad();
            let expected = uner_kernels::rms_norm::reference(flex(&x).autodiff(), weight.clone(), 1e-5);
            let mut graph = expected.clone().mul(flex(&dy)).backward();
            assert_close("output", &y.inner(), &expected.inner());
            let expected = weight.grad_remove(&mut graph).expect("a gradient");
            assert_close("gradient of the weight", &dweight, &expected);
        }
    }
}

#[test]
fn a_frozen_input_of_the_norm_changes_no_other_gradient() {
    for (device, dtype) in devices() {
        let [x, residual, dy] = [0; 3].map(|_| on(&random([65, 33]), &device, dtype));
        let weight = on(&random([33]), &device, dtype);
        let gradients = |tracked: [bool; 3]| {
            let [x_tracked, residual_tracked, weight_tracked] = tracked;
            let leaf = |tensor: &Tensor<2>, tracked: bool| {
                let tensor = tensor.clone().autodiff();
                if tracked { tensor.require_grad() } else { tensor }
            };
            let (x, residual) = (leaf(&x, x_tracked), leaf(&residual, residual_tracked));
            let weight = weight.clone().autodiff();
            let weight = if weight_tracked { weight.require_grad() } else { weight };
            let (sum, normed) = add_rms_norm(x.clone(), residual.clone(), weight.clone(), 1e-5);
            let mut graph = normed.mul(dy.clone()).add(sum).backward();
            (
                x.grad_remove(&mut graph).map(Tensor::into_data),
                residual.grad_remove(&mut graph).map(Tensor::into_data),
                weight.grad_remove(&mut graph).map(Tensor::into_data),
            )
        };
        let all = gradients([true; 3]);
        assert!(all.0.is_some() && all.1.is_some() && all.2.is_some());
        assert_eq!(gradients([true, true, false]), (all.0.clone(), all.1.clone(), None));
        assert_eq!(gradients([true, false, false]), (all.0.clone(), None, None));
        assert_eq!(gradients([false, true, true]), (None, all.1.clone(), all.2.clone()));
        assert_eq!(gradients([false, false, true]), (None, None, all.2.clone()));
    }
}

#[test]
fn inputs_that_are_not_contiguous() {
    let [tokens, hidden] = [33, 72];
    // The inputs are columns 3.. and rows ..33 of what is kept the other way around.
    let view = |tensor: &Tensor<2>| tensor.clone().transpose().narrow(1, 3, hidden).narrow(0, 0, tokens);
    let stored = || random([hidden + 8, tokens + 2]);
    // The transposed result makes the gradient that comes in a view as well.
    let dy = random([hidden, tokens]);
    assert_same(
        "add_rms_norm of views",
        &[stored(), stored(), random([1, hidden])],
        &dy,
        |inputs| {
            let weight = inputs[2].clone().reshape([-1]);
            add_rms_norm(view(&inputs[0]), view(&inputs[1]), weight, 1e-5).1.transpose()
        },
        |inputs| {
            let weight = inputs[2].clone().reshape([-1]);
            let (x, residual) = (view(&inputs[0]), view(&inputs[1]));
            uner_kernels::rms_norm::reference_add(x, residual, weight, 1e-5).1.transpose()
        },
    );
    assert_same(
        "swiglu of views",
        &[stored(), stored()],
        &dy,
        |inputs| swiglu(view(&inputs[0]), view(&inputs[1])).transpose(),
        |inputs| uner_kernels::swiglu::reference(view(&inputs[0]), view(&inputs[1])).transpose(),
    );
}

#[test]
fn swiglu_on_every_device() {
    for [tokens, width] in ROWS {
        assert_same(
            &format!("swiglu {tokens} {width}"),
            &[random([tokens, width]).mul_scalar(10.0), random([tokens, width])],
            &random([tokens, width]),
            |inputs| swiglu(inputs[0].clone(), inputs[1].clone()),
            |inputs| uner_kernels::swiglu::reference(inputs[0].clone(), inputs[1].clone()),
        );
    }
}

#[test]
fn swiglu_of_large_gates_is_finite() {
    let gates: Vec<f32> = vec![-3e4, -200.0, -89.0, -88.0, -20.0, 0.0, 20.0, 88.0, 89.0, 200.0, 3e4];
    let width = gates.len();
    let gate = Tensor::<1>::from_data(gates.as_slice(), &Device::flex()).reshape([1, width]);
    // Compared entry by entry: these differ by orders of magnitude.
    for (device, dtype) in devices() {
        let one = Tensor::ones([1, width], &Device::flex());
        let inputs = [gate.clone(), one.clone()].map(|tensor| on(&tensor, &device, dtype));
        let results = differentiate(&inputs, &on(&one, &device, dtype), |inputs| {
            swiglu(inputs[0].clone(), inputs[1].clone())
        });
        let sigmoid = |gate: f64| 1.0 / (1.0 + (-gate).exp());
        let slope = |gate: f64| sigmoid(gate) * (1.0 + gate * (1.0 - sigmoid(gate)));
        let silu = |gate: f64| gate * sigmoid(gate);
        let expected: [&dyn Fn(f64) -> f64; 3] = [&silu, &slope, &silu];
        for (result, expected) in results.iter().zip(expected) {
            for (got, &gate) in values(result).into_iter().zip(&gates) {
                let expected = expected(f64::from(on_type(gate, dtype)));
                let near = (f64::from(got) - expected).abs() <= 1e-3 * expected.abs() + 1e-6;
                assert!(near, "{device:?} {dtype:?}: {got} of {gate} is not {expected}");
            }
        }
    }
}

/// The number that a type stores for another.
fn on_type(value: f32, dtype: DType) -> f32 {
    let tensor = Tensor::<1>::from_data([value], &Device::flex());
    values(&on(&on(&tensor, &Device::flex(), dtype), &Device::flex(), DType::F32))[0]
}

#[test]
fn rope_on_every_device() {
    for shape @ [rows, tokens, _, head_dim] in
        [[1, 1, 1, 2], [2, 7, 3, 10], [3, 63, 4, 16], [1, 127, 2, 64], [2, 33, 1, 80], [1, 65, 3, 128]]
    {
        let positions: Vec<i32> = (0..rows * tokens).map(|index| (index * 7 % 129) as i32).collect();
        let frequencies: Vec<f32> = (0..head_dim / 2).map(|pair| 0.7f32.powi(pair as i32)).collect();
        let table = |device: &Device| RotaryTable::new(&positions, rows, &frequencies, &plain(device));
        assert_same(
            &format!("rope {shape:?}"),
            &[random(shape)],
            &random(shape),
            |inputs| rope(inputs[0].clone(), &table(&inputs[0].device())),
            |inputs| uner_kernels::rope::reference(inputs[0].clone(), &table(&inputs[0].device())),
        );
        let [rows, tokens, heads, head_dim] = shape;
        assert_same(
            &format!("rope of a view {shape:?}"),
            &[random([rows, heads + 1, tokens, head_dim])],
            &random(shape),
            |inputs| {
                let x = inputs[0].clone().swap_dims(1, 2).narrow(2, 1, heads);
                rope(x, &table(&inputs[0].device()))
            },
            |inputs| {
                let x = inputs[0].clone().swap_dims(1, 2).narrow(2, 1, heads);
                uner_kernels::rope::reference(x, &table(&inputs[0].device()))
            },
        );
    }
}

/// The device without gradients.
fn plain(device: &Device) -> Device {
    device.clone().without_autodiff()
}

const STEP: AdamWStep =
    AdamWStep { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, step: 3, grad_scale: 0.5 };

struct Update {
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
}

impl Update {
    fn random(count: usize) -> Self {
        let (exp_avg, exp_avg_sq) = (random([count]), random([count]).square());
        let state = AdamWState { master: None, exp_avg, exp_avg_sq };
        Self { param: random([count]), grad: random([count]), state }
    }

    /// On buffers of its own; a parameter that is not f32 gets a master.
    fn on(&self, device: &Device, [param, grad]: [DType; 2]) -> Self {
        let float = |tensor: &Tensor<1>| on(tensor, device, DType::F32);
        let state = AdamWState {
            master: (param != DType::F32).then(|| float(&self.param)),
            exp_avg: float(&self.state.exp_avg),
            exp_avg_sq: float(&self.state.exp_avg_sq),
        };
        Self { param: on(&self.param, device, param), grad: on(&self.grad, device, grad), state }
    }

    fn held(&self) -> Vec<Tensor<1>> {
        let state = &self.state;
        let tensors = [&self.param, &self.grad, &state.exp_avg, &state.exp_avg_sq].into_iter();
        tensors.chain(&state.master).cloned().collect()
    }

    fn run(self) -> (Tensor<1>, AdamWState) {
        adamw(self.param, self.grad, self.state, &STEP)
    }
}

fn all((param, state): &(Tensor<1>, AdamWState)) -> Vec<Tensor<1>> {
    let tensors = [param, &state.exp_avg, &state.exp_avg_sq].into_iter();
    tensors.chain(&state.master).cloned().collect()
}

fn assert_update(what: &str, update: &Update, device: &Device, types: [DType; 2]) {
    let flex = Device::flex();
    let rounded_grad = on(&on(&update.grad, device, types[1]), &flex, DType::F32);
    let theirs = update.on(&flex, [DType::F32; 2]);
    let expected = uner_kernels::adamw::reference(theirs.param, rounded_grad, theirs.state, &STEP);

    let shared = update.on(device, types);
    let held = shared.held();
    // As numbers: the data of a tensor is read from a GPU only when it is looked at, here after the update.
    let before: Vec<_> = held.iter().map(values).collect();
    let got = shared.run();
    let after: Vec<_> = held.iter().map(values).collect();
    assert_eq!(before, after, "{what}: a tensor that is held elsewhere was changed");

    let alone = update.on(device, types).run();
    for (got, alone) in all(&got).iter().zip(all(&alone)) {
        assert_eq!(got.to_data(), alone.into_data(), "{what}: in place and not differ");
    }
    let (param, state) = got;
    assert_eq!(param.dtype(), types[0], "{what}: type of the parameter");
    assert_close(&format!("{what}: parameter"), &param, &expected.0);
    assert_close(&format!("{what}: first moment"), &state.exp_avg, &expected.1.exp_avg);
    assert_close(&format!("{what}: second moment"), &state.exp_avg_sq, &expected.1.exp_avg_sq);
    assert_eq!(state.master.is_some(), types[0] != DType::F32, "{what}: master");
    if let Some(master) = state.master {
        assert_close(&format!("{what}: master"), &master, &expected.0);
        assert_eq!(on(&master, device, types[0]).into_data(), param.into_data(), "{what}: not the master's");
    }
}

#[test]
fn adamw_on_every_device() {
    for count in [1, 7, 63, 515, 288 * 33, 70_000] {
        let update = Update::random(count);
        for (device, dtype) in devices() {
            let types = match dtype {
                DType::F16 => {
                    vec![[DType::F16, DType::F16], [DType::F16, DType::F32], [DType::F32, DType::F16]]
                }
                _ => vec![[DType::F32, DType::F32]],
            };
            for types in types {
                assert_update(&format!("adamw {count} {device:?} {types:?}"), &update, &device, types);
            }
        }
        let halves = [DType::F16, DType::F32];
        assert_update(&format!("adamw {count} on the CPU {halves:?}"), &update, &Device::flex(), halves);
    }
}

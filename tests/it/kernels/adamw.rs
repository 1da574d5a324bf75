//! AdamW with f32 moments, for f32 parameters and for bf16 ones with a rest (the bits that bf16
//! drops).

use burn::tensor::{DType, Device, Int, Tensor, bf16};
use uner_kernels::adamw::{Moments, parted, rest};
use uner_kernels::{AdamWState, AdamWStep, adamw};

use super::{TYPES, assert_close, put, random, values};
use crate::devices::{Setup, cpu, devices, fetch, setups};

pub(super) const STEP: AdamWStep = AdamWStep {
    lr: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.1,
    step: 3,
    grad_scale: 0.5,
    key: 7,
    first: 0,
};

/// How a parameter is stored. A device without bf16 stores a parameter with a rest in f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) param: DType,
    pub(super) has_rest: bool,
}

pub(super) const F32: Form = Form { param: DType::F32, has_rest: false };
pub(super) const F32_WITH_REST: Form = Form { param: DType::F32, has_rest: true };
pub(super) const BF16_WITH_REST: Form = Form { param: DType::BF16, has_rest: true };

impl Form {
    /// Returns the forms of a device that computes in this type.
    pub(super) fn all(dtype: DType) -> Vec<Self> {
        let short = (dtype == DType::BF16).then_some(BF16_WITH_REST);
        [F32, F32_WITH_REST].into_iter().chain(short).collect()
    }

    /// Converts values to a parameter and its rest.
    pub(super) fn store(
        self,
        value: &Tensor<1>,
        device: &Device,
    ) -> (Tensor<1>, Option<Tensor<1, Int>>) {
        if self.has_rest {
            let (param, rest) = parted(put(value, device, DType::F32), self.param);
            return (param, Some(rest));
        }
        (put(value, device, self.param), None)
    }
}

pub(super) fn words(words: &Tensor<1, Int>) -> Vec<i32> {
    words.clone().try_into_vec_as().expect("words")
}

/// Returns the f32 values of a parameter.
pub(super) fn value(param: &Tensor<1>, state: &AdamWState) -> Vec<f32> {
    match &state.rest {
        Some(rest) => rest::joined(&values(param), &words(rest)),
        None => values(param),
    }
}

struct Update {
    param: Tensor<1>,
    grad: Tensor<1>,
    first: Tensor<1>,
    second: Tensor<1>,
}

impl Update {
    fn random(count: usize) -> Self {
        let (first, second) = (random([count]), random([count]).square());
        Self { param: random([count]), grad: random([count]), first, second }
    }

    /// Copies the update to its own buffers on a device.
    fn on(&self, device: &Device, form: Form, grad: DType) -> Ready {
        let float = |tensor: &Tensor<1>| put(tensor, device, DType::F32);
        let moments =
            Moments::Float { exp_avg: float(&self.first), exp_avg_sq: float(&self.second) };
        let (param, rest) = form.store(&self.param, device);
        Ready { param, grad: put(&self.grad, device, grad), state: AdamWState { rest, moments } }
    }
}

struct Ready {
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
}

impl Ready {
    fn all(&self) -> (Vec<Vec<f32>>, Option<Vec<i32>>) {
        let (mut floats, rest) = all(&self.param, &self.state);
        floats.push(values(&self.grad));
        (floats, rest)
    }

    fn run(self) -> (Tensor<1>, AdamWState) {
        adamw(self.param, self.grad, self.state, &STEP)
    }
}

/// Returns first and second moment.
fn moments(state: &AdamWState) -> [Tensor<1>; 2] {
    match &state.moments {
        Moments::Float { exp_avg, exp_avg_sq } => [exp_avg.clone(), exp_avg_sq.clone()],
        Moments::EightBit { .. } => panic!("moments became 8 bits"),
    }
}

/// Returns parameter and moments, and the words of the rest.
fn all(param: &Tensor<1>, state: &AdamWState) -> (Vec<Vec<f32>>, Option<Vec<i32>>) {
    let floats = [param.clone()].into_iter().chain(moments(state));
    (floats.map(|tensor| values(&tensor)).collect(), state.rest.as_ref().map(words))
}

fn assert_update(what: &str, update: &Update, setup: &Setup, form: Form, grad: DType) {
    let what = &format!("{what} {form:?}, gradient {grad:?}, on {setup}");
    let (flex, device) = (Device::flex(), &setup.device);
    let rounded_grad = fetch(put(&update.grad, device, grad));
    let theirs = update.on(&flex, F32, DType::F32);
    let expected = uner_kernels::adamw::reference(theirs.param, rounded_grad, theirs.state, &STEP);

    let shared = update.on(device, form, grad);
    let held = Ready {
        param: shared.param.clone(),
        grad: shared.grad.clone(),
        state: shared.state.clone(),
    };
    // Numbers, not tensor data: data is read from a GPU lazily, which here would be after the
    // update.
    let before = held.all();
    let (param, state) = shared.run();
    assert!(before == held.all(), "{what}: a tensor that is held elsewhere was changed");

    let alone = update.on(device, form, grad).run();
    assert!(all(&param, &state) == all(&alone.0, &alone.1), "{what}: in place and not differ");
    assert_eq!(param.dtype(), form.param, "{what}: type of the parameter");
    assert_eq!(state.rest.is_some(), form.has_rest, "{what}: rest");
    // Moments and value are f32 for any type; the parameter is the value, rounded.
    let value = value(&param, &state);
    if let Some(words) = state.rest.as_ref().map(words) {
        assert!(rest::parted(&value) == (values(&param), words), "{what}: not the value's");
    }
    let (value, exact) = (Tensor::from_data(value.as_slice(), &flex), cpu().tolerance.op);
    assert_close(&format!("{what}: parameter in f32"), &value, &expected.0, exact);
    for (got, expected) in moments(&state).iter().zip(&moments(&expected.1)) {
        assert_close(&format!("{what}: moment"), got, expected, exact);
    }
}

/// Parameters and gradients may be bf16 on the CPU, too.
#[test]
fn adamw_on_every_device() {
    for count in [1, 7, 63, 515, 288 * 33, 70_000] {
        let update = Update::random(count);
        let what = &format!("adamw {count}");
        for setup in setups(&TYPES) {
            for form in Form::all(setup.dtype) {
                for grad in [setup.dtype, DType::F32] {
                    assert_update(what, &update, &setup, form, grad);
                }
            }
        }
        for form in Form::all(DType::BF16) {
            assert_update(what, &update, &cpu(), form, DType::BF16);
            assert_update(what, &update, &cpu(), form, DType::F32);
        }
    }
}

/// After every update, a parameter and its rest encode the value that an f32 parameter has after
/// the same update.
#[test]
fn a_rest_is_all_that_bf16_lacks() {
    let count = 4096 + 3;
    let bf16 = setups(&[DType::BF16]).into_iter().map(|setup| (setup.device, DType::BF16));
    let f32 = devices().into_iter().map(|setup| (setup.device, DType::F32));
    for (device, dtype) in bf16.chain(f32).chain([(Device::flex(), DType::BF16)]) {
        let update = Update::random(count);
        let whole = update.on(&device, F32, DType::F32);
        let short = update.on(&device, Form { param: dtype, has_rest: true }, DType::F32);
        let (mut whole, mut short) = ((whole.param, whole.state), (short.param, short.state));
        for step in 1..=8 {
            let grad = put(&random([count]), &device, DType::F32);
            let step = AdamWStep { step, ..STEP };
            whole = adamw(whole.0, grad.clone(), whole.1, &step);
            short = adamw(short.0, grad, short.1, &step);
            let (expected, what) = (values(&whole.0), format!("{dtype:?} on {device:?}, {step:?}"));
            let rounded: Vec<f32> =
                expected.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
            assert!(values(&short.0) == rounded, "{what}: parameter");
            let rest = words(short.1.rest.as_ref().expect("it has a rest"));
            assert!((rounded, rest) == rest::parted(&expected), "{what}: rest");
            assert!(
                moments(&whole.1).map(|moment| values(&moment))
                    == moments(&short.1).map(|moment| values(&moment)),
                "{what}: moments"
            );
            // One value in 2¹⁷ is halfway to the next bf16 and loses its last bit.
            whole.0 = put(
                &Tensor::from_data(value(&short.0, &short.1).as_slice(), &Device::flex()),
                &device,
                DType::F32,
            );
        }
    }
}

/// Updates part of a parameter, as a rank does.
#[test]
fn adamw_of_a_part_leaves_the_rest_alone() {
    for setup in devices() {
        let update = Update::random(1000);
        let part = |tensor: &Tensor<1>| tensor.clone().narrow(0, 256, 512);
        for form in Form::all(setup.dtype) {
            let whole = update.on(&setup.device, form, setup.dtype);
            let before = whole.all();
            let [exp_avg, exp_avg_sq] = moments(&whole.state).each_ref().map(part);
            let rest = whole.state.rest.clone().map(|words| words.narrow(0, 128, 256));
            let state = AdamWState { rest, moments: Moments::Float { exp_avg, exp_avg_sq } };
            let (got, state) = adamw(part(&whole.param), part(&whole.grad), state, &STEP);
            assert!(whole.all() == before, "{setup}: the whole was changed");
            let expected = update.on(&setup.device, form, setup.dtype).run();
            assert_eq!(value(&got, &state), value(&expected.0, &expected.1)[256..768], "{setup}");
        }
    }
}

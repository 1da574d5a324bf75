//! AdamW with moments in f32, of f32 parameters and of shorter ones with a master.

use burn::tensor::{DType, Device, Tensor};
use uner_kernels::adamw::Moments;
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

    /// On buffers of its own; a parameter that is not f32 gets a master.
    fn on(&self, device: &Device, [param, grad]: [DType; 2]) -> Ready {
        let float = |tensor: &Tensor<1>| put(tensor, device, DType::F32);
        let moments = Moments::Float { exp_avg: float(&self.first), exp_avg_sq: float(&self.second) };
        let master = (param != DType::F32).then(|| float(&self.param));
        let state = AdamWState { master, moments };
        Ready { param: put(&self.param, device, param), grad: put(&self.grad, device, grad), state }
    }
}

struct Ready {
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
}

impl Ready {
    fn held(&self) -> Vec<Tensor<1>> {
        all(&self.param, &self.state).into_iter().chain([self.grad.clone()]).collect()
    }

    fn run(self) -> (Tensor<1>, AdamWState) {
        adamw(self.param, self.grad, self.state, &STEP)
    }
}

/// First and second moment.
fn moments(state: &AdamWState) -> [Tensor<1>; 2] {
    match &state.moments {
        Moments::Float { exp_avg, exp_avg_sq } => [exp_avg.clone(), exp_avg_sq.clone()],
        Moments::EightBit { .. } => panic!("moments became 8 bits"),
    }
}

fn all(param: &Tensor<1>, state: &AdamWState) -> Vec<Tensor<1>> {
    [param.clone()].into_iter().chain(moments(state)).chain(state.master.clone()).collect()
}

/// `types` are those of the parameter and the gradient.
fn assert_update(what: &str, update: &Update, setup: &Setup, types: [DType; 2]) {
    let (flex, device) = (Device::flex(), &setup.device);
    let rounded_grad = fetch(put(&update.grad, device, types[1]));
    let theirs = update.on(&flex, [DType::F32; 2]);
    let expected = uner_kernels::adamw::reference(theirs.param, rounded_grad, theirs.state, &STEP);

    let shared = update.on(device, types);
    let held = shared.held();
    // As numbers: the data of a tensor is read from a GPU only when it is looked at, here after the update.
    let before: Vec<_> = held.iter().map(values).collect();
    let (param, state) = shared.run();
    let after: Vec<_> = held.iter().map(values).collect();
    assert_eq!(before, after, "{what}: a tensor that is held elsewhere was changed");

    let alone = update.on(device, types).run();
    for (got, alone) in all(&param, &state).into_iter().zip(all(&alone.0, &alone.1)) {
        assert_eq!(got.into_data(), alone.into_data(), "{what}: in place and not differ");
    }
    assert_eq!(param.dtype(), types[0], "{what}: type of the parameter");
    // Moments and master are f32 whatever the types; the parameter is the master, rounded.
    let exact = cpu().tolerance.op;
    let master = state.master.as_ref().unwrap_or(&param);
    assert_eq!(state.master.is_some(), types[0] != DType::F32, "{what}: master");
    assert_eq!(put(master, device, types[0]).into_data(), param.to_data(), "{what}: not the master's");
    assert_close(&format!("{what}: parameter in f32"), master, &expected.0, exact);
    for (got, expected) in moments(&state).iter().zip(&moments(&expected.1)) {
        assert_close(&format!("{what}: moment"), got, expected, exact);
    }
}

/// On the CPU, too, parameters and gradients may be bf16.
#[test]
fn adamw_on_every_device() {
    for count in [1, 7, 63, 515, 288 * 33, 70_000] {
        let update = Update::random(count);
        for setup in setups(&TYPES) {
            for types in [[setup.dtype; 2], [setup.dtype, DType::F32], [DType::F32, setup.dtype]] {
                assert_update(&format!("adamw {count} {types:?} on {setup}"), &update, &setup, types);
            }
        }
        let cpu = &cpu();
        for types in [[DType::BF16; 2], [DType::BF16, DType::F32], [DType::F32, DType::BF16]] {
            assert_update(&format!("adamw {count} {types:?} on {cpu}"), &update, cpu, types);
        }
    }
}

/// As of a rank, which updates a part of each parameter.
#[test]
fn adamw_of_a_part_leaves_the_rest_alone() {
    for setup in devices() {
        let update = Update::random(1000);
        let part = |tensor: &Tensor<1>| tensor.clone().narrow(0, 256, 512);
        let whole = update.on(&setup.device, [setup.dtype; 2]);
        let before = values(&whole.param);
        let [exp_avg, exp_avg_sq] = moments(&whole.state).each_ref().map(part);
        let master = whole.state.master.as_ref().map(part);
        let state = AdamWState { master, moments: Moments::Float { exp_avg, exp_avg_sq } };
        let (got, _) = adamw(part(&whole.param), part(&whole.grad), state, &STEP);
        assert_eq!(values(&whole.param), before, "{setup}: the whole was changed");
        let (expected, _) = update.on(&setup.device, [setup.dtype; 2]).run();
        assert_eq!(values(&got), values(&expected)[256..768], "{setup}");
    }
}

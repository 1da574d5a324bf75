//! Several threads compute at the same time on tensors that other threads created. On a GPU each
//! has its own stream. Buffers are freed as soon as the next op is submitted. Results equal those
//! of a single thread bitwise.

use burn::tensor::{Device, Tensor};
use uner_kernels::{linear, rms_norm};

use super::{TYPES, random, values};
use crate::devices::setups;

const THREADS: usize = 4;
const ROUNDS: usize = 12;
const WIDTH: usize = 96;

/// Computes rounds of products and norms, each from the rows of the round before.
fn chain(x: &Tensor<2>, weights: &[Tensor<2>], scale: &Tensor<1>) -> Tensor<2> {
    let mut x = x.clone();
    for weight in weights.iter().cycle().take(ROUNDS) {
        x = rms_norm(linear(x.clone(), weight.clone()).add(x), scale.clone(), 1e-5);
    }
    x
}

#[test]
fn threads_do_not_disturb_each_other() {
    let make = |rows: usize| random([rows, WIDTH]);
    let (inputs, weights) =
        ((1..=THREADS).map(|index| make(33 * index)), [make(WIDTH), make(WIDTH), make(WIDTH)]);
    let inputs: Vec<_> = inputs.collect();
    let scale = Tensor::<1>::ones([WIDTH], &Device::flex());
    for setup in setups(&TYPES) {
        let weights: Vec<_> = weights.iter().map(|weight| setup.put(weight.clone())).collect();
        let inputs: Vec<_> = inputs.iter().map(|input| setup.put(input.clone())).collect();
        let scale = setup.put(scale.clone());
        let alone: Vec<_> =
            inputs.iter().map(|input| values(&chain(input, &weights, &scale))).collect();
        let beside: Vec<_> = std::thread::scope(|scope| {
            let start = |input| {
                let (weights, scale) = (&weights, &scale);
                scope.spawn(move || chain(input, weights, scale))
            };
            let threads: Vec<_> = inputs.iter().map(start).collect();
            // This thread reads the results, so its stream has to wait for theirs.
            threads.into_iter().map(|thread| values(&thread.join().expect("no panic"))).collect()
        });
        for (index, (alone, beside)) in alone.iter().zip(&beside).enumerate() {
            assert!(alone == beside, "{setup}: thread {index} got other bits than alone");
        }
    }
}

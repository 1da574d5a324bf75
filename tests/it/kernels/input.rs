//! Layers with a common input pass its gradient from one to the next. The final gradient equals the
//! sum that burn computes.

use burn::tensor::{DType, Tensor};
use uner_kernels::dropout::DropoutSite;
use uner_kernels::quantized_linear::QuantFormat;
use uner_kernels::{Input, QuantizedWeight, dropped_linear, linear, linear_sum, quantized_linear};

use super::dropout::keys;
use super::{assert_close, assert_same, differentiate, random};
use crate::devices::cpu;

const DRAW: DropoutSite = DropoutSite { layer_key: 7, probability: 0.25 };

#[test]
fn layers_that_read_one_input_on_every_device() {
    for [tokens, width, output] in
        [[1, 1, 1], [7, 33, 5], [65, 128, 16], [130, 72, 40], [70, 1032, 32]]
    {
        let small = (1.0 / width as f32).sqrt();
        let weight = || random([output, width]).mul_scalar(small);
        assert_same(
            &format!("one input {tokens} {width} {output}"),
            &[random([tokens, width]), weight(), weight(), weight()],
            &random([tokens, output]),
            |inputs, device| {
                let [x, first, second, narrow] = [0, 1, 2, 3].map(|index| inputs[index].clone());
                let x = Input::from(x);
                let narrow = dropped_linear(x.clone(), &keys(tokens, device), narrow, DRAW);
                linear(x.clone(), first).mul(linear(x, second)).add(narrow)
            },
            |inputs, device| {
                let [x, first, second, narrow] = [0, 1, 2, 3].map(|index| inputs[index].clone());
                let dropped =
                    uner_kernels::dropout::reference(x.clone(), &keys(tokens, device), DRAW);
                let product = uner_kernels::linear::reference(x.clone(), first)
                    .mul(uner_kernels::linear::reference(x, second));
                product.add(uner_kernels::linear::reference(dropped, narrow))
            },
        );
    }
}

/// The gradient equals the sum that burn computes when each layer has its own input.
#[test]
fn quantised_layers_and_those_with_sums_hand_it_on_too() {
    let (x, dy) = (random([9, 64]), random([9, 64]));
    let (quantized, weight) =
        (QuantizedWeight::new(random([64, 64]), QuantFormat::Int8), random([64, 64]));
    let sum = Tensor::<2>::zeros([64, 64], (&cpu().device, DType::F32)).autodiff().require_grad();
    let gradient = |split: fn(&Input) -> Input| {
        let outcome = differentiate(std::slice::from_ref(&x), &[true], &dy, |inputs| {
            let x = Input::from(inputs[0].clone());
            let product = linear_sum(split(&x), weight.clone().autodiff(), sum.clone());
            product.add(quantized_linear(split(&x), &quantized))
        });
        outcome.gradients[0].clone().unwrap()
    };
    let (together, apart) = (gradient(Input::clone), gradient(|x| x.tensor.clone().into()));
    assert_close("gradient of the input", &together, &apart, 1e-6);
}

/// If one of the layers is not differentiated, it has no gradient, rather than part of one.
#[test]
fn a_gradient_without_all_layers_is_none() {
    let x = random([2, 3]).autodiff().require_grad();
    let input = Input::from(x.clone());
    let (y, _unused) = (linear(input.clone(), random([4, 3])), linear(input, random([4, 3])));
    assert!(x.grad(&y.sum().backward()).is_none());
}

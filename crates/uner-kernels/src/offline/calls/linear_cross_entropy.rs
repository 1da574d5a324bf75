use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, call, name, over};
use crate::linear_cross_entropy::LinearCrossEntropyKernels;
use crate::offline::recorder::Recorder;

/// An output head of a model, and its number of trained rows.
#[derive(Clone, Copy)]
struct Head {
    hidden: usize,
    vocab: usize,
    trained: usize,
}

/// The output heads of the models (the large ones have more rows than a chunk), and one that no
/// vector divides.
const HEADS: [Head; 5] = [
    Head { hidden: 4096, vocab: 32_000, trained: 4096 },
    Head { hidden: 5120, vocab: 32_000, trained: 4096 },
    Head { hidden: 4096, vocab: 32_001, trained: 4096 },
    Head { hidden: 128, vocab: 1024, trained: 512 },
    Head { hidden: 7, vocab: 33, trained: 20 },
];

pub(super) fn calls() -> Vec<Call> {
    let forms = over(&HEADS);
    forms
        .map(|(dtype, head)| {
            let form = format!("{} hidden {} vocab {}", name(dtype), head.hidden, head.vocab);
            call(form, move |device| passes(device, dtype, head))
        })
        .collect()
}

fn passes(device: &Recorder, dtype: DType, head: Head) {
    let hidden = device.tensor([head.trained * 2, head.hidden], dtype);
    let weight = device.tensor([head.vocab, head.hidden], dtype);
    let ints = || device.tensor([head.trained], DType::I32);
    Cube::losses(hidden.clone(), weight.clone(), ints(), ints());
    for wanted in [[false, false], [true, false], [false, true], [true, true]] {
        let (loss, gradients) =
            Cube::loss_and_gradients(hidden.clone(), weight.clone(), ints(), ints(), wanted);
        for gradient in gradients.into_iter().flatten() {
            Cube::scale_gradient(gradient, loss.clone());
        }
    }
}

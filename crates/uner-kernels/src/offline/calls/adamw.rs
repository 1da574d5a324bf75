use burn::backend::Cube;
use burn::tensor::DType;

use super::{Call, call, name, over};
use crate::adamw::code::num_words;
use crate::adamw::{AdamWOps, AdamWStep, rest};

const STEP: AdamWStep = AdamWStep {
    lr: 1e-3,
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    step: 1,
    grad_scale: 1.0,
    key: 0,
    first: 0,
};
/// Elements of a parameter: those of a matrix, and a number that no vector divides.
const COUNTS: [usize; 2] = [4096 * 4096, 33 * 7];
/// The types of a parameter without a rest.
const ALONE: [DType; 2] = [DType::F32, DType::BF16];
/// The type of a parameter with a rest.
const SHORT: [DType; 1] = [DType::BF16];

/// Moments in f32 and in 8 bits, each type of gradient with each type of parameter, without a rest
/// and with one.
pub(super) fn calls() -> Vec<Call> {
    let forms = |params: &'static [DType]| {
        COUNTS.into_iter().flat_map(move |count| over(params).map(move |pair| (pair, count)))
    };
    let form = |what: &str, grad, param, count| {
        format!("{what}gradient {} parameter {} elements {count}", name(grad), name(param))
    };
    let own = forms(&ALONE).map(|((grad, param), count)| {
        call(form("", grad, param, count), move |device| {
            let float = |dtype| device.tensor([count], dtype);
            Cube::adamw(float(param), float(grad), float(DType::F32), float(DType::F32), STEP);
        })
    });
    let rest = forms(&SHORT).map(|((grad, param), count)| {
        call(form("rest, ", grad, param, count), move |device| {
            let float = |dtype| device.tensor([count], dtype);
            let (f32, rest) =
                (|| float(DType::F32), device.tensor([rest::num_words(count)], DType::I32));
            Cube::adamw_with_rest(float(param), rest, float(grad), f32(), f32(), STEP);
        })
    });
    let short = forms(&ALONE).map(|((grad, param), count)| {
        call(form("8 bits, ", grad, param, count), move |device| {
            let float = |dtype| device.tensor([count], dtype);
            let words = device.tensor([num_words(count)], DType::I32);
            Cube::adamw_8bit(float(param), float(grad), words, STEP);
        })
    });
    let short_rest = forms(&SHORT).map(|((grad, param), count)| {
        call(form("8 bits, rest, ", grad, param, count), move |device| {
            let float = |dtype| device.tensor([count], dtype);
            let [rest, words] = [rest::num_words(count), num_words(count)]
                .map(|words| device.tensor([words], DType::I32));
            Cube::adamw_8bit_with_rest(float(param), rest, float(grad), words, STEP);
        })
    });
    let parted = COUNTS.map(|count| {
        call(format!("parted, elements {count}"), move |device| {
            Cube::parted(device.tensor([count], DType::F32), DType::BF16);
        })
    });
    own.chain(rest).chain(short).chain(short_rest).chain(parted).collect()
}

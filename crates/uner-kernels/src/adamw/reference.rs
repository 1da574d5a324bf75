//! The update in burn operations, with stochastic rounding in ordinary arithmetic.

use burn::tensor::{DType, Tensor, TensorData, bf16};

use super::code::{Draws, GRANULE, GRANULE_WORDS, moments};
use super::{AdamWState, AdamWStep, Moments, rest};

/// Both moments of an update.
struct Pair {
    first: Tensor<1>,
    second: Tensor<1>,
}

/// See [`super::adamw`].
///
/// # Panics
/// When the device cannot be read.
pub fn reference(
    param: Tensor<1>,
    grad: Tensor<1>,
    state: AdamWState,
    step: &AdamWStep,
) -> (Tensor<1>, AdamWState) {
    let (dtype, device) = (param.dtype(), param.device());
    let has_rest = state.rest.is_some();
    let value = match state.rest {
        Some(words) => {
            let words: Vec<i32> = words.try_into_vec_as().expect("words that can be read back");
            floats(rest::joined(&host(&param), &words), &param)
        }
        None => param.cast(DType::F32),
    };
    let draws = Draws::new(step);
    let is_short = matches!(state.moments, Moments::EightBit { .. });
    let before = match state.moments {
        Moments::Float { exp_avg, exp_avg_sq } => Pair { first: exp_avg, second: exp_avg_sq },
        Moments::EightBit { words } => {
            let words: Vec<i32> = words.try_into_vec_as().expect("words that can be read back");
            let (first, second) = moments(&words, value.dims()[0]);
            let put = |values| floats(values, &value);
            Pair { first: put(first), second: put(second) }
        }
    };
    let (value, Pair { first, second }) = updated(value, grad, before, step);
    let moments = if is_short {
        let words = stored(&host(&first), &host(&second), draws);
        let words = TensorData::new(words.clone(), [words.len()]);
        Moments::EightBit { words: Tensor::from_data(words, (&device, DType::I32)) }
    } else {
        Moments::Float { exp_avg: first, exp_avg_sq: second }
    };
    if has_rest {
        let (params, words) = rest::parted(&host(&value));
        let param = floats(params, &value).cast(dtype);
        let words = TensorData::new(words.clone(), [words.len()]);
        let rest = Some(Tensor::from_data(words, (&device, DType::I32)));
        return (param, AdamWState { rest, moments });
    }
    if dtype == DType::F32 {
        return (value, AdamWState { rest: None, moments });
    }
    let values = host(&value).into_iter().zip(0..);
    let rounded = values.map(|(value, element)| by_chance(value, draws.of(element).value()));
    let param = floats(rounded.collect(), &value).cast(dtype);
    (param, AdamWState { rest: None, moments })
}

/// The update without rounding, in f32.
fn updated(value: Tensor<1>, grad: Tensor<1>, before: Pair, step: &AdamWStep) -> (Tensor<1>, Pair) {
    let grad = grad.cast(DType::F32).mul_scalar(step.grad_scale);
    let first = before.first.mul_scalar(step.beta1).add(grad.clone().mul_scalar(1.0 - step.beta1));
    // In this order, so that values before stochastic rounding equal the kernels' to the bit.
    let squares = grad.clone().mul_scalar(1.0 - step.beta2).mul(grad);
    let second = before.second.mul_scalar(step.beta2).add(squares);

    let correction1 = 1.0 - step.beta1.powi(step.step as i32);
    let correction2 = 1.0 - step.beta2.powi(step.step as i32);
    let denominator = second.clone().sqrt().div_scalar(correction2.sqrt()).add_scalar(step.eps);
    let update = first.clone().div(denominator).mul_scalar(step.lr / correction1);
    (value.mul_scalar(1.0 - step.lr * step.weight_decay).sub(update), Pair { first, second })
}

fn host(values: &Tensor<1>) -> Vec<f32> {
    values.clone().try_into_vec_as().expect("floats that can be read back")
}

fn floats(values: Vec<f32>, like: &Tensor<1>) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values, like.dims()), (&like.device(), DType::F32))
}

/// Rounds a finite value stochastically to one of its two bf16 neighbours: to the further one if
/// its fraction of the way there plus the random fraction reaches 1.
fn by_chance(value: f32, random: u32) -> f32 {
    let towards_zero = bf16::from_bits((value.to_bits() >> 16) as u16);
    let away = bf16::from_bits(towards_zero.to_bits() + 1);
    let near = f64::from(towards_zero.to_f32());
    let fraction = (f64::from(value) - near) / (f64::from(away.to_f32()) - near);
    if fraction + f64::from(random) / 65_536.0 >= 1.0 {
        away.to_f32()
    } else {
        towards_zero.to_f32()
    }
}

/// Packs moments into words.
fn stored(first: &[f32], second: &[f32], draws: Draws) -> Vec<i32> {
    let granules = first.chunks(GRANULE).zip(second.chunks(GRANULE)).zip((0u32..).step_by(GRANULE));
    granules
        .flat_map(|((first, second), start)| {
            pack_granule(first, second, draws.skip(start as usize))
        })
        .collect()
}

fn pack_granule(first: &[f32], second: &[f32], draws: Draws) -> [i32; GRANULE_WORDS] {
    let random =
        |bits: fn(super::code::Draw) -> f64| (0..).map(move |element| bits(draws.of(element)));
    let firsts: Vec<(f32, f64)> =
        first.iter().copied().zip(random(|draw| f64::from(draw.first()) / 1_048_576.0)).collect();
    let seconds: Vec<(f32, f64)> =
        second.iter().copied().zip(random(|draw| f64::from(draw.second()) / 1_048_576.0)).collect();
    let (first_top, second_top) = (top(&firsts), top(&seconds));
    let mut words = [0; GRANULE_WORDS];
    words[GRANULE_WORDS - 1] = (first_top | second_top << 16) as i32;
    for (element, &(value, random)) in firsts.iter().enumerate() {
        let code = magnitude_code(value, random, (first_top, 127), false);
        let sign = if code > 0 && value < 0.0 { 128 } else { 0 };
        words[element / 4] |= ((code | sign) << (8 * (element % 4))) as i32;
    }
    for (element, &(value, random)) in seconds.iter().enumerate() {
        let code = magnitude_code(value, random, (second_top, 255), true);
        words[GRANULE / 4 + element / 4] |= (code << (8 * (element % 4))) as i32;
    }
    words
}

/// The value of a level: 8 levels, in equal steps, double it.
fn level_value(level: u32) -> f64 {
    f64::from(8 + level % 8) / 8.0 * 2f64.powi((level / 8) as i32 - 127)
}

/// The level of one of a magnitude's two neighbours; 0 if the magnitude is not a normal number.
fn level(value: f32, random: f64) -> u32 {
    let magnitude = f64::from(value.abs());
    if magnitude < f64::from(f32::MIN_POSITIVE) {
        return 0;
    }
    let (mut low, mut high) = (8, 2040);
    while high - low > 1 {
        let middle = u32::midpoint(low, high);
        if level_value(middle) <= magnitude { low = middle } else { high = middle }
    }
    let fraction = (magnitude - level_value(low)) / (level_value(high) - level_value(low));
    if fraction + random >= 1.0 { high } else { low }
}

/// The largest level of a granule.
fn top(values: &[(f32, f64)]) -> u32 {
    values.iter().map(|(value, random)| level(*value, *random)).fold(8 + 255, u32::max)
}

/// The code of a magnitude, out of `codes` codes that count down from `top`.
fn magnitude_code(value: f32, random: f64, (top, codes): (u32, u32), never_zero: bool) -> u32 {
    let level = level(value, random);
    let last = level_value(top - codes + 1);
    let magnitude = f64::from(value.abs());
    if level == 0 {
        0
    } else if magnitude >= last {
        level - (top - codes)
    } else {
        u32::from(never_zero || magnitude > last * random)
    }
}

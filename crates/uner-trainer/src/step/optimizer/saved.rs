//! What the optimizer remembers as a checkpoint has it: whole, on the host.
//!
//! Moments in f32 are two tensors of a parameter's length. Those in 8 bits are one of bytes: their
//! words, block by block, the lowest byte first.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{DType, Device, Element, Int, Tensor, TensorData};
use uner_kernels::AdamWState;
use uner_kernels::adamw::{Moments, code, rest};

use crate::config::MomentFormat;
use crate::distributed::{Group, Shard};
use crate::error::TrainError;

/// The tensors of a state, by what comes before a parameter's name in files.
const FIRST: &str = "exp_avg.";
const SECOND: &str = "exp_avg_sq.";
const EIGHT_BIT: &str = "moments_8bit.";
pub(super) const MASTER: &str = "master.";

/// What there is of each parameter's moments.
pub(super) fn moment_kinds(form: MomentFormat) -> &'static [&'static str] {
    match form {
        MomentFormat::Float => &[FIRST, SECOND],
        MomentFormat::EightBit => &[EIGHT_BIT],
    }
}

/// A rank's share of one of these tensors.
pub(super) enum Part {
    Floats(Vec<f32>),
    Words(Vec<i32>),
}

/// This rank's share of a tensor of a state; nothing where it has none.
pub(super) fn share(state: Option<&AdamWState>, kind: &str) -> Part {
    let float = |values: Option<&Tensor<1>>| Part::Floats(values.map_or_else(Vec::new, host));
    let Some(AdamWState { moments, .. }) = state else {
        return if kind == EIGHT_BIT { Part::Words(Vec::new()) } else { float(None) };
    };
    match moments {
        Moments::Float { exp_avg, .. } if kind == FIRST => float(Some(exp_avg)),
        Moments::Float { exp_avg_sq, .. } => float(Some(exp_avg_sq)),
        Moments::EightBit { words } => Part::Words(
            words.clone().try_into_vec_as().expect("words that the device can give back"),
        ),
    }
}

/// This rank's share of the f32 values of a parameter, from that share of it and its rest; nothing
/// where it has none.
pub(super) fn master(param: &Tensor<1>, state: Option<&AdamWState>) -> Part {
    let Some(AdamWState { rest: Some(rest), .. }) = state else { return Part::Floats(Vec::new()) };
    let words: Vec<i32> =
        rest.clone().try_into_vec_as().expect("words that the device can give back");
    Part::Floats(rest::joined(&host(param), &words))
}

/// The whole of what each rank has a share of, on the first rank and where anybody has one. Every
/// rank has to call.
pub(super) fn gathered(part: Part, group: &Group) -> Result<Option<TensorData>, TrainError> {
    let values = match part {
        Part::Words(words) if group.is_single() => return Ok(filled(bytes(&words))),
        // Ranks exchange f32, in which whole numbers of 16 bits are exact.
        Part::Words(words) => {
            let halves = words.iter().flat_map(|word| [*word as u16, (*word >> 16) as u16]);
            let whole = group.all_gather_values(halves.map(f32::from).collect())?;
            let word = |half: &[f32]| half[0] as i32 | (half[1] as i32) << 16;
            let words = || whole.chunks_exact(2).map(word).collect::<Vec<i32>>();
            return Ok(group.is_main().then(|| bytes(&words())).and_then(filled));
        }
        Part::Floats(values) => group.all_gather_values(values)?,
    };
    Ok(group.is_main().then(|| listed(Arc::unwrap_or_clone(values))).and_then(filled))
}

/// Values, where there are any.
fn filled(values: TensorData) -> Option<TensorData> {
    (values.num_elements() > 0).then_some(values)
}

fn listed<T: Element>(values: Vec<T>) -> TensorData {
    let count = values.len();
    TensorData::new(values, [count])
}

fn bytes(words: &[i32]) -> TensorData {
    listed(words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())
}

/// A rank's share of the moments of a parameter; `None` where there are none.
pub(super) fn restored(
    whole: &mut BTreeMap<String, TensorData>,
    name: &str,
    form: MomentFormat,
    (share, device): (Shard, &Device),
) -> Result<Option<Moments>, String> {
    let mut take = |kind: &str, length: usize| {
        let Some(found) = whole.remove(&format!("{kind}{name}")) else { return Ok(None) };
        if found.num_elements() == length {
            return Ok(Some(found));
        }
        Err(format!("`{kind}{name}` has {} numbers, not {length}", found.num_elements()))
    };
    if form == MomentFormat::EightBit {
        let words = |elements: usize| code::num_words(elements);
        let Some(found) = take(EIGHT_BIT, words(share.count) * size_of::<i32>())? else {
            return Ok(None);
        };
        // Shares are whole blocks.
        let (start, count) = (words(share.start), words(share.len));
        let bytes = &found.as_bytes()[start * size_of::<i32>()..][..count * size_of::<i32>()];
        let own = TensorData::new::<i32, _>(bytemuck::pod_collect_to_vec(bytes), [count]);
        let words = Tensor::<1, Int>::from_data(own, (device, DType::I32));
        return Ok(Some(Moments::EightBit { words }));
    }
    match (take(FIRST, share.count)?, take(SECOND, share.count)?) {
        (Some(first), Some(second)) => {
            let own = |values: TensorData| {
                let values = values
                    .as_slice::<f32>()
                    .map_err(|_| format!("a moment of `{name}` is not f32"))?;
                Ok::<_, String>(on_device(TensorData::from(&values[share.range()]), device))
            };
            Ok(Some(Moments::Float { exp_avg: own(first)?, exp_avg_sq: own(second)? }))
        }
        (None, None) => Ok(None),
        _ => Err(format!("a moment of `{name}` is missing")),
    }
}

fn host(values: &Tensor<1>) -> Vec<f32> {
    values.clone().try_into_vec_as().expect("floats that the device can give back")
}

pub(super) fn on_device(values: TensorData, device: &Device) -> Tensor<1> {
    Tensor::from_data(values, (device, DType::F32))
}

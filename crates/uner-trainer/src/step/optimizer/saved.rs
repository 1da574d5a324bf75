//! The optimizer's state in a checkpoint: gathered, on the host.
//!
//! The f32 moments of a parameter are two tensors of its length. 8-bit moments are one tensor of
//! bytes: their words, granule by granule, in little-endian order.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{DType, Device, Element, Int, Tensor, TensorData};
use uner_kernels::AdamWState;
use uner_kernels::adamw::{Moments, code, rest};

use crate::config::MomentFormat;
use crate::distributed::{Group, Shard};
use crate::error::TrainError;

/// Name prefixes of the tensors of a state; the parameter's name follows.
const FIRST: &str = "exp_avg.";
const SECOND: &str = "exp_avg_sq.";
const EIGHT_BIT: &str = "moments_8bit.";
pub(super) const MASTER: &str = "master.";

/// The name prefixes of a parameter's moments.
pub(super) fn moment_kinds(form: MomentFormat) -> &'static [&'static str] {
    match form {
        MomentFormat::Float => &[FIRST, SECOND],
        MomentFormat::EightBit => &[EIGHT_BIT],
    }
}

/// A rank's shard of one of these tensors.
pub(super) enum Part {
    Floats(Vec<f32>),
    Words(Vec<i32>),
}

/// This rank's shard of a tensor of a state; empty if it has none.
pub(super) fn local_shard(state: Option<&AdamWState>, kind: &str) -> Part {
    let float = |values: Option<&Tensor<1>>| Part::Floats(values.map_or_else(Vec::new, host));
    let Some(AdamWState { moments, .. }) = state else {
        return if kind == EIGHT_BIT { Part::Words(Vec::new()) } else { float(None) };
    };
    match moments {
        Moments::Float { exp_avg, .. } if kind == FIRST => float(Some(exp_avg)),
        Moments::Float { exp_avg_sq, .. } => float(Some(exp_avg_sq)),
        Moments::EightBit { words } => {
            Part::Words(words.clone().try_into_vec_as().expect("words that the device stores"))
        }
    }
}

/// This rank's shard of a parameter's f32 master: parameter plus rest. Empty without a master.
pub(super) fn master(param: &Tensor<1>, state: Option<&AdamWState>) -> Part {
    let Some(AdamWState { rest: Some(rest), .. }) = state else { return Part::Floats(Vec::new()) };
    let words: Vec<i32> = rest.clone().try_into_vec_as().expect("words that the device stores");
    Part::Floats(rest::joined(&host(param), &words))
}

/// Gathers the ranks' shards of a tensor on rank 0; `None` on other ranks, and if all are empty.
/// Every rank has to call.
pub(super) fn gathered(part: Part, group: &Group) -> Result<Option<TensorData>, TrainError> {
    let values = match part {
        Part::Words(words) if group.is_single() => return Ok(filled(bytes(&words))),
        // Ranks exchange f32, which represents integers of 16 bits exactly.
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

/// The values, or `None` if they are empty.
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

/// A rank's shard of a parameter's moments; `None` if the checkpoint has none.
pub(super) fn restored(
    whole: &mut BTreeMap<String, TensorData>,
    name: &str,
    form: MomentFormat,
    (shard, device): (Shard, &Device),
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
        let Some(found) = take(EIGHT_BIT, words(shard.count) * size_of::<i32>())? else {
            return Ok(None);
        };
        // A shard consists of whole granules.
        let (start, count) = (words(shard.start), words(shard.len));
        let bytes = &found.as_bytes()[start * size_of::<i32>()..][..count * size_of::<i32>()];
        let own = TensorData::new::<i32, _>(bytemuck::pod_collect_to_vec(bytes), [count]);
        let words = Tensor::<1, Int>::from_data(own, (device, DType::I32));
        return Ok(Some(Moments::EightBit { words }));
    }
    match (take(FIRST, shard.count)?, take(SECOND, shard.count)?) {
        (Some(first), Some(second)) => {
            let own = |values: TensorData| {
                let values = values
                    .as_slice::<f32>()
                    .map_err(|_| format!("a moment of `{name}` is not f32"))?;
                Ok::<_, String>(on_device(TensorData::from(&values[shard.range()]), device))
            };
            Ok(Some(Moments::Float { exp_avg: own(first)?, exp_avg_sq: own(second)? }))
        }
        (None, None) => Ok(None),
        _ => Err(format!("a moment of `{name}` is missing")),
    }
}

fn host(values: &Tensor<1>) -> Vec<f32> {
    values.clone().try_into_vec_as().expect("floats that the device stores")
}

pub(super) fn on_device(values: TensorData, device: &Device) -> Tensor<1> {
    Tensor::from_data(values, (device, DType::F32))
}

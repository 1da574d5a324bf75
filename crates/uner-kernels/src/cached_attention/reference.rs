//! Attention to a cache in burn operations: every sequence by itself.

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::{CacheLayout, Sequence};
use crate::attention::{self, Visibility};

/// See [`super::cached_attention`].
pub fn reference(
    q: &Tensor<3>,
    keys: &Tensor<3>,
    values: &Tensor<3>,
    layout: &CacheLayout,
) -> Tensor<3> {
    let device = q.device();
    let of_sequence = |(sequence, first): (&Sequence, usize)| {
        let slots: Vec<usize> = sequence.slots().collect();
        let visibility = Visibility::causal(1, slots.len(), &device);
        let slots = index(&slots, &device);
        let [q, k, v] = [
            q.clone().narrow(0, first, sequence.new),
            keys.clone().select(0, slots.clone()),
            values.clone().select(0, slots),
        ];
        attention::reference(
            q.unsqueeze::<4>(),
            k.unsqueeze::<4>(),
            v.unsqueeze::<4>(),
            &visibility,
        )
        .squeeze_dim(0)
    };
    Tensor::cat(layout.with_first().map(of_sequence).collect(), 0)
}

/// See [`super::store_rows`].
pub fn reference_store(cache: Tensor<3>, rows: Tensor<3>, layout: &CacheLayout) -> Tensor<3> {
    let slots = index(layout.new_slots(), &cache.device());
    let old = cache.clone().select(0, slots.clone());
    cache.select_assign(0, slots, rows - old, IndexingUpdateOp::Add)
}

fn index(slots: &[usize], device: &Device) -> Tensor<1, Int> {
    let slots: Vec<i32> = slots.iter().map(|&slot| slot as i32).collect();
    Tensor::from_data(TensorData::new(slots.clone(), [slots.len()]), device)
}

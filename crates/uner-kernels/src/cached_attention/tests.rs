//! On the emulator, the paged kernel equals the reference and accesses only its own memory.
//!
//! Tolerance: 2 units in the last digit of bf16, as for attention: weights and output are rounded.

use std::ops::Range;

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};

use super::tables::Tables;
use super::{CacheLayout, Sequence, reference};
use crate::attention::mma;
use crate::offline::emulator::Emulator;
use crate::offline::recorder::Card;

/// Slots of the cache.
const SLOTS: usize = 600;

/// Two passages with questions, of which one is new, and prompts that share nothing.
fn layout() -> CacheLayout {
    let sequence = |shared: &[Range<usize>], own: &[Range<usize>], new| Sequence {
        shared: shared.to_vec(),
        own: own.to_vec(),
        new,
    };
    let (old, new) = ([7..9, 100..150], [30..63]);
    let mut sequences = vec![
        sequence(&new, &[], 33),
        sequence(&[], &[64..97], 33),
        sequence(&[300..305], &[], 1),
        sequence(&[], &[98..99], 1),
    ];
    for question in 0..5 {
        let start = 400 + question * 20;
        sequences.push(sequence(&old, &[start..start + 3, start + 5..start + 9], 1));
        sequences.push(sequence(&new, &[start + 10..start + 20], 10));
    }
    CacheLayout::new(sequences)
}

fn random(shape: [usize; 3]) -> TensorData {
    let tensor = Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
    tensor.into_data().convert_dtype(DType::BF16)
}

#[test]
fn attention_to_slots_equals_the_reference() {
    let Some(mut emulator) = Emulator::open(Card::Hopper) else { return };
    let layout = layout();
    for (order, [heads, kv_heads, head_dim]) in
        [[4, 2, 16], [2, 2, 64], [1, 1, 128]].into_iter().enumerate()
    {
        emulator.order = order as u32;
        let q = random([layout.tokens(), heads, head_dim]);
        let [keys, values] = [(); 2].map(|()| random([SLOTS, kv_heads, head_dim]));
        let [on_q, on_keys, on_values] = [&q, &keys, &values].map(|data| emulator.put(data));
        let tables = Tables::new(&layout, |numbers| {
            let numbers: Vec<i32> = numbers.iter().map(|&number| number as i32).collect();
            emulator.put(&TensorData::new(numbers.clone(), [numbers.len()]))
        });
        let run = || mma::cached_attention(&on_q, [&on_keys, &on_values], &tables.places);
        let y = emulator.run(run).unwrap_or_else(|error| panic!("{head_dim}: {error}"));
        let got = emulator.fetch(&y);
        let on_cpu = |data: TensorData| {
            Tensor::<3>::from_data(data.convert_dtype(DType::F32), &Device::flex())
        };
        let [q, keys, values] = [q, keys, values].map(on_cpu);
        let expected = reference(&q, &keys, &values, &layout).into_data();
        for (index, (got, expected)) in got.iter::<f32>().zip(expected.iter::<f32>()).enumerate() {
            let off = (got - expected).abs() / 2f32.powi(-8) / expected.abs().max(1.0);
            assert!(off <= 2.0, "{head_dim}: element {index} is {got}, not {expected}");
        }
    }
}

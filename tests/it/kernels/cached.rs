//! Attention to a cache, and writing to it.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use uner_kernels::cached_attention::{CacheLayout, Sequence, reference_store};
use uner_kernels::{cached_attention, store_rows};

use super::{TYPES, assert_close, random, values};
use crate::devices::{fetch, setups};

fn ranges(slots: &[(usize, usize)]) -> Vec<Range<usize>> {
    slots.iter().map(|&(start, end)| start..end).collect()
}

/// Sequences that share tokens of a cache of 40 slots: one is new from its first token, one has a
/// single new token, two have several, one of them in two ranges; a shared beginning is new.
fn sequences() -> Vec<Sequence> {
    let sequence = |shared: &[(usize, usize)], own: &[(usize, usize)], new| Sequence {
        shared: ranges(shared),
        own: ranges(own),
        new,
    };
    vec![
        sequence(&[(33, 35), (36, 39)], &[], 3),
        sequence(&[], &[(20, 33)], 13),
        sequence(&[(2, 9)], &[(12, 13)], 1),
        sequence(&[(2, 9)], &[(9, 12), (39, 40)], 3),
        sequence(&[(33, 35), (36, 39)], &[(35, 36)], 1),
        sequence(&[(2, 9)], &[(13, 16)], 3),
        sequence(&[], &[(0, 1)], 1),
    ]
}

/// A new sequence in each slot.
fn in_slots(slots: &[usize]) -> CacheLayout {
    let alone =
        |&slot: &usize| Sequence { own: ranges(&[(slot, slot + 1)]), new: 1, ..Default::default() };
    CacheLayout::new(slots.iter().map(alone).collect())
}

#[test]
fn cached_attention_on_every_device() {
    let layout = CacheLayout::new(sequences());
    for [heads, kv_heads, head_dim] in [[1, 1, 8], [4, 2, 24], [6, 2, 64], [3, 1, 128]] {
        let q = random([layout.tokens(), heads, head_dim]);
        let [keys, cached] = std::array::from_fn(|_| random([40, kv_heads, head_dim]));
        for setup in setups(&TYPES) {
            let what = format!("cached_attention {heads}/{kv_heads}x{head_dim} on {setup}");
            let on = |tensor: &Tensor<3>| {
                Tensor::<3>::from_data(tensor.to_data(), (&setup.device, setup.dtype))
            };
            let [q, keys, cached] = [&q, &keys, &cached].map(on);
            let [f, g, h] = [&q, &keys, &cached].map(|tensor| fetch(tensor.clone()));
            let expected = uner_kernels::cached_attention::reference(&f, &g, &h, &layout);
            let run = || cached_attention(q.clone(), keys.clone(), cached.clone(), &layout);
            let got = run();
            assert_close(&what, &got, &expected, setup.tolerance.op);
            assert_eq!(values(&run()), values(&got), "{what}: a second run differs");
        }
    }
}

/// The output of a sequence has the same bits alone and beside others.
#[test]
fn a_sequence_does_not_see_the_others_of_a_call() {
    let [heads, kv_heads, head_dim] = [6, 2, 64];
    let layout = CacheLayout::new(sequences());
    let q = random([layout.tokens(), heads, head_dim]);
    let [keys, cached] = std::array::from_fn(|_| random([40, kv_heads, head_dim]));
    let all = cached_attention(q.clone(), keys.clone(), cached.clone(), &layout);
    let mut first = 0;
    for sequence in sequences() {
        let new = sequence.new;
        let alone = CacheLayout::new(vec![sequence]);
        let q = q.clone().narrow(0, first, new);
        let got = cached_attention(q, keys.clone(), cached.clone(), &alone);
        assert_eq!(values(&got), values(&all.clone().narrow(0, first, new)));
        first += new;
    }
}

#[test]
fn rows_are_stored_on_every_device() {
    for setup in setups(&TYPES) {
        for [slots, kv_heads, head_dim] in [[9, 1, 3], [40, 3, 64]] {
            let what = format!("store_rows {slots} {kv_heads}x{head_dim} on {setup}");
            let on = |tensor: Tensor<3>| {
                Tensor::<3>::from_data(tensor.to_data(), (&setup.device, setup.dtype))
            };
            let (cache, rows) =
                (on(random([slots, kv_heads, head_dim])), on(random([4, kv_heads, head_dim])));
            let before = values(&cache);
            let at = in_slots(&[7, 0, 3, 8]);
            let expected = reference_store(fetch(cache.clone()), fetch(rows.clone()), &at);
            let got = store_rows(cache.clone(), rows.clone(), &at);
            // The reference adds a difference, which rounds.
            assert_close(&what, &got, &expected, 1e-6);
            assert_eq!(values(&cache), before, "{what}: a shared cache was changed");
            assert_eq!(got.dtype(), cache.dtype());
            let again = store_rows(cache, rows, &at);
            assert_eq!(values(&again), values(&got), "{what}: in place");
        }
    }
}

#[test]
fn misfits_are_refused() {
    let cache = random([4, 1, 2]);
    let refused = |work: &dyn Fn()| super::refusal(work);
    let rows = random([1, 1, 2]);
    assert!(
        refused(&|| drop(store_rows(cache.clone(), rows.clone(), &in_slots(&[4]))))
            .contains("slot 5 of 4")
    );
    let of = |shared: &[(usize, usize)], own: &[(usize, usize)], new| {
        CacheLayout::new(vec![Sequence { shared: ranges(shared), own: ranges(own), new }])
    };
    let layout = of(&[], &[(3, 5)], 1);
    let attend = || drop(cached_attention(rows.clone(), cache.clone(), cache.clone(), &layout));
    assert!(refused(&attend).contains("slot 5 of 4"));
    assert!(refused(&|| drop(of(&[(0, 2)], &[], 3))).contains("3 new tokens of 2"));
    assert!(refused(&|| drop(of(&[(0, 2)], &[(3, 4)], 2))).contains("only 1 of its own"));
    assert_eq!(store_rows(cache.clone(), random([0, 1, 2]), &in_slots(&[])).dtype(), DType::F32);
}

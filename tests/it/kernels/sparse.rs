//! Some entries of a product.

use burn::tensor::{DType, Tensor};
use uner_kernels::sparse_linear;

use super::{TYPES, assert_close, random, refusal, values};
use crate::devices::{cpu, fetch, setups};

/// Entries in no order, some twice.
fn entries(tokens: usize, outputs: usize, count: usize) -> Vec<(usize, usize)> {
    (0..count).map(|index| (index * 7 % tokens, index * index * 5 % outputs)).collect()
}

#[test]
fn sparse_linear_on_every_device() {
    let (all, cpu) = (setups(&TYPES), cpu());
    for [tokens, input, output, count] in
        [[1, 1, 1, 1], [5, 33, 70, 40], [3, 288, 300, 700], [2, 1025, 9, 5]]
    {
        let entries = entries(tokens, output, count);
        let (x, weight) = (random([tokens, input]), random([output, input]));
        for (setup, dtype) in
            all.iter().map(|setup| (setup, setup.dtype)).chain([(&cpu, DType::BF16)])
        {
            let what = format!("sparse_linear {tokens} {input} {output} {dtype:?} on {setup}");
            let on = |tensor: &Tensor<2>, dtype| {
                Tensor::<2>::from_data(tensor.to_data(), (&setup.device, dtype))
            };
            let (x, weight) = (on(&x, setup.dtype), on(&weight, dtype));
            let expected = uner_kernels::sparse_linear::reference(
                &fetch(x.clone()),
                &fetch(weight.clone()),
                &entries,
            );
            let got = sparse_linear(x, weight, entries.clone().into());
            assert_close(&what, &got, &expected, setup.tolerance.op);
        }
    }
}

/// An entry has the same bits alone and beside others.
#[test]
fn an_entry_does_not_depend_on_the_others() {
    let (x, weight) = (random([9, 130]), random([70, 130]));
    let entries = entries(9, 70, 50);
    let all = values(&sparse_linear(x.clone(), weight.clone(), entries.clone().into()));
    for (entry, expected) in entries.into_iter().zip(all) {
        let row = x.clone().narrow(0, entry.0, 1);
        let alone = sparse_linear(row, weight.clone(), vec![(0, entry.1)].into());
        assert_eq!(values(&alone), [expected]);
    }
}

#[test]
fn entries_outside_are_refused() {
    let run = || drop(sparse_linear(random([2, 3]), random([4, 3]), vec![(0, 4)].into()));
    assert!(refusal(run).contains("outside 2 × 4"));
}

//! Dropout: the kernel drops the same elements as its reference, at the right rate, and others in
//! every layer.

use burn::tensor::{Device, Int, Tensor, TensorData};
use uner_kernels::dropout::DropoutSite;
use uner_kernels::{dropout, dropped_linear};

use super::{assert_same, random};
use crate::devices::{cpu, devices};

/// Keys that use all bits, including the sign.
pub(super) fn keys(rows: usize, device: &Device) -> Tensor<1, Int> {
    let keys: Vec<i32> = (0..rows as i32).map(|row| row.wrapping_mul(0x5851_F42D)).collect();
    Tensor::from_data(TensorData::new(keys, [rows]), device)
}

#[test]
fn dropout_on_every_device() {
    for [rows, columns] in [[1, 1], [7, 33], [33, 6], [65, 515], [3, 4096]] {
        for (layer_key, probability) in [(0, 0.1), (0xFFFF_0001, 0.5), (3, 0.0)] {
            let site = DropoutSite { layer_key, probability };
            assert_same(
                &format!("dropout {rows} {columns} {probability}"),
                &[random([rows, columns])],
                &random([rows, columns]),
                |inputs, device| dropout(inputs[0].clone(), &keys(rows, device), site),
                |inputs, device| {
                    uner_kernels::dropout::reference(inputs[0].clone(), &keys(rows, device), site)
                },
            );
        }
    }
}

#[test]
fn a_linear_layer_behind_dropout_on_every_device() {
    for [rows, input, output] in [[1, 1, 1], [7, 33, 5], [65, 128, 16], [130, 72, 40]] {
        let site = DropoutSite { layer_key: 5, probability: 0.25 };
        // With this scale results are about 1.
        let small = (1.0 / input as f32).sqrt();
        let weight = random([output, input]).mul_scalar(small);
        assert_same(
            &format!("dropped linear {rows} {input} {output}"),
            &[random([rows, input]), weight],
            &random([rows, output]),
            |inputs, device| {
                dropped_linear(inputs[0].clone(), &keys(rows, device), inputs[1].clone(), site)
            },
            |inputs, device| {
                let x =
                    uner_kernels::dropout::reference(inputs[0].clone(), &keys(rows, device), site);
                uner_kernels::linear::reference(x, inputs[1].clone())
            },
        );
    }
}

/// Whether each element is kept.
fn kept(site: DropoutSite, [rows, columns]: [usize; 2]) -> Vec<bool> {
    let device = cpu().device;
    let y: Vec<f32> = dropout(Tensor::ones([rows, columns], &device), &keys(rows, &device), site)
        .try_into_vec_as()
        .unwrap();
    let scale = (1.0 / (1.0 - site.probability)) as f32;
    assert!(y.iter().all(|y| *y == 0.0 || *y == scale), "other factors than 0 and {scale}");
    y.into_iter().map(|y| y != 0.0).collect()
}

#[test]
fn as_many_are_dropped_as_should_be_and_places_are_independent() {
    let size = [400, 1000];
    let count = (size[0] * size[1]) as f64;
    for probability in [0.05, 0.3] {
        let share = |agree: &dyn Fn(bool, bool) -> bool, a: &[bool], b: &[bool]| {
            a.iter().zip(b).filter(|(a, b)| agree(**a, **b)).count() as f64 / count
        };
        let first = kept(DropoutSite { layer_key: 1, probability }, size);
        let second = kept(DropoutSite { layer_key: 2, probability }, size);
        // Six standard deviations of a binomial share.
        let allowed = |share: f64| 6.0 * (share * (1.0 - share) / count).sqrt();
        let dropped = share(&|a, _| !a, &first, &first);
        assert!((dropped - probability).abs() < allowed(probability), "{dropped} of {probability}");
        let both = share(&|a, b| !a && !b, &first, &second);
        let expected = probability * probability;
        assert!((both - expected).abs() < allowed(expected), "{both} of {expected} in both places");
        // Neighbours in a row and in consecutive rows.
        for distance in [1, size[1]] {
            let both = share(&|a, b| !a && !b, &first, &first[distance..]);
            assert!(
                (both - expected).abs() < 2.0 * allowed(expected) + 0.003,
                "{both} at a distance of {distance}"
            );
        }
    }
}

#[test]
fn every_device_drops_the_same() {
    let site = DropoutSite { layer_key: 9, probability: 0.25 };
    let expected = kept(site, [65, 72]);
    for setup in devices() {
        let ones = Tensor::<2>::ones([65, 72], &setup.device);
        let y: Vec<f32> = dropout(ones, &keys(65, &setup.device), site).try_into_vec_as().unwrap();
        let got: Vec<bool> = y.into_iter().map(|y| y != 0.0).collect();
        assert!(got == expected, "{setup}");
    }
}

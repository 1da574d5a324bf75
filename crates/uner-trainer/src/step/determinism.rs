//! Check of determinism: two computations of a step have bitwise the same loss and gradients.

use burn::tensor::{Tensor, TensorData};

use super::gradients::Gradients;
use crate::report::Difference;

/// Compares the gradients of two computations bitwise, in the order of their names. Reads all of
/// them from the device.
///
/// # Panics
/// When the device cannot be read.
pub fn differences(first: &Gradients, second: &Gradients) -> Vec<Difference> {
    let absent = |other: &Gradients, name: &str| other.get(name).is_none();
    let only_once = |one: &Gradients, other: &Gradients| -> Vec<Difference> {
        let missing = one.iter().filter(|(name, _)| absent(other, name));
        missing
            .map(|(name, gradient)| {
                let count = gradient.dims()[0];
                Difference { name: name.to_owned(), differing: count, count, largest: f32::NAN }
            })
            .collect()
    };
    let mut found = only_once(first, second);
    found.extend(only_once(second, first));
    for (name, gradient) in first.iter() {
        if let Some(other) = second.get(name) {
            found.extend(difference(name, gradient, other));
        }
    }
    found
}

/// Compares two losses.
pub(crate) fn loss_difference(first: f64, second: f64) -> Option<Difference> {
    (first.to_bits() != second.to_bits()).then(|| Difference {
        name: "loss".to_owned(),
        differing: 1,
        count: 1,
        largest: (first - second).abs() as f32,
    })
}

fn difference(name: &str, first: &Tensor<1>, second: &Tensor<1>) -> Option<Difference> {
    let (first, second) = (first.clone().into_data(), second.clone().into_data());
    if first.as_bytes() == second.as_bytes() {
        return None;
    }
    let values = |data: TensorData| data.try_into_vec_as::<f32>().expect("gradients are floats");
    let pairs: Vec<(f32, f32)> = values(first).into_iter().zip(values(second)).collect();
    let differing = pairs.iter().filter(|(a, b)| a.to_bits() != b.to_bits());
    let distances: Vec<f32> = differing.map(|(a, b)| (a - b).abs()).collect();
    let larger = |a: f32, b: &f32| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(*b) };
    Some(Difference {
        name: name.to_owned(),
        differing: distances.len(),
        count: pairs.len(),
        largest: distances.iter().fold(0.0, larger),
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn gradients(values: &[(&str, [f32; 3])]) -> Gradients {
        let mut gradients = Gradients::default();
        for (name, values) in values {
            gradients.add(
                name,
                Tensor::from_data(TensorData::new(values.to_vec(), [3]), &Device::flex()),
            );
        }
        gradients
    }

    #[test]
    fn a_planted_difference_is_found_and_named() {
        let first = gradients(&[("a", [1.0, 2.0, f32::NAN]), ("b", [0.0, 1.0, 2.0])]);
        assert!(
            differences(&first, &gradients(&[("a", [1.0, 2.0, f32::NAN]), ("b", [0.0, 1.0, 2.0])]))
                .is_empty()
        );
        // The next float, and a zero of the other sign.
        let second = gradients(&[("a", [1.0, 2.0, f32::NAN]), ("b", [-0.0, 1.000_000_1, 2.0])]);
        let found = differences(&first, &second);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].differing, found[0].count), ("b", 2, 3));
        assert_eq!(found[0].largest, 1.192_092_9e-7);
        assert_eq!(found[0].to_string(), "`b`: 2 of 3 numbers, by at most 1.1920929e-7");
    }

    #[test]
    fn a_gradient_that_is_missing_is_a_difference() {
        let (both, one) =
            (gradients(&[("a", [1.0; 3]), ("b", [1.0; 3])]), gradients(&[("a", [1.0; 3])]));
        assert_eq!(differences(&both, &one)[0].name, "b");
        assert_eq!(differences(&one, &both)[0].name, "b");
    }

    #[test]
    fn losses_are_compared_bitwise() {
        assert_eq!(loss_difference(1.0, 1.0), None);
        assert_eq!(loss_difference(1.0, 1.5).unwrap().largest, 0.5);
    }
}

//! Dropout in burn operations: multiplies by a mask that the host builds.

use burn::tensor::{Int, Tensor, TensorData};

use super::{DropoutSite, start};
use crate::hash::nth;

/// See [`super::dropout`].
///
/// # Panics
/// When the keys cannot be read back.
pub fn reference(x: Tensor<2>, keys: &Tensor<1, Int>, site: DropoutSite) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let keys: Vec<i32> = keys.clone().try_into_vec_as().expect("keys that can be read back");
    let is_kept =
        |key: i32, column: u32| nth(start(key, site.layer_key), column) >= site.threshold();
    let mask: Vec<f32> = keys
        .into_iter()
        .flat_map(|key| {
            (0..columns as u32)
                .map(move |column| if is_kept(key, column) { site.scale() } else { 0.0 })
        })
        .collect();
    let mask = Tensor::<2>::from_data(TensorData::new(mask, [rows, columns]), &x.device());
    let dtype = x.dtype();
    x.mul(mask.cast(dtype))
}

//! The parameters of a module, by name.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use uner_model::parameters::visit;

use crate::distributed::Group;

/// This rank's shards, `[shard]`, of the parameters with `wanted` names.
pub(super) fn shards(
    module: &impl Module,
    wanted: impl Fn(&str) -> bool,
    group: &Group,
) -> Vec<(String, Tensor<1>)> {
    let mut shards = Vec::new();
    visit(module, "", |parameter| {
        if wanted(&parameter.name) {
            let shard = group.shard(parameter.values.dims()[0]).of(parameter.values);
            shards.push((parameter.name, shard));
        }
    });
    shards
}

/// Passes the parameters with `wanted` names to `show`: name, shape and values, `[n]`, on the host.
pub(super) fn read(
    module: &impl Module,
    wanted: impl Fn(&str) -> bool,
    mut show: impl FnMut(String, Vec<usize>, TensorData),
) {
    visit(module, "", |parameter| {
        if wanted(&parameter.name) {
            show(parameter.name, parameter.shape, parameter.values.into_data());
        }
    });
}

//! The update on several ranks: the all-gather of new values overlaps with the next updates.

use std::collections::VecDeque;

use burn::module::Module;
use uner_model::parameters::{Parameter, map, visit};

use super::{AdamW, Update};
use crate::config::TrainConfig;
use crate::distributed::{Group, Pending};
use crate::error::TrainError;
use crate::step::gradients::Gradients;

/// The most all-gathers in flight, each with new values in memory beside the old ones.
const AHEAD: usize = 2;

/// See [`AdamW::step`].
pub(super) fn step<M: Module>(
    optimizer: &mut AdamW,
    model: M,
    mut gradients: Gradients,
    config: &TrainConfig,
    update: Update,
    group: &Group,
) -> Result<M, TrainError> {
    // In the order in which `map` replaces the parameters.
    let mut queue = VecDeque::new();
    visit(&model, "", |parameter| {
        if let Some(gradient) = gradients.take(&parameter.name) {
            queue.push_back((parameter, gradient));
        }
    });
    let mut start = || -> Result<Option<(String, Pending)>, TrainError> {
        let Some((Parameter { name, shape, values }, gradient)) = queue.pop_front() else {
            return Ok(None);
        };
        let shard = group.shard(values.dims()[0]);
        let scalars = update.of((&name, &shape), shard.start, config);
        let updated = optimizer.update(&name, shard.of(values), gradient, &scalars);
        Ok(Some((name, group.start_all_gather(vec![(updated, shard.count)])?)))
    };
    let (mut in_flight, mut failure) = (VecDeque::new(), None);
    let model = map(model, "", |name, _, values| {
        while failure.is_none() && in_flight.len() < AHEAD {
            match start() {
                Ok(Some(started)) => in_flight.push_back(started),
                Ok(None) => break,
                Err(error) => failure = Some(error),
            }
        }
        let next = in_flight.pop_front_if(|(next, _)| next == name);
        next.map_or(values, |(_, pending)| pending.wait().remove(0))
    });
    failure.map_or(Ok(model), Err)
}

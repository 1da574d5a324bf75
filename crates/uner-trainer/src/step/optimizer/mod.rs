//! AdamW over a whole model, with its state by checkpoint name. A rank updates its shard of every
//! parameter.

mod ahead;
mod saved;

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData};
use uner_kernels::adamw::{Moments, code, parted};
use uner_kernels::{AdamWState, AdamWStep, adamw};
use uner_model::parameters::{map, trained};

use self::saved::{MASTER, local_shard, master, moment_kinds, on_device, restored};
use crate::config::MomentFormat;
use crate::config::TrainConfig;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::step::gradients::Gradients;
use crate::step::precision::Precision;
use crate::step::trainable::Trainable;

/// First and second moment of this rank's shard of every parameter, and, for a bf16 parameter with
/// an f32 master, the [rest](uner_kernels::adamw::rest) that completes it to its master.
#[derive(Debug, Default)]
pub struct AdamW {
    states: BTreeMap<String, AdamWState>,
    precision: Precision,
}

/// The scalars that change from update to update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Learning rate.
    pub lr: f64,
    /// Number of the update, from 1.
    pub step: u64,
    /// Factor on the gradients: 1 / trained tokens × clip factor.
    pub grad_scale: f64,
}

impl Update {
    /// The scalars for a parameter of this name and shape, from its element `first` on. Weight
    /// decay applies to matrices only, not to norms and other vectors.
    pub(crate) fn of(
        self,
        (name, shape): (&str, &[usize]),
        first: usize,
        config: &TrainConfig,
    ) -> AdamWStep {
        let TrainConfig { beta1, beta2, eps, .. } = *config;
        let weight_decay = if shape.len() > 1 { config.weight_decay } else { 0.0 };
        let Self { lr, step, grad_scale } = self;
        let key = crc32fast::hash(name.as_bytes());
        AdamWStep { lr, beta1, beta2, eps, weight_decay, step, grad_scale, key, first }
    }
}

impl AdamW {
    /// The state at the start of a run, and the model in the type in which it is trained. Masters,
    /// if any, are the model's unrounded values.
    pub fn new<M: Module>(model: M, precision: Precision, group: &Group) -> (M, Self) {
        let mut optimizer = Self { precision, ..Self::default() };
        if precision.parameters == DType::F32 {
            return (model, optimizer);
        }
        let trained: BTreeSet<String> =
            trained(&model, "").into_iter().map(|(name, _)| name).collect();
        let model = map(model, "", |name, _, values| {
            if precision.has_masters() && trained.contains(name) {
                return optimizer
                    .split_master(name, values, group, |shard| zeros(shard, precision.moments));
            }
            lasting(values, |values| values.cast(precision.parameters))
        });
        (model, optimizer)
    }

    /// Returns the parameter whose masters are `values`, `[n]`. Stores the rests of this rank's
    /// shard of it, with its moments.
    fn split_master(
        &mut self,
        name: &str,
        values: Tensor<1>,
        group: &Group,
        moments: impl FnOnce(&Tensor<1>) -> Moments,
    ) -> Tensor<1> {
        let (shard, dtype) = (group.shard(values.dims()[0]), self.precision.parameters);
        let part = |values| lasting(values, |values| parted(values, dtype));
        if shard.len == shard.count {
            let (param, rest) = part(values);
            let state = AdamWState { rest: Some(rest), moments: moments(&param) };
            self.states.insert(name.to_owned(), state);
            return param;
        }
        if shard.len > 0 {
            let (own, rest) = part(shard.of(values.clone()));
            self.states
                .insert(name.to_owned(), AdamWState { rest: Some(rest), moments: moments(&own) });
        }
        part(values).0
    }

    /// The types in which numbers are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// First and second moment of this rank's shard of a parameter; `None` if it has none yet, or
    /// they are not f32.
    pub fn moments(&self, name: &str) -> Option<(&Tensor<1>, &Tensor<1>)> {
        match &self.states.get(name)?.moments {
            Moments::Float { exp_avg, exp_avg_sq } => Some((exp_avg, exp_avg_sq)),
            Moments::EightBit { .. } => None,
        }
    }

    /// Updates every parameter that has a gradient, from this rank's shards of summed gradients.
    ///
    /// # Errors
    /// When another rank has failed; the model is lost then.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        mut gradients: Gradients,
        config: &TrainConfig,
        update: Update,
        group: &Group,
    ) -> Result<M, TrainError> {
        if !group.is_single() {
            return ahead::step(self, model, gradients, config, update, group);
        }
        Ok(map(model, "", |name, shape, values| match gradients.take(name) {
            Some(gradient) => {
                self.update(name, values, gradient, &update.of((name, shape), 0, config))
            }
            None => values,
        }))
    }

    /// Updates a shard of a parameter, `[shard]`, from the same shard of its gradient.
    pub(crate) fn update(
        &mut self,
        name: &str,
        shard: Tensor<1>,
        gradient: Tensor<1>,
        step: &AdamWStep,
    ) -> Tensor<1> {
        if shard.dims()[0] == 0 {
            return shard;
        }
        let state = self.states.remove(name).unwrap_or_else(|| {
            assert!(!self.precision.has_masters(), "`{name}` has no master");
            AdamWState { rest: None, moments: zeros(&shard, self.precision.moments) }
        });
        let (shard, state) = adamw(shard, gradient, state, step);
        self.states.insert(name.to_owned(), state);
        shard
    }

    /// Gathers the optimizer's state on rank 0, by its name in the checkpoint; other ranks get an
    /// empty map. Every rank has to call. It includes all masters; `masters` adds f32 values of
    /// trained parameters without one, which is needed if the weight files round parameters.
    ///
    /// # Errors
    /// When another rank has failed.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn gathered(
        &self,
        model: &impl Trainable,
        masters: bool,
        group: &Group,
    ) -> Result<BTreeMap<String, TensorData>, TrainError> {
        let mut whole = BTreeMap::new();
        let kinds = moment_kinds(self.precision.moments);
        let trained = model.trained();
        for name in &trained {
            for kind in kinds {
                let shard = local_shard(self.states.get(name), kind);
                if let Some(values) = saved::gathered(shard, group)? {
                    whole.insert(format!("{kind}{name}"), values);
                }
            }
        }
        let trained: BTreeSet<String> = trained.into_iter().collect();
        let is_trained = |name: &str| trained.contains(name);
        if self.precision.has_masters() {
            for (name, param) in model.shards(&is_trained, group) {
                if let Some(values) =
                    saved::gathered(master(&param, self.states.get(&name)), group)?
                {
                    whole.insert(format!("{MASTER}{name}"), values);
                }
            }
        } else if masters {
            model.read(&is_trained, group, &mut |name, _, values| {
                whole.insert(format!("{MASTER}{name}"), values.convert_dtype(DType::F32));
            })?;
        }
        Ok(whole)
    }

    /// The model and the state to resume with: this rank's shards of the map that
    /// [`AdamW::gathered`] returned with any number of ranks. `model` is in f32; masters replace
    /// its values, which may be rounded.
    ///
    /// # Errors
    /// Names a tensor that is missing or has the wrong length.
    pub fn restore<M: Module>(
        model: M,
        mut whole: BTreeMap<String, TensorData>,
        precision: Precision,
        group: &Group,
    ) -> Result<(M, Self), String> {
        let mut optimizer = Self { precision, states: BTreeMap::new() };
        let mut problem = None;
        let model = map(model, "", |name, _, values| {
            let master = whole.remove(&format!("{MASTER}{name}"));
            let values =
                master.map_or_else(|| values.clone(), |master| on_device(master, &values.device()));
            let shard = group.shard(values.dims()[0]);
            match restored(&mut whole, name, precision.moments, (shard, &values.device())) {
                Ok(Some(moments)) if precision.has_masters() => {
                    return optimizer.split_master(name, values, group, |_| moments);
                }
                Ok(Some(moments)) if shard.len > 0 => {
                    optimizer.states.insert(name.to_owned(), AdamWState { rest: None, moments });
                }
                Ok(_) => {}
                Err(found) => problem = Some(found),
            }
            lasting(values, |values| values.cast(precision.parameters))
        });
        problem.map_or(Ok((model, optimizer)), Err)
    }
}

/// Runs `work` with persistent allocations of exact size. Its result lives for the whole run, and
/// on a GPU would otherwise fragment the memory of short-lived tensors.
fn lasting<T: Send>(values: Tensor<1>, work: impl Fn(Tensor<1>) -> T + Send) -> T {
    values.device().memory_persistent_allocations(values, work)
}

/// Moments before the first update.
fn zeros(values: &Tensor<1>, form: MomentFormat) -> Moments {
    lasting(values.clone(), |values| {
        let ([count], device) = (values.dims(), values.device());
        let float = || Tensor::zeros([count], (&device, DType::F32));
        match form {
            MomentFormat::Float => Moments::Float { exp_avg: float(), exp_avg_sq: float() },
            MomentFormat::EightBit => Moments::EightBit {
                words: Tensor::zeros([code::num_words(count)], (&device, DType::I32)),
            },
        }
    })
}

/// The factor that scales a gradient of this norm down to `max_norm`; 1 if it is shorter. The same
/// formula as in PyTorch.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

//! AdamW over a whole model, its state by checkpoint name. A rank updates its share of every parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use uner_kernels::{AdamWState, AdamWStep, adamw};
use uner_model::Llama;
use uner_model::parameters::{map, trained};

use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::gradients::Gradients;
use crate::group::Group;
use crate::rank_model::RankModel;

/// The tensors of a state, by what comes before a parameter's name in files.
const FIRST: &str = "exp_avg.";
const SECOND: &str = "exp_avg_sq.";
const MASTER: &str = "master.";

/// One tensor of a state, where it has it.
type Part = fn(&AdamWState) -> Option<&Tensor<1>>;

/// First and second moment of this rank's share of every parameter, and the f32 value of what is stored in a shorter type.
#[derive(Debug, Default)]
pub struct AdamW {
    states: BTreeMap<String, AdamWState>,
    /// Whether parameters are stored in a shorter type than f32 and have masters, on whatever rank these are.
    has_masters: bool,
}

/// What changes from update to update.
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
    /// The scalars for a parameter of this shape. Decay is for matrices only: norms and other vectors are left alone.
    pub(crate) fn of(self, shape: &[usize], config: &TrainConfig) -> AdamWStep {
        let TrainConfig { beta1, beta2, eps, .. } = *config;
        let weight_decay = if shape.len() > 1 { config.weight_decay } else { 0.0 };
        let Self { lr, step, grad_scale } = self;
        AdamWStep { lr, beta1, beta2, eps, weight_decay, step, grad_scale }
    }
}

impl AdamW {
    /// The state at the start of a run, and the model in the type it is to be trained in. Where that is shorter than f32, the
    /// values the model comes with are the masters: what rounding takes from them is not lost.
    pub fn new(model: Llama, parameters: DType, group: &Group) -> (Llama, Self) {
        let mut optimizer = Self { has_masters: parameters != DType::F32, ..Self::default() };
        if !optimizer.has_masters {
            return (model, optimizer);
        }
        let trained: BTreeSet<String> = trained(&model, "").into_iter().map(|(name, _)| name).collect();
        let model = map(model, "", |name, _, values| {
            let share = group.share(values.dims()[0]);
            if trained.contains(name) && share.len > 0 {
                let master = share.of(values.clone());
                let state = AdamWState { master: Some(master.clone()), ..fresh(&master) };
                optimizer.states.insert(name.to_owned(), state);
            }
            values.cast(parameters)
        });
        (model, optimizer)
    }

    /// First and second moment of this rank's share of a parameter, once it had an update.
    pub fn moments(&self, name: &str) -> Option<(&Tensor<1>, &Tensor<1>)> {
        self.states.get(name).map(|state| (&state.exp_avg, &state.exp_avg_sq))
    }

    /// One update of every parameter that has a gradient, from this rank's shares of the gradients' sums.
    ///
    /// # Errors
    /// When another rank has failed; the model is of no use then.
    pub fn step(
        &mut self,
        model: Llama,
        mut gradients: Gradients,
        config: &TrainConfig,
        update: Update,
        group: &Group,
    ) -> Result<Llama, TrainError> {
        let mut failure = None;
        let model = map(model, "", |name, shape, values| {
            let Some(gradient) = gradients.take(name) else { return values };
            let (count, device, dtype) = (values.dims()[0], values.device(), values.dtype());
            let share = group.share(count).of(values);
            let share = self.update(name, share, gradient, &update.of(shape, config));
            group.gather(share, count).unwrap_or_else(|error| {
                failure.get_or_insert(error);
                Tensor::zeros([count], (&device, dtype))
            })
        });
        failure.map_or(Ok(model), Err)
    }

    /// Updates a share of a parameter, `[share]`, from that of its gradient.
    pub(crate) fn update(
        &mut self,
        name: &str,
        share: Tensor<1>,
        gradient: Tensor<1>,
        step: &AdamWStep,
    ) -> Tensor<1> {
        if share.dims()[0] == 0 {
            return share;
        }
        let state = self.states.remove(name).unwrap_or_else(|| fresh(&share));
        let (share, state) = adamw(share, gradient, state, step);
        self.states.insert(name.to_owned(), state);
        share
    }

    /// Everything that is remembered, whole, by name in files; empty on all ranks but the first. Every rank has to call. With
    /// `masters`, the f32 values of all that is trained are among it: of a model whose files hold a shorter type.
    ///
    /// # Errors
    /// When another rank has failed.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn gathered(
        &self,
        model: &RankModel,
        masters: bool,
        group: &Group,
    ) -> Result<BTreeMap<String, Vec<f32>>, TrainError> {
        let mut whole = BTreeMap::new();
        let kinds: [(&str, Part); 3] = [
            (FIRST, |state| Some(&state.exp_avg)),
            (SECOND, |state| Some(&state.exp_avg_sq)),
            (MASTER, |state| state.master.as_ref()),
        ];
        let trained = model.trained();
        for name in &trained {
            let state = self.states.get(name);
            for (kind, tensor) in kinds.iter().filter(|(kind, _)| self.has_masters || *kind != MASTER) {
                let share = state.and_then(tensor).map_or_else(Vec::new, host);
                let values = group.gather_values(share)?;
                if group.is_first() && !values.is_empty() {
                    whole.insert(format!("{kind}{name}"), Arc::unwrap_or_clone(values));
                }
            }
        }
        if masters && !self.has_masters {
            let trained: BTreeSet<String> = trained.into_iter().collect();
            model.read(group, |name, _, values| {
                if trained.contains(&name) {
                    let values = values.try_into_vec().expect("what is its own master is f32");
                    whole.insert(format!("{MASTER}{name}"), values);
                }
            })?;
        }
        Ok(whole)
    }

    /// The model and the state with which a run goes on: this rank's shares of what [`AdamW::gathered`] gave, whatever the
    /// number of ranks was then. `model` is in f32; masters take the place of its values, which may be rounded.
    ///
    /// # Errors
    /// Names a tensor that is missing.
    pub fn restore(
        model: Llama,
        mut whole: BTreeMap<String, Vec<f32>>,
        parameters: DType,
        group: &Group,
    ) -> Result<(Llama, Self), String> {
        let device = model.head().device();
        let mut optimizer = Self { has_masters: parameters != DType::F32, states: BTreeMap::new() };
        let mut missing = None;
        let model = map(model, "", |name, _, values| {
            let master = whole.remove(&format!("{MASTER}{name}")).map(|values| on_device(&values, &device));
            let values = master.unwrap_or(values);
            let mut moment = |kind: &str| whole.remove(&format!("{kind}{name}"));
            let (first, second) = (moment(FIRST), moment(SECOND));
            if let (Some(first), Some(second)) = (&first, &second) {
                let share = group.share(values.dims()[0]);
                let of = |values: &[f32]| on_device(&values[share.range()], &device);
                if share.len > 0 {
                    let master = optimizer.has_masters.then(|| share.of(values.clone()));
                    let state = AdamWState { master, exp_avg: of(first), exp_avg_sq: of(second) };
                    optimizer.states.insert(name.to_owned(), state);
                }
            } else if first.is_some() != second.is_some() {
                missing = Some(format!("a moment of `{name}` is missing"));
            }
            values.cast(parameters)
        });
        missing.map_or(Ok((model, optimizer)), Err)
    }
}

fn fresh(values: &Tensor<1>) -> AdamWState {
    let zeros = || Tensor::zeros(values.dims(), (&values.device(), DType::F32));
    AdamWState { master: None, exp_avg: zeros(), exp_avg_sq: zeros() }
}

fn host(values: &Tensor<1>) -> Vec<f32> {
    values.clone().try_into_vec_as().expect("state is f32")
}

fn on_device(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), (device, DType::F32))
}

/// The factor that brings a gradient of this norm down to `max_norm`, 1 where it is shorter; as PyTorch computes it.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

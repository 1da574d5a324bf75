//! The interface between the training loop and the models that it trains: language models, block by
//! block ([`RankModel`]), and token classifiers.

use std::borrow::Cow;
use std::fmt::Debug;

use burn::tensor::{Device, Tensor, TensorData};
use uner_model::{Flops, Llama, LlamaConfig};

use super::forward_backward::{Forward, Prepared, join_collectives, loss};
use super::gradients::Gradients;
use super::optimizer::{AdamW, Update};
use super::rank_model::RankModel;
use super::weights::Weights;
use crate::config::TrainConfig;
use crate::data::Batch;
use crate::data::loader::StepData;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::metrics::timing::{Breakdown, Stopwatch};

/// The part of a model that a rank trains. Functions that take a [`Group`] may be collective: every
/// rank has to call them.
pub trait Trainable: Debug + Send + Sync + Sized {
    /// The whole model.
    type Model: Clone + Debug + Sync;
    /// Its dimensions.
    type Config: Debug + Sync;

    /// The device of the model.
    fn device(&self) -> Device;

    /// The whole model.
    ///
    /// # Errors
    /// When another rank has failed.
    fn gathered(&self, group: &Group) -> Result<Cow<'_, Self::Model>, TrainError>;

    /// The summed loss of a batch, `[1]`, without gradients.
    fn loss(model: &Self::Model, config: &Self::Config, batch: &Batch) -> Tensor<1>;

    /// Adds the gradients of the summed loss of this rank's micro-batches to `gradients`, and
    /// returns the loss.
    ///
    /// # Errors
    /// When another rank has failed.
    fn accumulate(
        &self,
        pass: Pass<Self::Config>,
        data: &StepData,
        gradients: &mut Gradients,
        breakdown: &mut Breakdown,
    ) -> Result<f64, TrainError>;

    /// The model after an update: see [`AdamW::step`].
    ///
    /// # Errors
    /// When another rank has failed; the model is lost then.
    fn updated(
        self,
        optimizer: &mut AdamW,
        gradients: Gradients,
        config: &TrainConfig,
        update: Update,
        group: &Group,
    ) -> Result<Self, TrainError>;

    /// The names of all trained parameters, the same on every rank.
    fn trained(&self) -> Vec<String>;

    /// This rank's shards, `[shard]`, of the parameters with `wanted` names, in the same order on
    /// every rank.
    fn shards(&self, wanted: &dyn Fn(&str) -> bool, group: &Group) -> Vec<(String, Tensor<1>)>;

    /// Gathers the parameters with `wanted` names on rank 0, which passes each to `show`: name,
    /// shape and all values, `[n]`, on the host.
    ///
    /// # Errors
    /// When another rank has failed.
    fn read(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        group: &Group,
        show: &mut dyn FnMut(String, Vec<usize>, TensorData),
    ) -> Result<(), TrainError>;

    /// A copy of the trained weights on the host of rank 0, for a checkpoint.
    ///
    /// # Errors
    /// When the type of the files cannot be written, or another rank has failed.
    fn weights(&self, config: &Self::Config, group: &Group) -> Result<Weights, TrainError>;

    /// The type of the weights in files, such as `float32`.
    fn torch_dtype(config: &Self::Config) -> &str;

    /// The operations of a step.
    fn flops(&self, config: &Self::Config) -> Flops;
}

/// How a step is computed.
#[derive(Debug)]
pub struct Pass<'a, C> {
    /// The model's dimensions.
    pub config: &'a C,
    /// This rank among all.
    pub group: &'a Group,
    /// Blocks whose activations are recomputed.
    pub recomputed_blocks: usize,
    /// Whether sums of gradients over ranks may start while others are computed.
    pub overlaps: bool,
}

impl Trainable for RankModel {
    type Model = Llama;
    type Config = LlamaConfig;

    fn device(&self) -> Device {
        self.device()
    }

    fn gathered(&self, group: &Group) -> Result<Cow<'_, Llama>, TrainError> {
        self.gathered(group)
    }

    fn loss(model: &Llama, config: &LlamaConfig, batch: &Batch) -> Tensor<1> {
        loss(model, config, batch)
    }

    fn accumulate(
        &self,
        Pass { config, group, recomputed_blocks, overlaps }: Pass<LlamaConfig>,
        data: &StepData,
        gradients: &mut Gradients,
        breakdown: &mut Breakdown,
    ) -> Result<f64, TrainError> {
        let device = self.device();
        let mut watch = Stopwatch::start(&device);
        let mut losses: Vec<Tensor<1>> = Vec::new();
        // If blocks are sharded, ranks without a micro-batch could not start the sums that others
        // start in a pass.
        let starts = overlaps && !self.is_sharded();
        let own = data.micro_batches_of(group).count();
        let mut batches =
            data.micro_batches_of(group).map(|batch| Prepared::new(self, config, batch));
        let mut next = batches.next();
        while let Some(batch) = next {
            let pass = Forward::new((self, group), batch, recomputed_blocks, gradients)?;
            watch.lap(&mut breakdown.forward);
            let last = losses.len() + 1 == own;
            losses.push(pass.backward(gradients, starts && last)?);
            // Overlaps with the work of the device.
            next = batches.next();
            watch.lap(&mut breakdown.backward);
        }
        if losses.len() < data.rounds(group) {
            join_collectives((self, group), recomputed_blocks, gradients)?;
        }
        if losses.is_empty() {
            gradients.add_zeros(self.local(), &device);
        }
        Ok(losses.into_iter().map(|sum| f64::from(sum.into_scalar::<f32>())).sum())
    }

    fn updated(
        self,
        optimizer: &mut AdamW,
        gradients: Gradients,
        config: &TrainConfig,
        update: Update,
        group: &Group,
    ) -> Result<Self, TrainError> {
        self.updated(optimizer, gradients, config, update, group)
    }

    fn trained(&self) -> Vec<String> {
        self.trained()
    }

    fn shards(&self, wanted: &dyn Fn(&str) -> bool, group: &Group) -> Vec<(String, Tensor<1>)> {
        self.shards(wanted, group)
    }

    fn read(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        group: &Group,
        show: &mut dyn FnMut(String, Vec<usize>, TensorData),
    ) -> Result<(), TrainError> {
        self.read(wanted, group, show)
    }

    fn weights(&self, config: &LlamaConfig, group: &Group) -> Result<Weights, TrainError> {
        Weights::of_language_model(self, config, group)
    }

    fn torch_dtype(config: &LlamaConfig) -> &str {
        &config.torch_dtype
    }

    fn flops(&self, config: &LlamaConfig) -> Flops {
        Flops::new(config, self.local().adapter.as_ref().map(|adapter| &adapter.config))
    }
}

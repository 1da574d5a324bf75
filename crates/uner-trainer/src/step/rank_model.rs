//! The part of a model that one rank stores.
//!
//! Usually that is the whole model. If it is too large, its blocks are sharded (`ZeRO` stage 3,
//! Rajbhandari et al. 2020): a rank stores only the [`Shard`](crate::distributed::Shard) of each
//! parameter that it updates. An all-gather collects a block just before it is used, and a
//! reduce-scatter sums its gradients as soon as they are complete. Embedding, final norm and head
//! are not sharded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use uner_model::parameters::{trained, visit};
use uner_model::weights::ParameterSource;
use uner_model::{Block, Llama, LlamaConfig, WeightsError};

use crate::config::TrainConfig;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::step::gradients::Gradients;
use crate::step::optimizer::{AdamW, Update};
use crate::step::parameters;

/// The part of a model that one rank stores.
#[derive(Debug)]
pub struct RankModel {
    /// The whole model, or all but its sharded blocks.
    local: Llama,
    sharded: Option<ShardedBlocks>,
}

/// The blocks of a model, sharded over the ranks.
#[derive(Debug)]
struct ShardedBlocks {
    config: LlamaConfig,
    /// This rank's shards of each block's parameters, by name.
    blocks: Vec<BTreeMap<String, ShardedParameter>>,
}

/// This rank's shard of a parameter.
#[derive(Debug)]
struct ShardedParameter {
    /// Shape of the whole parameter.
    shape: Vec<usize>,
    /// The shard, `[shard]`.
    shard: Tensor<1>,
}

impl ShardedParameter {
    /// Elements of the whole parameter.
    fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

impl From<Llama> for RankModel {
    fn from(local: Llama) -> Self {
        Self { local, sharded: None }
    }
}

impl RankModel {
    /// Shards the blocks: keeps this rank's shards and drops the rest. A single rank keeps all.
    ///
    /// # Panics
    /// When the model has an adapter, because a frozen base is not sharded.
    #[must_use]
    pub fn shard(mut self, config: &LlamaConfig, group: &Group) -> Self {
        if group.is_single() || self.sharded.is_some() {
            return self;
        }
        assert!(self.local.adapter.is_none(), "the base of an adapter is not sharded");
        let layers = std::mem::take(&mut self.local.model.layers);
        let blocks = layers.into_iter().enumerate().map(|(layer, block)| {
            let mut shards = BTreeMap::new();
            visit(&block, &name(layer), |parameter| {
                let shard = group.shard(parameter.values.dims()[0]).own(parameter.values);
                shards.insert(parameter.name, ShardedParameter { shape: parameter.shape, shard });
            });
            shards
        });
        let blocks = blocks.collect();
        Self { sharded: Some(ShardedBlocks { config: config.clone(), blocks }), ..self }
    }

    /// Whether the blocks are sharded.
    pub fn is_sharded(&self) -> bool {
        self.sharded.is_some()
    }

    /// The unsharded part: the whole model, or all but its sharded blocks.
    pub fn local(&self) -> &Llama {
        &self.local
    }

    /// The whole model; `None` if it is sharded.
    pub fn into_unsharded(self) -> Option<Llama> {
        self.sharded.is_none().then_some(self.local)
    }

    /// The device of the model.
    pub fn device(&self) -> Device {
        self.local.head().device()
    }

    /// The number of blocks.
    pub fn num_blocks(&self) -> usize {
        self.sharded.as_ref().map_or(self.local.model.layers.len(), |sharded| sharded.blocks.len())
    }

    /// The number of elements that this rank stores.
    pub fn num_local_params(&self) -> usize {
        let blocks = self
            .sharded
            .iter()
            .flat_map(|sharded| sharded.blocks.iter().flat_map(BTreeMap::values));
        self.local.num_params() + blocks.map(|owned| owned.shard.dims()[0]).sum::<usize>()
    }

    /// A block, by an all-gather if it is sharded. Every rank has to call.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn block(&self, layer: usize, group: &Group) -> Result<Cow<'_, Block>, TrainError> {
        let Some(ShardedBlocks { config, blocks }) = &self.sharded else {
            return Ok(Cow::Borrowed(&self.local.model.layers[layer]));
        };
        let shards =
            blocks[layer].values().map(|owned| (owned.shard.clone(), owned.count())).collect();
        let wholes = group.start_all_gather(shards)?.wait();
        let mut gathered = Gathered(blocks[layer].keys().cloned().zip(wholes).collect());
        let block = Block::build(config, &mut gathered, &name(layer))
            .expect("every parameter of the block was gathered");
        Ok(Cow::Owned(block))
    }

    /// The whole model, by an all-gather if its blocks are sharded. Every rank has to call.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn gathered(&self, group: &Group) -> Result<Cow<'_, Llama>, TrainError> {
        if self.sharded.is_none() {
            return Ok(Cow::Borrowed(&self.local));
        }
        let mut whole = self.local.clone();
        let layers = (0..self.num_blocks()).map(|layer| Ok(self.block(layer, group)?.into_owned()));
        whole.model.layers = layers.collect::<Result<_, TrainError>>()?;
        Ok(Cow::Owned(whole))
    }

    /// Adds the gradients of a block's parameters, `[n]`, by name, to `gradients`. For a sharded
    /// block it starts their reduce-scatter; every rank then has to call, without gradients if it
    /// has none.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn add_gradients(
        &self,
        layer: usize,
        mut found: BTreeMap<String, Tensor<1>>,
        group: &Group,
        gradients: &mut Gradients,
    ) -> Result<(), TrainError> {
        let Some(sharded) = &self.sharded else {
            for (name, gradient) in found {
                gradients.add(&name, gradient);
            }
            return Ok(());
        };
        for (name, owned) in &sharded.blocks[layer] {
            let nothing = || Tensor::zeros([owned.count()], (&owned.shard.device(), DType::F32));
            found.entry(name.clone()).or_insert_with(nothing);
        }
        gradients.start_sums(found, group)
    }

    /// The model after an update: see [`AdamW::step`].
    ///
    /// # Errors
    /// When another rank has failed; the model is lost then.
    pub fn updated(
        self,
        optimizer: &mut AdamW,
        mut gradients: Gradients,
        config: &TrainConfig,
        update: Update,
        group: &Group,
    ) -> Result<Self, TrainError> {
        let mut sharded = self.sharded;
        for (name, owned) in
            sharded.iter_mut().flat_map(|sharded| sharded.blocks.iter_mut().flatten())
        {
            let Some(gradient) = gradients.take(name) else { continue };
            let first = group.shard(owned.count()).start;
            let step = update.of((name, &owned.shape), first, config);
            // The update owns the shard, so that it can work in place.
            let shard = std::mem::replace(&mut owned.shard, Tensor::empty([0], &gradient.device()));
            owned.shard = optimizer.update(name, shard, gradient, &step);
        }
        let local = optimizer.step(self.local, gradients, config, update, group)?;
        Ok(Self { local, sharded })
    }

    /// Names of all trained parameters, the same on every rank.
    pub(crate) fn trained(&self) -> Vec<String> {
        let local = trained(&self.local, "").into_iter().map(|(name, _)| name);
        let blocks =
            self.sharded.iter().flat_map(|sharded| sharded.blocks.iter().flat_map(BTreeMap::keys));
        local.chain(blocks.cloned()).collect()
    }

    /// This rank's shards, `[shard]`, of the parameters with `wanted` names, in the same order on
    /// every rank.
    pub(crate) fn shards(
        &self,
        wanted: impl Fn(&str) -> bool,
        group: &Group,
    ) -> Vec<(String, Tensor<1>)> {
        let mut shards = parameters::shards(&self.local, &wanted, group);
        let blocks = self.sharded.iter().flat_map(|sharded| sharded.blocks.iter().flatten());
        let blocks = blocks.filter(|(name, _)| wanted(name));
        shards.extend(blocks.map(|(name, owned)| (name.clone(), owned.shard.clone())));
        shards
    }

    /// Gathers the parameters with `wanted` names on rank 0, which passes each to `show`: name,
    /// shape and all values, `[n]`, on the host. Reads no others from the device. Every rank has to
    /// call, with the same `wanted` names.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn read(
        &self,
        wanted: impl Fn(&str) -> bool,
        group: &Group,
        mut show: impl FnMut(String, Vec<usize>, TensorData),
    ) -> Result<(), TrainError> {
        if group.is_main() {
            parameters::read(&self.local, &wanted, &mut show);
        }
        let blocks = self.sharded.iter().flat_map(|sharded| sharded.blocks.iter().flatten());
        for (name, ShardedParameter { shape, shard }) in blocks.filter(|(name, _)| wanted(name)) {
            let values =
                group.all_gather_values(shard.clone().try_into_vec_as().expect("floats"))?;
            if group.is_main() {
                let values = TensorData::new(values.to_vec(), [values.len()]);
                show(name.clone(), shape.clone(), values.convert_dtype(shard.dtype()));
            }
        }
        Ok(())
    }
}

/// The parameters of a block, `[n]`, by name.
struct Gathered(BTreeMap<String, Tensor<1>>);

impl ParameterSource for Gathered {
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError> {
        Ok(self.0.remove(name).expect("every parameter was gathered").reshape(shape))
    }
}

fn name(layer: usize) -> String {
    format!("model.layers.{layer}")
}

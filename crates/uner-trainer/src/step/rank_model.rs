//! A model as one rank holds it.
//!
//! Usually that is all of it. The blocks of a model that is too large are divided: of each of their
//! parameters a rank holds the [`Share`](crate::distributed::Share) that it updates anyway, and no
//! more (`ZeRO` stage 3, Rajbhandari et al. 2020). All ranks gather a block just before it runs,
//! forward and once more on the way back, and sum its gradients to their owners as soon as they are
//! there. Embedding, final norm and head stay whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use uner_model::parameters::{trained, visit};
use uner_model::weights::Source;
use uner_model::{Block, Llama, LlamaConfig, WeightsError};

use crate::config::TrainConfig;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::step::gradients::Gradients;
use crate::step::optimizer::{AdamW, Update};

/// A model as one rank holds it.
#[derive(Debug)]
pub struct RankModel {
    /// All of the model, or all but its blocks.
    held: Llama,
    divided: Option<Divided>,
}

/// The blocks of a model, divided among the ranks.
#[derive(Debug)]
struct Divided {
    config: LlamaConfig,
    /// This rank's shares of each block's parameters, by name.
    blocks: Vec<BTreeMap<String, Owned>>,
}

/// This rank's share of a parameter.
#[derive(Debug)]
struct Owned {
    /// Of the whole parameter.
    shape: Vec<usize>,
    /// `[share]`.
    share: Tensor<1>,
}

impl Owned {
    /// Elements of the whole parameter.
    fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

impl From<Llama> for RankModel {
    fn from(held: Llama) -> Self {
        Self { held, divided: None }
    }
}

impl RankModel {
    /// Lets go of all of the blocks but this rank's shares. A rank that is alone keeps them.
    ///
    /// # Panics
    /// When the model has an adapter: a frozen base is not divided.
    #[must_use]
    pub fn divide(mut self, config: &LlamaConfig, group: &Group) -> Self {
        if group.is_alone() || self.divided.is_some() {
            return self;
        }
        assert!(self.held.adapter.is_none(), "the base of an adapter is not divided");
        let layers = std::mem::take(&mut self.held.model.layers);
        let blocks = layers.into_iter().enumerate().map(|(layer, block)| {
            let mut shares = BTreeMap::new();
            visit(&block, &name(layer), |parameter| {
                let share = group.share(parameter.values.dims()[0]).own(parameter.values);
                shares.insert(parameter.name, Owned { shape: parameter.shape, share });
            });
            shares
        });
        let blocks = blocks.collect();
        Self { divided: Some(Divided { config: config.clone(), blocks }), ..self }
    }

    /// Whether ranks hold shares of the blocks only.
    pub fn is_divided(&self) -> bool {
        self.divided.is_some()
    }

    /// What every rank holds whole: all of the model, or all but its blocks.
    pub fn held(&self) -> &Llama {
        &self.held
    }

    /// The model where it is held whole.
    pub fn into_whole(self) -> Option<Llama> {
        self.divided.is_none().then_some(self.held)
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        self.held.head().device()
    }

    /// How many blocks it has.
    pub fn num_blocks(&self) -> usize {
        self.divided.as_ref().map_or(self.held.model.layers.len(), |divided| divided.blocks.len())
    }

    /// How many of its numbers this rank holds.
    pub fn num_held(&self) -> usize {
        let blocks = self
            .divided
            .iter()
            .flat_map(|divided| divided.blocks.iter().flat_map(BTreeMap::values));
        self.held.num_params() + blocks.map(|owned| owned.share.dims()[0]).sum::<usize>()
    }

    /// A block, gathered where it is divided. Every rank has to call.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn block(&self, layer: usize, group: &Group) -> Result<Cow<'_, Block>, TrainError> {
        let Some(Divided { config, blocks }) = &self.divided else {
            return Ok(Cow::Borrowed(&self.held.model.layers[layer]));
        };
        let shares =
            blocks[layer].values().map(|owned| (owned.share.clone(), owned.count())).collect();
        let wholes = group.start_gather(shares)?.wait();
        let mut gathered = Gathered(blocks[layer].keys().cloned().zip(wholes).collect());
        let block = Block::build(config, &mut gathered, &name(layer))
            .expect("all of the block was gathered");
        Ok(Cow::Owned(block))
    }

    /// The whole model, gathered where its blocks are divided. Every rank has to call.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn whole(&self, group: &Group) -> Result<Cow<'_, Llama>, TrainError> {
        if self.divided.is_none() {
            return Ok(Cow::Borrowed(&self.held));
        }
        let mut whole = self.held.clone();
        let layers = (0..self.num_blocks()).map(|layer| Ok(self.block(layer, group)?.into_owned()));
        whole.model.layers = layers.collect::<Result<_, TrainError>>()?;
        Ok(Cow::Owned(whole))
    }

    /// Adds the gradients of a block's parameters, by name and `[n]`, to `gradients`: what is
    /// divided starts to be summed over all ranks, and then every rank has to call, with no
    /// gradients where it has none.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn give(
        &self,
        layer: usize,
        mut found: BTreeMap<String, Tensor<1>>,
        group: &Group,
        gradients: &mut Gradients,
    ) -> Result<(), TrainError> {
        let Some(divided) = &self.divided else {
            for (name, gradient) in found {
                gradients.add(&name, gradient);
            }
            return Ok(());
        };
        for (name, owned) in &divided.blocks[layer] {
            let nothing = || Tensor::zeros([owned.count()], (&owned.share.device(), DType::F32));
            found.entry(name.clone()).or_insert_with(nothing);
        }
        gradients.start_sums(found, group)
    }

    /// The model after an update: see [`AdamW::step`].
    ///
    /// # Errors
    /// When another rank has failed; the model is of no use then.
    pub fn updated(
        self,
        optimizer: &mut AdamW,
        mut gradients: Gradients,
        config: &TrainConfig,
        update: Update,
        group: &Group,
    ) -> Result<Self, TrainError> {
        let mut divided = self.divided;
        for (name, owned) in
            divided.iter_mut().flat_map(|divided| divided.blocks.iter_mut().flatten())
        {
            let Some(gradient) = gradients.take(name) else { continue };
            let first = group.share(owned.count()).start;
            let step = update.of((name, &owned.shape), first, config);
            // Handed over, so that it can be updated in place.
            let share = std::mem::replace(&mut owned.share, Tensor::empty([0], &gradient.device()));
            owned.share = optimizer.update(name, share, gradient, &step);
        }
        let held = optimizer.step(self.held, gradients, config, update, group)?;
        Ok(Self { held, divided })
    }

    /// Names of all that is trained, the same on every rank.
    pub(crate) fn trained(&self) -> Vec<String> {
        let held = trained(&self.held, "").into_iter().map(|(name, _)| name);
        let blocks =
            self.divided.iter().flat_map(|divided| divided.blocks.iter().flat_map(BTreeMap::keys));
        held.chain(blocks.cloned()).collect()
    }

    /// This rank's shares of the parameters of `wanted` names, `[share]`, in the same order on
    /// every rank.
    pub(crate) fn shares(
        &self,
        wanted: impl Fn(&str) -> bool,
        group: &Group,
    ) -> Vec<(String, Tensor<1>)> {
        let mut shares = Vec::new();
        visit(&self.held, "", |parameter| {
            if wanted(&parameter.name) {
                let share = group.share(parameter.values.dims()[0]).of(parameter.values);
                shares.push((parameter.name, share));
            }
        });
        let blocks = self.divided.iter().flat_map(|divided| divided.blocks.iter().flatten());
        let blocks = blocks.filter(|(name, _)| wanted(name));
        shares.extend(blocks.map(|(name, owned)| (name.clone(), owned.share.clone())));
        shares
    }

    /// Shows the parameters of `wanted` names to the first rank: name, shape and all values, `[n]`,
    /// on the host. Only these are read from the device. Every rank has to call, and to want the
    /// same.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn read(
        &self,
        wanted: impl Fn(&str) -> bool,
        group: &Group,
        mut show: impl FnMut(String, Vec<usize>, TensorData),
    ) -> Result<(), TrainError> {
        if group.is_first() {
            visit(&self.held, "", |parameter| {
                if wanted(&parameter.name) {
                    show(parameter.name, parameter.shape, parameter.values.into_data());
                }
            });
        }
        let blocks = self.divided.iter().flat_map(|divided| divided.blocks.iter().flatten());
        for (name, Owned { shape, share }) in blocks.filter(|(name, _)| wanted(name)) {
            let values = group.gather_values(share.clone().try_into_vec_as().expect("a float"))?;
            if group.is_first() {
                let values = TensorData::new(values.to_vec(), [values.len()]);
                show(name.clone(), shape.clone(), values.convert_dtype(share.dtype()));
            }
        }
        Ok(())
    }
}

/// The parameters of a block, `[n]`, by name.
struct Gathered(BTreeMap<String, Tensor<1>>);

impl Source for Gathered {
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, WeightsError> {
        Ok(self.0.remove(name).expect("the shares were made of the same parameters").reshape(shape))
    }
}

fn name(layer: usize) -> String {
    format!("model.layers.{layer}")
}

//! Summed gradients, by parameter.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use uner_kernels::{accumulate, add_rows, squared_norms};
use uner_model::Block;
use uner_model::parameters::trained;

use crate::distributed::{Group, Pending};
use crate::error::TrainError;

/// The gradient of the summed loss with respect to every parameter, flat, by checkpoint name.
#[derive(Debug, Default)]
pub struct Gradients {
    /// Sums over this rank's micro-batches, `[n]`.
    own: BTreeMap<String, Tensor<1>>,
    /// This rank's shards of sums over all ranks.
    shards: BTreeMap<String, Tensor<1>>,
    /// The reduce-scatter in flight, and the names of its shards.
    in_flight: Option<(Vec<String>, Pending)>,
}

/// Parameters whose gradients are complete at the same time, in the order of the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Final norm, and the head where it has weights of its own, such as a span head.
    Head,
    /// A block; the last one comes first.
    Block(Reverse<usize>),
    /// The embedding, and all other parameters.
    Embedding,
}

/// The modules of [`Stage::Head`].
const HEADS: [&str; 3] = ["model.norm.", "lm_head.", "span_head."];

impl Stage {
    /// The stage of a parameter.
    fn of(name: &str) -> Self {
        let layer = name
            .strip_prefix("model.layers.")
            .and_then(|rest| rest.split('.').next()?.parse().ok());
        match layer {
            Some(layer) => Self::Block(Reverse(layer)),
            None if HEADS.iter().any(|head| name.starts_with(head)) => Self::Head,
            None => Self::Embedding,
        }
    }
}

impl Gradients {
    /// Adds `[n]` to the gradient of `name`. A sum of several terms is f32, whatever their type.
    pub fn add(&mut self, name: &str, gradient: Tensor<1>) {
        add_to(&mut self.own, name, gradient);
    }

    /// Adds `rows`, `[tokens, hidden]`, to the rows `ids` of the gradient of a `shape` =
    /// `[vocab, hidden]` matrix: the backward pass of an embedding.
    pub fn add_rows(&mut self, name: &str, shape: [usize; 2], ids: &[i32], rows: Tensor<2>) {
        let sum = match self.own.remove(name) {
            Some(sum) => sum.cast(DType::F32).reshape(shape),
            None => Tensor::zeros(shape, (&rows.device(), DType::F32)),
        };
        self.own.insert(name.to_owned(), add_rows(sum, ids, rows).reshape([-1]));
    }

    /// Lends a block the sums of its linear layers' gradients, so that its backward pass adds to
    /// them directly; the new sums are [added](Self::add) afterwards. A step's first gradients have
    /// no sums to add to, and keep their type.
    pub(crate) fn lend(&mut self, block: &mut Block, name: &str) {
        for (layer, linear) in block.linears() {
            if let Some(sum) = self.own.remove(&format!("{name}.{layer}.weight")) {
                let sum = sum.cast(DType::F32).reshape(linear.weight.dims());
                linear.gradient_sum = Some(sum.autodiff().require_grad());
            }
        }
    }

    /// The gradient of `name`, `[n]`, or this rank's shard of it.
    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.own.get(name).or_else(|| self.shards.get(name))
    }

    /// Removes and returns the gradient of `name`, `[n]`, or this rank's shard of it.
    pub fn take(&mut self, name: &str) -> Option<Tensor<1>> {
        self.own.remove(name).or_else(|| self.shards.remove(name))
    }

    /// All names and gradients, or shards of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<1>)> {
        self.own.iter().chain(&self.shards).map(|(name, gradient)| (name.as_str(), gradient))
    }

    /// Adds zeros for every trained parameter of `model`, if a rank has no micro-batch in a step.
    pub fn add_zeros(&mut self, model: &impl Module, device: &Device) {
        for (name, count) in trained(model, "") {
            self.add(&name, Tensor::zeros([count], (device, DType::F32)));
        }
    }

    /// Starts a reduce-scatter of the gradients of a stage, which must be complete.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn start(&mut self, stage: Stage, group: &Group) -> Result<(), TrainError> {
        let (complete, incomplete) = std::mem::take(&mut self.own)
            .into_iter()
            .partition(|(name, _)| Stage::of(name) == stage);
        self.own = incomplete;
        self.start_sums(complete, group)
    }

    /// Starts a reduce-scatter of these gradients, whose shards are added to this rank's. Waits for
    /// the previous one, which ran while these gradients were computed, so that its memory is free.
    ///
    /// # Errors
    /// When another rank has failed.
    pub(crate) fn start_sums(
        &mut self,
        gradients: BTreeMap<String, Tensor<1>>,
        group: &Group,
    ) -> Result<(), TrainError> {
        if gradients.is_empty() {
            return Ok(());
        }
        let (names, gradients) = gradients.into_iter().unzip();
        let pending = group.start_reduce_scatter(gradients)?;
        self.wait();
        self.in_flight = Some((names, pending));
        Ok(())
    }

    /// Waits for the reduce-scatter in flight.
    pub(crate) fn wait(&mut self) {
        if let Some((names, pending)) = self.in_flight.take() {
            for (name, shard) in names.iter().zip(pending.wait()) {
                add_to(&mut self.shards, name, shard);
            }
        }
    }

    /// Reduce-scatter of all gradients that are not summed over ranks yet; keeps this rank's
    /// shards. Every rank follows the order of the stages, whichever it has started before.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn reduce(mut self, group: &Group) -> Result<Self, TrainError> {
        let stages: BTreeSet<Stage> = self.own.keys().map(|name| Stage::of(name)).collect();
        for stage in stages {
            self.start(stage, group)?;
        }
        self.wait();
        Ok(self)
    }

    /// The squared Euclidean norm over all parameters together, summed in f64. The device is read
    /// once.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn squared_norm(&self) -> f64 {
        let gradients: Vec<Tensor<1>> = self.iter().map(|(_, gradient)| gradient.clone()).collect();
        if gradients.is_empty() {
            return 0.0;
        }
        let squares: Vec<f32> =
            squared_norms(gradients).try_into_vec_as().expect("floats that the device computed");
        squares.into_iter().map(f64::from).sum()
    }
}

fn add_to(sums: &mut BTreeMap<String, Tensor<1>>, name: &str, gradient: Tensor<1>) {
    let sum = match sums.remove(name) {
        Some(sum) => accumulate(sum.cast(DType::F32), gradient),
        None => gradient,
    };
    sums.insert(name.to_owned(), sum);
}

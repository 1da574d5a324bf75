//! Summed gradients, by parameter.

use std::collections::BTreeMap;

use burn::tensor::{DType, Int, Tensor, TensorData};
use uner_kernels::squared_norm;
use uner_model::Llama;
use uner_model::parameters::trained;

use crate::error::TrainError;
use crate::group::Group;

/// The gradient of the summed loss with respect to every parameter, flat, by checkpoint name.
#[derive(Debug, Default)]
pub struct Gradients {
    /// Of this rank's micro-batches, `[n]`.
    own: BTreeMap<String, Tensor<1>>,
    /// This rank's shares of what was summed over all ranks.
    shares: BTreeMap<String, Tensor<1>>,
}

impl Gradients {
    /// Adds `[n]` to the gradient of `name`. What is added up is f32, whatever the type of the terms.
    pub fn add(&mut self, name: &str, gradient: Tensor<1>) {
        add_to(&mut self.own, name, gradient);
    }

    /// Adds this rank's share of a sum over all ranks to that of `name`.
    pub fn add_share(&mut self, name: &str, share: Tensor<1>) {
        add_to(&mut self.shares, name, share);
    }

    /// Adds `rows`, `[tokens, hidden]`, to the rows `ids` of the gradient of a `shape` = `[vocab, hidden]` matrix: the
    /// backward pass of an embedding.
    pub fn add_rows(&mut self, name: &str, shape: [usize; 2], ids: &[i32], rows: Tensor<2>) {
        let sum = match self.own.remove(name) {
            Some(sum) => sum.cast(DType::F32).reshape(shape),
            None => Tensor::zeros(shape, (&rows.device(), DType::F32)),
        };
        let rows = rows.cast(DType::F32);
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids.to_vec(), [ids.len()]), &rows.device());
        let sum = sum.select_assign(0, ids, rows, burn::tensor::IndexingUpdateOp::Add);
        self.own.insert(name.to_owned(), sum.reshape([-1]));
    }

    /// The gradient of `name`, `[n]`, or this rank's share of it.
    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.own.get(name).or_else(|| self.shares.get(name))
    }

    /// Takes the gradient of `name`, `[n]`, or this rank's share of it, out.
    pub fn take(&mut self, name: &str) -> Option<Tensor<1>> {
        self.own.remove(name).or_else(|| self.shares.remove(name))
    }

    /// All names and gradients, or shares of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<1>)> {
        self.own.iter().chain(&self.shares).map(|(name, gradient)| (name.as_str(), gradient))
    }

    /// Adds zero to every parameter of `model` that is trained: what a rank without rows in a step has to say.
    pub fn add_zeros(&mut self, model: &Llama) {
        let device = model.head().device();
        for (name, count) in trained(model, "") {
            self.add(&name, Tensor::zeros([count], (&device, DType::F32)));
        }
    }

    /// Sums what is not summed yet over all ranks and keeps this rank's shares.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn reduce(mut self, group: &Group) -> Result<Self, TrainError> {
        for (name, gradient) in std::mem::take(&mut self.own) {
            self.add_share(&name, group.reduce(gradient)?);
        }
        Ok(self)
    }

    /// The squared Euclidean norm over all parameters together, summed in f64. The device is read once.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn squared_norm(&self) -> f64 {
        let squares: Vec<Tensor<1>> =
            self.iter().map(|(_, gradient)| squared_norm(gradient.clone())).collect();
        if squares.is_empty() {
            return 0.0;
        }
        let squares: Vec<f32> =
            Tensor::cat(squares, 0).try_into_vec_as().expect("floats that the device computed");
        squares.into_iter().map(f64::from).sum()
    }
}

fn add_to(sums: &mut BTreeMap<String, Tensor<1>>, name: &str, gradient: Tensor<1>) {
    let sum = match sums.remove(name) {
        Some(sum) => sum.cast(DType::F32).add(gradient.cast(DType::F32)),
        None => gradient,
    };
    sums.insert(name.to_owned(), sum);
}

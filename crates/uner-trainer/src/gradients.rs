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
pub struct Gradients(BTreeMap<String, Tensor<1>>);

impl Gradients {
    /// Adds `[n]` to the gradient of `name`. What is added up is f32, whatever the type of the terms.
    pub fn add(&mut self, name: &str, gradient: Tensor<1>) {
        let sum = match self.0.remove(name) {
            Some(sum) => sum.cast(DType::F32).add(gradient.cast(DType::F32)),
            None => gradient,
        };
        self.0.insert(name.to_owned(), sum);
    }

    /// Adds `rows`, `[tokens, hidden]`, to the rows `ids` of the gradient of a `shape` = `[vocab, hidden]` matrix: the
    /// backward pass of an embedding.
    pub fn add_rows(&mut self, name: &str, shape: [usize; 2], ids: &[i32], rows: Tensor<2>) {
        let sum = match self.0.remove(name) {
            Some(sum) => sum.cast(DType::F32).reshape(shape),
            None => Tensor::zeros(shape, (&rows.device(), DType::F32)),
        };
        let rows = rows.cast(DType::F32);
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids.to_vec(), [ids.len()]), &rows.device());
        let sum = sum.select_assign(0, ids, rows, burn::tensor::IndexingUpdateOp::Add);
        self.0.insert(name.to_owned(), sum.reshape([-1]));
    }

    /// The gradient of `name`, `[n]`.
    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.0.get(name)
    }

    /// Takes the gradient of `name`, `[n]`, out.
    pub fn take(&mut self, name: &str) -> Option<Tensor<1>> {
        self.0.remove(name)
    }

    /// All names and gradients, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<1>)> {
        self.0.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }

    /// Zero for every parameter that is trained: of a rank that has no rows in a step.
    pub fn zeros(model: &Llama) -> Self {
        let device = model.head().device();
        let zeros = |(name, count)| (name, Tensor::zeros([count], (&device, DType::F32)));
        Self(trained(model, "").into_iter().map(zeros).collect())
    }

    /// Sums each gradient over all ranks and keeps this rank's share of it.
    ///
    /// # Errors
    /// When another rank has failed.
    pub fn reduce(self, group: &Group) -> Result<Self, TrainError> {
        let reduced = self.0.into_iter().map(|(name, gradient)| Ok((name, group.reduce(gradient)?)));
        Ok(Self(reduced.collect::<Result<_, TrainError>>()?))
    }

    /// The squared Euclidean norm over all parameters together, summed in f64. The device is read once.
    ///
    /// # Panics
    /// When the device cannot be read.
    pub fn squared_norm(&self) -> f64 {
        let squares: Vec<Tensor<1>> =
            self.0.values().map(|gradient| squared_norm(gradient.clone())).collect();
        if squares.is_empty() {
            return 0.0;
        }
        let squares: Vec<f32> =
            Tensor::cat(squares, 0).try_into_vec_as().expect("floats that the device computed");
        squares.into_iter().map(f64::from).sum()
    }
}

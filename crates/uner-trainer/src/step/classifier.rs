//! Training of a token classifier. Its encoder is small beside a language model, so that a
//! micro-batch has one graph, and every rank stores all weights.

use std::borrow::Cow;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::Dtype;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_model::Flops;
use uner_model::bert::{BertConfig, EncoderContext, TokenClassifier, WORDS, checkpoint_name};
use uner_model::parameters::{take_gradients, trained};
use uner_model::weights::HostTensor;

use super::gradients::Gradients;
use super::optimizer::{AdamW, Update};
use super::parameters;
use super::trainable::{Pass, Trainable};
use super::weights::Weights;
use crate::config::TrainConfig;
use crate::data::Batch;
use crate::data::dropout_keys::keys;
use crate::data::loader::StepData;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::metrics::timing::{Breakdown, Stopwatch};

/// The tokens of a batch that have a label, and their labels.
fn labelled(batch: &Batch) -> (Vec<i32>, Vec<i32>) {
    let labels = (0..).zip(&batch.labels).filter(|(_, label)| **label != IGNORE_INDEX);
    labels.map(|(index, &label)| (index, label)).unzip()
}

/// The context of a batch, with dropout if it has keys.
fn context<'a>(config: &'a BertConfig, batch: &Batch, device: &Device) -> EncoderContext<'a> {
    let Batch { positions, document, rows, .. } = batch;
    let context = EncoderContext::new(config, positions, document, *rows, device);
    match batch.dropout_key {
        Some(key) => context.with_dropout(&keys(batch, key)),
        None => context,
    }
}

/// The summed cross-entropy of a batch, `[1]`, from the embeddings of its words.
fn loss(
    model: &TokenClassifier,
    config: &BertConfig,
    words: Tensor<2>,
    batch: &Batch,
) -> Tensor<1> {
    let device = words.device();
    let (at, labels) = labelled(batch);
    let logits = model.logits(words, &context(config, batch, &device), &at);
    let labels = TensorData::new(labels, [at.len(), 1]);
    let labels = Tensor::<2, Int>::from_data(labels, &device);
    log_softmax(logits, 1).gather(1, labels).sum().neg()
}

/// A micro-batch after its forward pass.
struct Forward {
    network: TokenClassifier,
    /// The embeddings of its words.
    words: Tensor<2>,
    /// Its loss, `[1]`.
    loss: Tensor<1>,
}

impl Forward {
    fn new(model: &TokenClassifier, config: &BertConfig, batch: &Batch) -> Self {
        // The gradient of the word embedding is added by rows: the matrix is large, and a batch has
        // few of its rows.
        let words = model.words(&batch.ids).autodiff().require_grad();
        let network = model.clone().train();
        let loss = loss(&network, config, words.clone(), batch);
        Self { network, words, loss }
    }

    /// Adds the gradients, and returns the loss, `[1]`.
    fn backward(self, batch: &Batch, gradients: &mut Gradients) -> Tensor<1> {
        let Self { network, words, loss } = self;
        let shape = network.bert.embeddings.word_embeddings.weight.dims();
        let mut graph = loss.clone().backward();
        take_gradients(&network, "", &mut graph, |name, gradient| gradients.add(name, gradient));
        if let Some(gradient) = words.grad_remove(&mut graph) {
            gradients.add_rows(WORDS, shape, &batch.ids, gradient);
        }
        loss.inner()
    }
}

impl Trainable for TokenClassifier {
    type Model = Self;
    type Config = BertConfig;

    fn device(&self) -> Device {
        self.device()
    }

    fn gathered(&self, _group: &Group) -> Result<Cow<'_, Self>, TrainError> {
        Ok(Cow::Borrowed(self))
    }

    fn loss(model: &Self, config: &BertConfig, batch: &Batch) -> Tensor<1> {
        loss(model, config, model.words(&batch.ids), batch)
    }

    fn accumulate(
        &self,
        Pass { config, group, .. }: Pass<BertConfig>,
        data: &StepData,
        gradients: &mut Gradients,
        breakdown: &mut Breakdown,
    ) -> Result<f64, TrainError> {
        let device = self.device();
        let mut watch = Stopwatch::start(&device);
        let mut losses: Vec<Tensor<1>> = Vec::new();
        for batch in data.micro_batches_of(group) {
            let pass = Forward::new(self, config, batch);
            watch.lap(&mut breakdown.forward);
            losses.push(pass.backward(batch, gradients));
            watch.lap(&mut breakdown.backward);
        }
        if losses.is_empty() {
            gradients.add_zeros(self, &device);
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
        optimizer.step(self, gradients, config, update, group)
    }

    fn trained(&self) -> Vec<String> {
        trained(self, "").into_iter().map(|(name, _)| name).collect()
    }

    fn shards(&self, wanted: &dyn Fn(&str) -> bool, group: &Group) -> Vec<(String, Tensor<1>)> {
        parameters::shards(self, wanted, group)
    }

    fn read(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        group: &Group,
        show: &mut dyn FnMut(String, Vec<usize>, TensorData),
    ) -> Result<(), TrainError> {
        if group.is_main() {
            parameters::read(self, wanted, show);
        }
        Ok(())
    }

    fn weights(&self, config: &BertConfig, group: &Group) -> Result<Weights, TrainError> {
        let mut parameters = Vec::new();
        self.read(&|_| true, group, &mut |name, shape, values| {
            let tensor = HostTensor::of(values, shape, Dtype::F32);
            parameters.push((checkpoint_name(&name), tensor));
        })?;
        Ok(Weights::Classifier(parameters, Box::new(config.clone())))
    }

    fn torch_dtype(_config: &BertConfig) -> &'static str {
        "float32"
    }

    fn flops(&self, config: &BertConfig) -> Flops {
        let (width, layers) = (config.hidden_size as f64, config.num_hidden_layers as f64);
        let matrices = 4.0 * width * width + 2.0 * width * config.intermediate_size as f64;
        Flops {
            per_token: 6.0 * layers * matrices,
            per_trained_token: 6.0 * width * config.id2label.len() as f64,
            // Pairs are counted in one direction, and tokens see each other in both.
            per_pair: 24.0 * width * layers,
        }
    }
}

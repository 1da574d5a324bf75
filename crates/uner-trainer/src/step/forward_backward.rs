//! Loss and gradients of a micro-batch, block by block.
//!
//! Each block has its own autodiff graph. The forward pass keeps every block's input and, except
//! for the first `recomputed_blocks` blocks, its graph. The backward pass recomputes missing graphs
//! from their inputs (activation checkpointing; Chen et al. 2016, "Training Deep Nets with
//! Sublinear Memory Cost", with one segment per block). It seeds a graph with the gradient of the
//! block's output, and drops it as soon as its gradients are taken. With all blocks recomputed, one
//! graph exists at a time. A block's gradients are complete as soon as the block is done.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use uner_kernels::{Labels, linear_cross_entropy, seeded, token_losses};
use uner_model::parameters::take_gradients;
use uner_model::{Block, Context, Llama, LlamaConfig, SpanHead, SpanLabels};

use crate::data::batch::Batch;
use crate::data::dropout_keys;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::step::gradients::{Gradients, Stage};
use crate::step::rank_model::RankModel;

const EMBEDDING: &str = "model.embed_tokens.weight";

/// The autodiff graph of a block: its input (a leaf), its output, and the block, whose parameters
/// are the other leaves.
struct Graph {
    input: Tensor<2>,
    output: Tensor<2>,
    block: Block,
    name: String,
}

/// Runs `work`, which computes on `device`, on the fastest thread. On the CPU that is a rayon
/// worker: from any other thread, every kernel would pay for a wake-up. `work` must not block on
/// other rayon work. A GPU's work stays on the caller's thread, because each thread has its own
/// queue there.
pub fn on_worker_thread<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    if *device == Device::flex() { rayon::scope(|_| work()) } else { work() }
}

/// Adds the gradients of the batch's summed loss to `gradients` and returns the loss, `[1]`. Frozen
/// parameters get no gradient.
///
/// # Panics
/// When the device cannot compute.
pub fn accumulate(
    model: &Llama,
    config: &LlamaConfig,
    batch: &Batch,
    recomputed_blocks: usize,
    gradients: &mut Gradients,
) -> Tensor<1> {
    let (model, alone) = (RankModel::from(model.clone()), Group::single());
    accumulate_on_rank((&model, &alone), config, batch, recomputed_blocks, gradients)
        .expect("a single rank cannot see another fail")
}

/// As [`accumulate`], on one of several ranks. If blocks are sharded, every rank has to call.
///
/// # Errors
/// If blocks are sharded: when another rank has failed.
pub fn accumulate_on_rank(
    (model, group): (&RankModel, &Group),
    config: &LlamaConfig,
    batch: &Batch,
    recomputed_blocks: usize,
    gradients: &mut Gradients,
) -> Result<Tensor<1>, TrainError> {
    let prepared = Prepared::new(model, config, batch);
    Forward::new((model, group), prepared, recomputed_blocks, gradients)?.backward(gradients, false)
}

/// Joins the collectives of a micro-batch that only other ranks have, in the order of [`Forward`]:
/// the all-gather of each block, and the reduce-scatter of its gradients, to which it adds zeros.
pub(crate) fn join_collectives(
    (model, group): (&RankModel, &Group),
    recomputed_blocks: usize,
    gradients: &mut Gradients,
) -> Result<(), TrainError> {
    if !model.is_sharded() {
        return Ok(());
    }
    let blocks = model.num_blocks();
    for layer in 0..blocks {
        model.block(layer, group)?;
    }
    for layer in (0..blocks).rev() {
        if layer < recomputed_blocks {
            model.block(layer, group)?;
        }
        model.add_gradients(layer, BTreeMap::new(), group, gradients)?;
    }
    Ok(())
}

/// A micro-batch on the device. The host needs some milliseconds to copy it there, during which the
/// device can compute.
pub(crate) struct Prepared<'a> {
    batch: &'a Batch,
    context: Context<'a>,
    targets: Targets,
}

/// What the model's head has to predict.
enum Targets {
    /// The next tokens.
    Tokens(Box<Labels>),
    /// The entities of passages.
    Spans(Box<SpanLabels>),
}

impl Targets {
    fn of(batch: &Batch, device: &Device) -> Self {
        match batch.span_labels(device) {
            Some(labels) => Self::Spans(Box::new(labels)),
            None => Self::Tokens(Box::new(batch.labels(device))),
        }
    }
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(model: &RankModel, config: &'a LlamaConfig, batch: &'a Batch) -> Self {
        let device = model.device();
        let dropout = dropout_keys::dropout(model.local(), batch, &device);
        let context = Context { dropout, ..batch.context(config, &device) };
        Self { batch, context, targets: Targets::of(batch, &device) }
    }
}

/// A micro-batch after its forward pass, with the inputs of its backward pass.
pub(crate) struct Forward<'a> {
    model: &'a RankModel,
    group: &'a Group,
    prepared: Prepared<'a>,
    /// The input of each block.
    inputs: Vec<Tensor<2>>,
    /// The graphs of the last blocks, which are not recomputed.
    graphs: Vec<Graph>,
    hidden: Tensor<2>,
}

impl<'a> Forward<'a> {
    /// Runs embedding and blocks. A block that keeps its graph borrows the sums of its gradients
    /// until its backward pass.
    ///
    /// # Errors
    /// If blocks are sharded: when another rank has failed.
    pub(crate) fn new(
        (model, group): (&'a RankModel, &'a Group),
        prepared: Prepared<'a>,
        recomputed_blocks: usize,
        gradients: &mut Gradients,
    ) -> Result<Self, TrainError> {
        let (context, blocks) = (&prepared.context, model.num_blocks());
        let mut hidden = model.local().embed(&prepared.batch.ids);
        let mut inputs = Vec::with_capacity(blocks);
        let mut graphs = Vec::with_capacity(blocks.saturating_sub(recomputed_blocks));
        for layer in 0..blocks {
            let block = model.block(layer, group)?;
            inputs.push(hidden.clone());
            if layer < recomputed_blocks {
                hidden = block.forward(hidden, context);
            } else {
                let graph = Graph::new((layer, block.into_owned()), hidden, context, gradients);
                hidden = graph.output.clone().inner();
                graphs.push(graph);
            }
        }
        Ok(Self { model, group, prepared, inputs, graphs, hidden })
    }

    /// Runs head, loss and backward pass: see [`accumulate`]. In the `last` pass of a step, each
    /// reduce-scatter of gradients starts as soon as they are complete.
    ///
    /// # Errors
    /// In collectives: when another rank has failed.
    pub(crate) fn backward(
        self,
        gradients: &mut Gradients,
        last: bool,
    ) -> Result<Tensor<1>, TrainError> {
        let Self {
            model,
            group,
            prepared: Prepared { batch, context, targets },
            inputs,
            mut graphs,
            hidden,
        } = self;
        let (loss, mut gradient) = head(model.local(), context.config, hidden, &targets, gradients);
        if last {
            gradients.start(Stage::Head, group)?;
        }
        for (layer, input) in inputs.into_iter().enumerate().rev() {
            let graph = if let Some(graph) = graphs.pop() {
                graph
            } else {
                let block = (layer, model.block(layer, group)?.into_owned());
                Graph::new(block, input, &context, gradients)
            };
            let found;
            (found, gradient) = graph.backward(gradient);
            model.add_gradients(layer, found, group, gradients)?;
            if last {
                gradients.start(Stage::Block(Reverse(layer)), group)?;
            }
        }
        let model = model.local();
        let weight = model.model.embed_tokens.weight.val();
        if model.model.embed_tokens.clone().train().weight.val().is_require_grad() {
            gradients.add_rows(EMBEDDING, weight.dims(), &batch.ids, gradient);
        }
        Ok(loss)
    }
}

/// The summed loss of a batch, `[1]`, without gradients.
pub fn loss(model: &Llama, config: &LlamaConfig, batch: &Batch) -> Tensor<1> {
    let device = model.head().device();
    let hidden = model.hidden(&batch.ids, &batch.context(config, &device), None);
    match Targets::of(batch, &device) {
        Targets::Tokens(labels) => token_losses(hidden, model.head(), &labels).sum(),
        Targets::Spans(labels) => span_head(model).loss(hidden, &labels),
    }
}

/// Runs final norm, head and loss; returns the loss, `[1]`, and the gradient of `hidden`.
fn head(
    model: &Llama,
    config: &LlamaConfig,
    hidden: Tensor<2>,
    targets: &Targets,
    gradients: &mut Gradients,
) -> (Tensor<1>, Tensor<2>) {
    let norm = model.model.norm.clone().train();
    let hidden = hidden.autodiff().require_grad();
    let normed = norm.forward(hidden.clone(), config);
    let (loss, mut graph) = match targets {
        Targets::Tokens(labels) => {
            let weight = model.head_layer().clone().train().weight.val();
            let loss = linear_cross_entropy(normed, weight.clone(), labels);
            let mut graph = loss.clone().backward();
            if let Some(gradient) = weight.grad_remove(&mut graph) {
                let name = if model.lm_head.is_some() { "lm_head.weight" } else { EMBEDDING };
                gradients.add(name, gradient.reshape([-1]));
            }
            (loss, graph)
        }
        Targets::Spans(labels) => {
            let head = span_head(model).clone().train();
            let loss = head.loss(normed, labels);
            let mut graph = loss.clone().backward();
            let add = |name: &str, gradient| gradients.add(name, gradient);
            take_gradients(&head, "span_head", &mut graph, add);
            (loss, graph)
        }
    };
    take_gradients(&norm, "model.norm", &mut graph, |name, gradient| gradients.add(name, gradient));
    let gradient = hidden.grad_remove(&mut graph).unwrap_or_else(|| hidden.zeros_like().inner());
    (loss.inner(), gradient)
}

fn span_head(model: &Llama) -> &SpanHead {
    model.span_head.as_ref().expect("tags are predicted by a span head")
}

impl Graph {
    fn new(
        (layer, block): (usize, Block),
        input: Tensor<2>,
        context: &Context,
        gradients: &mut Gradients,
    ) -> Self {
        let name = format!("model.layers.{layer}");
        let mut block = block.train();
        gradients.lend(&mut block, &name);
        let input = input.autodiff().require_grad();
        let output = block.forward(input.clone(), context);
        Self { input, output, block, name }
    }

    /// Returns the gradients of the block's parameters, `[n]`, by name (for a lent sum, the sum
    /// including them), and the gradient of its input, `[tokens, hidden_size]`.
    fn backward(mut self, gradient: Tensor<2>) -> (BTreeMap<String, Tensor<1>>, Tensor<2>) {
        let mut graph = seeded(self.output, gradient).backward();
        let mut found = BTreeMap::new();
        take_gradients(&self.block, &self.name, &mut graph, |name, gradient| {
            found.insert(name.to_owned(), gradient);
        });
        for (layer, linear) in self.block.linears() {
            if let Some(sum) =
                linear.gradient_sum.take().and_then(|sum| sum.grad_remove(&mut graph))
            {
                found.insert(format!("{}.{layer}.weight", self.name), sum.reshape([-1]));
            }
        }
        let gradient =
            self.input.grad_remove(&mut graph).expect("the input is a leaf of the block's graph");
        (found, gradient)
    }
}

//! Loss and gradients of a micro-batch, block by block.
//!
//! Every block is its own autodiff graph. Going forward, the block's input is kept, and for the last `kept_blocks`
//! blocks the graph too; going backward, a graph that was not kept is rebuilt from the input, seeded with the gradient
//! of the block's output, and let go as soon as its gradients are taken. Memory is bounded by one block (Chen et al.
//! 2016, "Training Deep Nets with Sublinear Memory Cost", with one segment a block), and each block's gradients are at
//! hand the moment they are complete.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use uner_kernels::{Labels, linear_cross_entropy, token_losses};
use uner_model::parameters::take_gradients;
use uner_model::{Block, Context, Llama, LlamaConfig};

use crate::batch::Batch;
use crate::gradients::Gradients;
use crate::noise;

const EMBEDDING: &str = "model.embed_tokens.weight";

/// One block's autodiff graph: input leaf, output, and the block whose parameters are the other leaves.
struct Graph {
    input: Tensor<2>,
    output: Tensor<2>,
    block: Block,
}

/// Runs `work`, which computes on `device`, where that is fastest. On the CPU that is one of the threads that kernels use: from
/// any other, each kernel has to wake one and be woken by it. `work` must not wait for what these threads compute for somebody
/// else. A GPU's work stays on the caller's thread, since each thread has a queue of its own there.
pub fn beside_the_kernels<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    if *device == Device::flex() { rayon::scope(|_| work()) } else { work() }
}

/// Adds the gradients of the batch's summed loss to `gradients` and returns that sum, `[1]`. Frozen parameters get none.
pub fn accumulate(
    model: &Llama,
    config: &LlamaConfig,
    batch: &Batch,
    kept_blocks: usize,
    gradients: &mut Gradients,
) -> Tensor<1> {
    Forward::new(model, config, batch, kept_blocks).backward(gradients)
}

/// A micro-batch that has passed the blocks forward: what the way back needs.
pub(crate) struct Forward<'a> {
    model: &'a Llama,
    config: &'a LlamaConfig,
    batch: &'a Batch,
    context: Context<'a>,
    /// What went into each block.
    inputs: Vec<Tensor<2>>,
    /// The graphs of the last blocks.
    kept: Vec<Graph>,
    hidden: Tensor<2>,
}

impl<'a> Forward<'a> {
    /// Embedding and blocks.
    pub(crate) fn new(
        model: &'a Llama,
        config: &'a LlamaConfig,
        batch: &'a Batch,
        kept_blocks: usize,
    ) -> Self {
        let device = model.head().device();
        let context =
            Context { dropout: noise::dropout(model, batch, &device), ..batch.context(config, &device) };
        let recomputed = model.model.layers.len().saturating_sub(kept_blocks);

        let mut hidden = model.embed(&batch.ids);
        let mut inputs = Vec::with_capacity(model.model.layers.len());
        let mut kept = Vec::with_capacity(kept_blocks);
        for (layer, block) in model.model.layers.iter().enumerate() {
            inputs.push(hidden.clone());
            if layer < recomputed {
                hidden = block.forward(hidden, &context, None);
            } else {
                let graph = Graph::new(block, hidden, &context);
                hidden = graph.output.clone().inner();
                kept.push(graph);
            }
        }
        Self { model, config, batch, context, inputs, kept, hidden }
    }

    /// Head, loss and the way back: see [`accumulate`].
    pub(crate) fn backward(self, gradients: &mut Gradients) -> Tensor<1> {
        let Self { model, config, batch, context, inputs, mut kept, hidden } = self;
        let weight = model.model.embed_tokens.weight.val();
        let labels = batch.labels(&weight.device());
        let (loss, mut gradient) = head(model, config, hidden, &labels, gradients);
        for (layer, (block, input)) in model.model.layers.iter().zip(inputs).enumerate().rev() {
            let graph = kept.pop().unwrap_or_else(|| Graph::new(block, input, &context));
            gradient = graph.backward(layer, gradient, gradients);
        }
        if model.model.embed_tokens.clone().train().weight.val().is_require_grad() {
            gradients.add_rows(EMBEDDING, weight.dims(), &batch.ids, gradient);
        }
        loss
    }
}

/// The summed loss of a batch, `[1]`, without gradients.
pub fn loss(model: &Llama, config: &LlamaConfig, batch: &Batch) -> Tensor<1> {
    let device = model.head().device();
    let hidden = model.hidden(&batch.ids, &batch.context(config, &device), None);
    token_losses(hidden, model.head(), &batch.labels(&device)).sum()
}

/// Final norm, head and loss: returns the loss and the gradient of `hidden`.
fn head(
    model: &Llama,
    config: &LlamaConfig,
    hidden: Tensor<2>,
    labels: &Labels,
    gradients: &mut Gradients,
) -> (Tensor<1>, Tensor<2>) {
    let norm = model.model.norm.clone().train();
    let weight = model.head_layer().clone().train().weight.val();
    let hidden = hidden.autodiff().require_grad();
    let loss = linear_cross_entropy(norm.forward(hidden.clone(), config), weight.clone(), labels);
    let mut graph = loss.clone().backward();
    take_gradients(&norm, "model.norm", &mut graph, |name, gradient| gradients.add(name, gradient));
    if let Some(gradient) = weight.grad_remove(&mut graph) {
        let name = if model.lm_head.is_some() { "lm_head.weight" } else { EMBEDDING };
        gradients.add(name, gradient.reshape([-1]));
    }
    let gradient = hidden.grad_remove(&mut graph).unwrap_or_else(|| hidden.zeros_like().inner());
    (loss.inner(), gradient)
}

impl Graph {
    fn new(block: &Block, input: Tensor<2>, context: &Context) -> Self {
        let block = block.clone().train();
        let input = input.autodiff().require_grad();
        let output = block.forward(input.clone(), context, None);
        Self { input, output, block }
    }

    /// Adds the gradients of the block's parameters and returns that of its input, `[tokens, hidden_size]`.
    fn backward(self, layer: usize, gradient: Tensor<2>, gradients: &mut Gradients) -> Tensor<2> {
        // The value of this sum is of no use; its gradient with respect to `output` is `gradient`, exactly.
        let mut graph = self.output.mul(gradient).sum().backward();
        take_gradients(&self.block, &format!("model.layers.{layer}"), &mut graph, |name, gradient| {
            gradients.add(name, gradient);
        });
        self.input.grad_remove(&mut graph).expect("the input is a leaf of the block's graph")
    }
}

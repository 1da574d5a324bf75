//! Estimates the memory of a run from its dimensions before it starts, and chooses a layout that
//! fits.
//!
//! Weights, master weights and moments always exist. The largest phase of a step adds to them. The
//! phases are those of [`uner_trainer::step`], in their order: the head with its loss, when all
//! block inputs and kept activations exist; the backward pass of every block, which frees its
//! activations on the way; the update, when all gradients exist. The first micro-batch of a step
//! starts without gradients; later ones start with all of them, and add to them block by block.
//!
//! The estimate leaves out memory that does not grow with the model: the program, the tokenizer,
//! the encoded data (a file), the tables of positions and visibility (tens of bytes a token), and
//! the scores of one attention tile on each thread.

mod advice;
mod block;
mod flops;
mod layout;
mod storage;

#[cfg(test)]
mod tests;

pub use advice::{Change, Outcome, changes};
pub use flops::TokenFlops;
pub use layout::{Choice, choose};
pub use storage::{OnFrozen, Storage};

use serde::{Deserialize, Serialize};
use uner_kernels::device::DeviceName;
use uner_kernels::linear_cross_entropy::{CPU_LOGITS_BYTES, GPU_LOGITS_BYTES};
use uner_model::adapter::Target;
use uner_model::{LlamaConfig, Size};
pub use uner_trainer::{Layout, Sharding};

use block::{BlockCost, Phase};

/// Bytes of a logit: f32, whatever the type of the operands.
const LOGIT: f64 = 4.0;

/// Assumed number of types of a micro-batch that a span head compares its tokens with.
const SPAN_TYPES: f64 = 32.0;

/// Everything that memory depends on, except the layout.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    /// The model's dimensions.
    pub model: &'a LlamaConfig,
    /// How its numbers are stored.
    pub storage: Storage,
    /// The adapter that is trained instead of the model.
    pub adapter: Option<OnFrozen<'a>>,
    /// Ranks that master weights and moments are sharded over (ZeRO-1, Rajbhandari et al. 2020).
    pub ranks: usize,
    /// Whether the blocks must be sharded because they were before the run was resumed; otherwise
    /// they are sharded only if nothing else fits.
    pub must_shard: bool,
    /// Tokens of a row.
    pub row_length: usize,
    /// Approximate rows per rank and step.
    pub step_rows: usize,
    /// Share of the tokens that carry loss, from 0 to 1; only their logits are computed.
    pub trained_share: f64,
    /// Most bytes of logits that exist at a time.
    pub logits_limit: usize,
}

impl<'a> Workload<'a> {
    /// Full fine-tuning of a model on one device, in steps of one row whose tokens all carry loss.
    pub fn on(device: DeviceName, model: &'a LlamaConfig, row_length: usize) -> Self {
        Self {
            model,
            storage: Storage::on(device),
            adapter: None,
            ranks: 1,
            must_shard: false,
            row_length,
            step_rows: 1,
            trained_share: 1.0,
            logits_limit: if device.is_host() { CPU_LOGITS_BYTES } else { GPU_LOGITS_BYTES },
        }
    }

    /// Its parameter counts.
    pub fn size(&self) -> Size {
        Size::new(self.model, self.adapter.map(|frozen| frozen.adapter))
    }
}

/// Number of blocks that keep their activations.
fn blocks_not_recomputed(work: &Workload, layout: Layout) -> usize {
    work.model.num_hidden_layers.saturating_sub(layout.recomputed_blocks)
}

/// Number of sharded blocks that are gathered at a time: each is gathered before it runs, and freed
/// together with its activations.
fn gathered_blocks(work: &Workload, layout: Layout) -> f64 {
    blocks_not_recomputed(work, layout).max(1) as f64
}

/// Whether the blocks are sharded.
fn is_sharded(layout: Layout) -> bool {
    layout.sharding == Sharding::Zero3
}

/// Bytes on one device in the largest phase of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Weights the model computes with.
    pub weights: u64,
    /// The bits of the f32 master weights that the weights lack.
    pub master: u64,
    /// Both moments of the optimizer.
    pub moments: u64,
    /// Gradients of parameters.
    pub gradients: u64,
    /// The input of each block.
    pub inputs: u64,
    /// Activations that blocks keep for the backward pass.
    pub activations: u64,
    /// Logits, and the inputs and outputs of the head.
    pub head: u64,
    /// Gradients of activations, and matrices that are unpacked or gathered for a while.
    pub workspace: u64,
    /// The copy of weights and moments that a checkpoint is written from.
    pub checkpoint: u64,
}

impl Memory {
    /// The estimate for a layout.
    pub fn of(work: &Workload, layout: Layout) -> Self {
        let size = work.size();
        let resident = resident(work, &size, layout);
        let whole = if is_sharded(layout) {
            unsharded(work, &size, &resident, layout)
        } else {
            Memory::default()
        };
        let phases = phases(work, &size, layout).chain([whole]);
        let largest = phases.max_by_key(Self::total).unwrap_or_default();
        let Self { weights, master, moments, checkpoint, .. } = resident;
        Self { weights, master, moments, checkpoint, ..largest }
    }

    /// The sum of all categories.
    pub fn total(&self) -> u64 {
        let Self {
            weights,
            master,
            moments,
            gradients,
            inputs,
            activations,
            head,
            workspace,
            checkpoint,
        } = *self;
        weights
            + master
            + moments
            + gradients
            + inputs
            + activations
            + head
            + workspace
            + checkpoint
    }

    /// The categories with their names, in the order in which they are printed.
    pub fn categories(&self) -> [(&'static str, u64); 9] {
        [
            ("weights", self.weights),
            ("master weights", self.master),
            ("moments", self.moments),
            ("gradients", self.gradients),
            ("block inputs", self.inputs),
            ("activations", self.activations),
            ("logits and head", self.head),
            ("workspace", self.workspace),
            ("checkpoint", self.checkpoint),
        ]
    }
}

/// Memory that always exists: weights, master weights, moments, and their copy for a checkpoint.
fn resident(work: &Workload, size: &Size, layout: Layout) -> Memory {
    let Workload { storage, ranks, .. } = *work;
    let others = (size.embeddings * size.embedding + size.norm) as f64;
    let span_head = storage.parameter * size.span_head as f64;
    let ranks = ranks as f64;
    let blocks = size.blocks as f64;
    let gathered = gathered_blocks(work, layout);
    let blocks = if is_sharded(layout) { blocks / ranks + gathered } else { blocks };
    let weights = match &work.adapter {
        None => storage.parameter * (blocks * size.block() as f64 + others),
        Some(frozen) => {
            let others = blocks * size.block_vectors as f64 + others;
            frozen.matrix_value(storage) * blocks * size.block_matrices as f64
                + frozen.other_value(storage) * others
                + storage.parameter * size.adapter() as f64
        }
    };
    let states = size.trained() as f64 / ranks;
    Memory {
        weights: (weights + span_head) as u64,
        master: (storage.master * states) as u64,
        moments: (storage.moments * states) as u64,
        checkpoint: (storage.snapshot * size.trained() as f64) as u64,
        ..Memory::default()
    }
}

/// Extra memory of a model with sharded blocks while it is gathered: before a run, when it is read
/// in f32, and during evaluations.
fn unsharded(work: &Workload, size: &Size, resident: &Memory, layout: Layout) -> Memory {
    let model = size.model() as f64;
    let read = Storage::F32.parameter * model - (resident.weights + resident.moments) as f64;
    let gathered = work.storage.parameter * gathered_blocks(work, layout) * size.block() as f64;
    let evaluated = work.storage.parameter * model - gathered;
    Memory { workspace: read.max(evaluated) as u64, ..Memory::default() }
}

/// Memory that each phase of the last micro-batch of a step adds to the memory that always exists.
fn phases<'a>(
    work: &'a Workload<'a>,
    size: &'a Size,
    layout: Layout,
) -> impl Iterator<Item = Memory> + use<'a> {
    let cost = BlockCost::new(work, layout.micro_batch_rows.get());
    let gradients = Gradients::new(work, size, layout);
    let blocks = work.model.num_hidden_layers;
    let head = head(work, &cost, layout, &gradients);
    let update = Memory { gradients: gradients.all as u64, ..Memory::default() };
    let backward = (0..blocks).flat_map(move |index| block(work, &cost, layout, &gradients, index));
    [head, update].into_iter().chain(backward)
}

/// Bytes of gradients that exist before a phase of the last micro-batch of a step.
#[derive(Debug, Clone, Copy)]
struct Gradients {
    /// All parameters.
    all: f64,
    /// Of all parameters, from the earlier micro-batches; 0 if there is only one micro-batch.
    earlier: f64,
    /// The head, before it is added to the earlier ones.
    head: f64,
    /// One block.
    block: f64,
}

impl Gradients {
    fn new(work: &Workload, size: &Size, layout: Layout) -> Self {
        let bytes = work.storage.gradient;
        let full = work.adapter.is_none();
        let block = bytes * if full { size.block() } else { size.block_adapter } as f64;
        let span_head = bytes * size.span_head as f64;
        let head = match (work.model.span_head, full) {
            (true, _) => span_head,
            (false, true) => bytes * size.embedding as f64,
            (false, false) => 0.0,
        };
        let others =
            if full { bytes * (size.embeddings * size.embedding + size.norm) as f64 } else { 0.0 };
        let others = others + span_head;
        // A rank keeps its shard of a sharded block's gradient; the embedding, the head and the
        // norm are not sharded.
        let block = if is_sharded(layout) { block / work.ranks as f64 } else { block };
        let all = block * size.blocks as f64 + others;
        let earlier = if layout.micro_batch_rows.get() < work.step_rows { all } else { 0.0 };
        Self { all, earlier, head, block }
    }

    /// Bytes before the backward pass of block `index` of `blocks`.
    fn before(&self, index: usize, blocks: usize) -> f64 {
        if self.earlier > 0.0 {
            return self.earlier;
        }
        self.head + self.block * (blocks - 1 - index) as f64
    }
}

/// The final norm, the head and the loss: all block inputs and kept activations still exist.
fn head(work: &Workload, cost: &BlockCost, layout: Layout, gradients: &Gradients) -> Memory {
    let (h, vocab) = (work.model.hidden_size as f64, work.model.vocab_size as f64);
    let blocks = work.model.num_hidden_layers;
    let trained = (layout.micro_batch_rows.get() * work.row_length) as f64 * work.trained_share;
    let rows = trained.min((work.logits_limit as f64 / LOGIT / vocab).floor().max(1.0)).ceil();
    // On a GPU the gradient of the logits is written in the type of the operands; on the CPU it
    // overwrites the logits.
    let dlogits = if work.storage.activation < LOGIT { work.storage.activation } else { 0.0 };
    let chunk = if work.model.span_head {
        // Of each tagged token, in f32: its hidden state and two products, with their gradients;
        // for each type three scores and their logarithms, with theirs.
        trained * LOGIT * (6.0 * h + 12.0 * SPAN_TYPES)
    } else {
        rows * (vocab * (LOGIT + dlogits) + 2.0 * h * work.storage.activation)
    };
    Memory {
        gradients: (gradients.earlier + gradients.head) as u64,
        inputs: (blocks as f64 * cost.activations(work.model.hidden_size)) as u64,
        activations: (blocks_not_recomputed(work, layout) as f64 * cost.graph()) as u64,
        // The last block's output, the output of the final norm, and the gradient of the latter.
        head: (chunk + 3.0 * cost.activations(work.model.hidden_size)) as u64,
        ..Memory::default()
    }
}

/// The phases of the backward pass of block `index`; the inputs and activations of later blocks are
/// freed already.
fn block(
    work: &Workload,
    cost: &BlockCost,
    layout: Layout,
    gradients: &Gradients,
    index: usize,
) -> impl Iterator<Item = Memory> + use<> {
    let blocks = work.model.num_hidden_layers;
    let graphs_before = index.saturating_sub(layout.recomputed_blocks);
    let (inputs, activations) = (
        (index + 1) as f64 * cost.activations(work.model.hidden_size),
        graphs_before as f64 * cost.graph(),
    );
    let before = gradients.before(index, blocks);
    // A packed weight is unpacked completely for a product.
    let packed = work.adapter.is_some_and(|frozen| frozen.base.is_some());
    let widest = Target::ALL
        .into_iter()
        .map(|target| target.dims(work.model).into_iter().product::<usize>());
    let unpacked =
        if packed { widest.max().unwrap_or(0) as f64 * work.storage.activation } else { 0.0 };
    cost.backward().into_iter().map(move |Phase { graph, workspace, gradients }| Memory {
        gradients: (before + gradients) as u64,
        inputs: inputs as u64,
        activations: (activations + graph) as u64,
        workspace: (workspace + unpacked) as u64,
        ..Memory::default()
    })
}

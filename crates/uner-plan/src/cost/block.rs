//! What one block takes: its graph while it is kept, and what its backward pass needs on top of it.
//!
//! With `h` hidden, `q` query and `k` key/value channels, `i` intermediate and `n` heads, the
//! backward pass of a block reads, for each token, beside the block's input:
//!
//! - `2q + 2k + n`: attention's rotated queries and keys, values, output, and log-sum-exp (`n`,
//!   f32);
//! - `h`: the residual sum before the second norm;
//! - `2i`: gate and up;
//! - `rank` for each layer with an adapter: what its second factor reads.
//!
//! What trained projections read is computed again when the backward pass comes to them: the output
//! of the two norms (`h` each) and the activation (`i`).

use uner_model::adapter::Target;
use uner_model::{AdapterConfig, LlamaConfig};

use super::Workload;
use super::storage::channels;

/// A phase of the backward pass of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Phase {
    /// Bytes of the block's graph that are still held.
    pub(super) graph: f64,
    /// Bytes of gradients of activations.
    pub(super) workspace: f64,
    /// Bytes of gradients of this block's parameters that exist.
    pub(super) gradients: f64,
}

/// A block with `tokens` tokens.
pub(super) struct BlockCost<'a> {
    model: &'a LlamaConfig,
    adapter: Option<&'a AdapterConfig>,
    tokens: f64,
    activation: f64,
    gradient: f64,
}

impl<'a> BlockCost<'a> {
    pub(super) fn new(work: &'a Workload, rows: usize) -> Self {
        Self {
            model: work.model,
            adapter: work.adapter.map(|frozen| frozen.adapter),
            tokens: (rows * work.row_length) as f64,
            activation: work.storage.activation,
            gradient: work.storage.gradient,
        }
    }

    /// Bytes of `width` activations for each token.
    pub(super) fn activations(&self, width: usize) -> f64 {
        self.tokens * width as f64 * self.activation
    }

    /// Bytes of the whole graph.
    pub(super) fn graph(&self) -> f64 {
        let (h, i) = (self.model.hidden_size, self.model.intermediate_size);
        self.attention_graph() + self.activations(h + 2 * i)
    }

    /// What is left of the graph when the backward pass comes to attention.
    fn attention_graph(&self) -> f64 {
        let (q, k) = channels(self.model);
        let low_rank =
            self.adapter.map_or(0, |adapter| adapter.target_modules.len() * adapter.rank);
        let log_sum_exp = self.tokens * self.model.num_attention_heads as f64 * 4.0;
        self.activations(2 * q + 2 * k + low_rank) + log_sum_exp
    }

    fn read_by_attention(&self) -> usize {
        self.read([Target::QProj, Target::KProj, Target::VProj], self.model.hidden_size)
    }

    fn read_by_mlp(&self) -> usize {
        self.read([Target::GateProj, Target::UpProj], self.model.hidden_size)
    }

    /// `width` where one of the matrices is trained: only then is what they read computed again.
    fn read<const N: usize>(&self, matrices: [Target; N], width: usize) -> usize {
        if matrices.into_iter().any(|matrix| self.trained(matrix) > 0.0) { width } else { 0 }
    }

    /// Parameters of a matrix that are trained.
    fn trained(&self, matrix: Target) -> f64 {
        let [input, output] = matrix.dims(self.model);
        match self.adapter {
            None => (input * output) as f64,
            Some(adapter) if adapter.target_modules.contains(&matrix) => {
                (adapter.rank * (input + output)) as f64
            }
            Some(_) => 0.0,
        }
    }

    fn gradients(&self, matrices: &[Target]) -> f64 {
        matrices.iter().map(|matrix| self.trained(*matrix)).sum::<f64>() * self.gradient
    }

    /// The phases that can be the largest, first to last.
    pub(super) fn backward(&self) -> [Phase; 6] {
        use Target::{DownProj as Down, GateProj as Gate, OProj as O, UpProj as Up};
        let (h, i) = (self.model.hidden_size, self.model.intermediate_size);
        let (q, k) = channels(self.model);
        let graph = self.graph();
        let after_mlp = self.attention_graph() + self.activations(h + self.read_by_mlp());
        let phase = |graph, workspace, done: &[Target]| Phase {
            graph,
            workspace: self.activations(workspace),
            gradients: self.gradients(done),
        };
        [
            // The block's output, its gradient, and the product of both that seeds the pass.
            phase(graph, 3 * h, &[]),
            // The activation: the gradient of the output, which also goes past the block, that of
            // the activation, and those of gate and up, or, while the last projection's gradient is
            // formed, the activation itself.
            phase(graph, h + 3 * i, &[Down]),
            // The first of the two projections before it: its gradient's share of their common
            // input is new.
            phase(after_mlp, 2 * h + 2 * i, &[Down, Up]),
            // The second one.
            phase(after_mlp, 3 * h + i, &[Down, Up, Gate]),
            // Attention: the gradient of its output, and those of its inputs once by head and once
            // interleaved.
            phase(self.attention_graph(), h + 3 * q + 4 * k, &[Down, Up, Gate, O]),
            // The three projections before it.
            phase(self.activations(self.read_by_attention()), 3 * h + q, &Target::ALL),
        ]
    }
}

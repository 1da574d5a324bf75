//! Memory of one block: the activations that it saves, and what its backward pass adds to them.
//!
//! With `h` hidden, `q` query and `k` key/value channels, `i` intermediate and `n` heads, the
//! backward pass of a block reads, for each token, beside the block's input:
//!
//! - `2q + 2k + n`: attention's rotated queries and keys, values, output, and log-sum-exp (`n`,
//!   f32);
//! - `q + k`, if heads have norms: the inputs of these norms;
//! - `h`: the residual sum before the second norm;
//! - `2i`: gate and up;
//! - `rank` for each matrix with an adapter: the input of its second factor.
//!
//! The inputs of trained projections are recomputed when the backward pass reaches them: the
//! outputs of the two norms (`h` each) and the activation (`i`). Biases need no activations.

use uner_model::adapter::Target;
use uner_model::{AdapterConfig, LlamaConfig};

use super::Workload;
use super::storage::channels;

/// A phase of the backward pass of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Phase {
    /// Bytes of the block's saved activations that are not yet freed.
    pub(super) graph: f64,
    /// Bytes of gradients of activations, and of recomputed activations.
    pub(super) workspace: f64,
    /// Bytes of the gradients of this block's parameters that exist already.
    pub(super) gradients: f64,
}

/// A block in a micro-batch of `tokens` tokens.
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

    /// Bytes of all saved activations.
    pub(super) fn graph(&self) -> f64 {
        let (h, i) = (self.model.hidden_size, self.model.intermediate_size);
        self.attention_graph() + self.activations(h + 2 * i)
    }

    /// Bytes of saved activations that are left when the backward pass reaches attention.
    fn attention_graph(&self) -> f64 {
        let (q, k) = channels(self.model);
        let low_rank =
            self.adapter.map_or(0, |adapter| adapter.target_modules.len() * adapter.rank);
        let head_norms = if self.model.has_head_norms() { q + k } else { 0 };
        let log_sum_exp = self.tokens * self.model.num_attention_heads as f64 * 4.0;
        self.activations(2 * q + 2 * k + head_norms + low_rank) + log_sum_exp
    }

    fn read_by_attention(&self) -> usize {
        self.read([Target::QProj, Target::KProj, Target::VProj], self.model.hidden_size)
    }

    fn read_by_mlp(&self) -> usize {
        self.read([Target::GateProj, Target::UpProj], self.model.hidden_size)
    }

    /// `width` if one of the matrices is trained, else 0: only then is their input recomputed.
    fn read<const N: usize>(&self, matrices: [Target; N], width: usize) -> usize {
        if matrices.into_iter().any(|matrix| self.trained(matrix) > 0.0) { width } else { 0 }
    }

    /// Number of trained parameters of a matrix.
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

    /// The phases that can be the largest, in order.
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
            // The activation: the gradients of the output (which the residual path also needs), of
            // the activation, and of gate and up. The last two are not there while the gradient of
            // the last projection is computed, but the recomputed activation is.
            phase(graph, h + 3 * i, &[Down]),
            // The first of the two projections before it (up), which adds its part of the gradient
            // of their common input.
            phase(after_mlp, 2 * h + 2 * i, &[Down, Up]),
            // The second one (gate).
            phase(after_mlp, 3 * h + i, &[Down, Up, Gate]),
            // Attention: the gradient of its output, and the gradients of its inputs, once by head
            // and once interleaved.
            phase(self.attention_graph(), h + 3 * q + 4 * k, &[Down, Up, Gate, O]),
            // The three projections before it.
            phase(self.activations(self.read_by_attention()), 3 * h + q, &Target::ALL),
        ]
    }
}

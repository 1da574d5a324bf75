//! The loss on the CPU: computes the logits of one chunk of trained rows at a time, and turns them
//! into their own gradient in place.

use burn::backend::{Flex, TensorMetadata, ops::FloatTensorOps};
use rayon::prelude::*;

use super::{CPU_LOGITS_BYTES, LinearCrossEntropyKernels};
use crate::flex::{
    Floats, Ints, Matrix, Store, Weight, contiguous, exp, ints, largest, new_product, product,
    slice, sum, tensor, vectorized,
};

/// Logits per chunk.
const CHUNK_LOGITS: usize = CPU_LOGITS_BYTES / size_of::<f32>();

impl LinearCrossEntropyKernels for Flex {
    fn losses(hidden: Floats, weight: Floats, rows: Ints, targets: Ints) -> Floats {
        let head = Head::new(hidden, weight, &rows, &targets);
        let mut losses = Vec::with_capacity(head.rows.len());
        head.for_chunks(|chunk| losses.extend(chunk.losses()));
        let count = losses.len();
        tensor(losses, [count])
    }

    fn loss_and_gradients(
        hidden: Floats,
        weight: Floats,
        rows: Ints,
        targets: Ints,
        [hidden_wanted, weight_wanted]: [bool; 2],
    ) -> (Floats, [Option<Floats>; 2]) {
        let head = Head::new(hidden, weight, &rows, &targets);
        let (width, vocab) = (head.width, head.vocab);
        let mut loss = 0.0;
        let mut dhidden = hidden_wanted.then(|| vec![0.0; slice(&head.hidden).len()]);
        // Empty until the first chunk.
        let mut dweight = weight_wanted.then(Vec::new);
        let mut dgathered = Vec::new();
        head.for_chunks(|mut chunk| {
            loss += chunk.losses_and_gradients().into_iter().map(f64::from).sum::<f64>();
            let count = chunk.rows.len();
            let dlogits = Matrix::new(chunk.logits, count, vocab, vocab);
            if let Some(dhidden) = &mut dhidden {
                dgathered.resize(count * width, 0.0);
                head.weight.apply_transposed(dlogits, &mut dgathered);
                for (row, gradient) in chunk.rows.iter().zip(dgathered.chunks_exact(width)) {
                    dhidden[*row as usize * width..][..width].copy_from_slice(gradient);
                }
            }
            if let Some(dweight) = &mut dweight {
                let gathered = Matrix::new(chunk.gathered, count, width, width);
                if dweight.is_empty() {
                    *dweight = new_product(dlogits.transposed(), gathered);
                } else {
                    product(dweight, Store::Add, dlogits.transposed(), gathered, 1.0, true);
                }
            }
        });
        let dhidden = dhidden.map(|dhidden| tensor(dhidden, head.hidden.shape()));
        let dweight = dweight.map(|mut dweight| {
            dweight.resize(vocab * width, 0.0);
            tensor(dweight, [vocab, width])
        });
        (tensor(vec![loss as f32], [1]), [dhidden, dweight])
    }

    fn scale_gradient(gradient: Floats, dloss: Floats) -> Floats {
        // The usual case in training, where the backward pass begins at the loss.
        if slice(&contiguous(dloss.clone())) == [1.0] {
            return gradient;
        }
        Self::float_mul(gradient, Self::float_reshape(dloss, [1, 1].into()))
    }
}

/// The operands of a call.
struct Head {
    hidden: Floats,
    weight: Weight,
    width: usize,
    vocab: usize,
    rows: Vec<i32>,
    targets: Vec<i32>,
}

/// Some trained rows: their hidden states `[n, width]` and logits `[n, vocab]`.
struct Chunk<'a> {
    rows: &'a [i32],
    targets: &'a [i32],
    gathered: &'a [f32],
    logits: &'a mut [f32],
    vocab: usize,
}

impl Head {
    fn new(hidden: Floats, weight: Floats, rows: &Ints, targets: &Ints) -> Self {
        let (hidden, weight) = (contiguous(hidden), Weight::new(weight));
        let [vocab, width] = weight.dims();
        Self { hidden, weight, width, vocab, rows: ints(rows), targets: ints(targets) }
    }

    fn for_chunks(&self, mut work: impl FnMut(Chunk)) {
        let size = (CHUNK_LOGITS / self.vocab).max(1);
        let hidden = slice(&self.hidden);
        // Every chunk overwrites both, so that their memory is allocated once.
        let mut gathered = Vec::with_capacity(size.min(self.rows.len()) * self.width);
        let mut logits = Vec::new();
        for (rows, targets) in self.rows.chunks(size).zip(self.targets.chunks(size)) {
            gathered.clear();
            for &row in rows {
                gathered.extend_from_slice(&hidden[row as usize * self.width..][..self.width]);
            }
            self.weight
                .apply(Matrix::new(&gathered, rows.len(), self.width, self.width), &mut logits);
            work(Chunk {
                rows,
                targets,
                gathered: &gathered,
                logits: &mut logits,
                vocab: self.vocab,
            });
        }
    }
}

impl Chunk<'_> {
    fn losses(&self) -> Vec<f32> {
        let rows = self.logits.par_chunks_exact(self.vocab).zip(self.targets);
        rows.map(|(logits, &target)| {
            vectorized(
                #[inline(always)]
                || loss(logits, target),
            )
        })
        .collect()
    }

    /// Returns the losses; the logits become `softmax(logits) - onehot(target)`.
    fn losses_and_gradients(&mut self) -> Vec<f32> {
        let rows = self.logits.par_chunks_exact_mut(self.vocab).zip(self.targets);
        rows.map(|(logits, &target)| {
            vectorized(
                #[inline(always)]
                || loss_and_gradient(logits, target),
            )
        })
        .collect()
    }
}

#[inline(always)]
fn loss(logits: &[f32], target: i32) -> f32 {
    let max = largest(logits);
    let total = sum([logits], |[logit]| exp(logit - max));
    max + total.ln() - logits[target as usize]
}

#[inline(always)]
fn loss_and_gradient(logits: &mut [f32], target: i32) -> f32 {
    let max = largest(logits);
    let own = logits[target as usize];
    for logit in &mut *logits {
        *logit = exp(*logit - max);
    }
    let total = sum([logits], |[weight]| weight);
    let scale = 1.0 / total;
    for probability in &mut *logits {
        *probability *= scale;
    }
    logits[target as usize] -= 1.0;
    max + total.ln() - own
}

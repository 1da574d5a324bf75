//! Attention to a cache on the CPU. One task is one key/value head of one sequence. It copies the
//! head's keys and values into order, so that a result does not depend on the slots they were in,
//! and multiplies them with one tile of queries after the other.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use rayon::prelude::*;

use super::{CacheLayout, CachedAttentionOps, Sequence};
use crate::flex::{
    Floats, Matrix, Store, contiguous, dims, product, product_strided, slice, softmax, tensor,
    vectorized, whole_buffer,
};

/// Rows of queries per tile: few enough for the scores of a few thousand keys to stay in cache.
const TILE: usize = 64;

impl CachedAttentionOps for Flex {
    fn cached_attention(q: Floats, keys: Floats, values: Floats, layout: CacheLayout) -> Floats {
        let (q, keys, values) = (contiguous(q), contiguous(keys), contiguous(values));
        let ([_, heads, head_dim], [_, kv_heads, _]) = (dims(&q), dims(&keys));
        let group = heads / kv_heads;
        let sequences: Vec<(&Sequence, usize)> = layout.with_first().collect();
        let tasks = sequences.iter().flat_map(|&(sequence, first)| {
            (0..kv_heads).map(move |kv_head| (sequence, first, kv_head))
        });
        let tasks: Vec<_> = tasks.collect();
        let of_task = |&(sequence, first, kv_head): &(&Sequence, usize, usize)| {
            let width = heads * head_dim;
            let task = Task {
                sequence,
                q: &slice(&q)[first * width..][..sequence.new * width],
                keys: &slice(&keys)[kv_head * head_dim..],
                values: &slice(&values)[kv_head * head_dim..],
                heads: kv_head * group..(kv_head + 1) * group,
                width,
                stride: kv_heads * head_dim,
                head_dim,
            };
            vectorized(
                #[inline(always)]
                || task.run(),
            )
        };
        let outputs: Vec<Vec<f32>> = tasks.par_iter().map(of_task).collect();
        let mut y = Vec::with_capacity(slice(&q).len());
        for (outputs, (sequence, _)) in outputs.chunks_exact(kv_heads.max(1)).zip(&sequences) {
            for token in 0..sequence.new {
                let width = group * head_dim;
                for of_heads in outputs {
                    y.extend(&of_heads[token * width..][..width]);
                }
            }
        }
        tensor(y, q.shape())
    }

    fn store_rows(cache: Floats, rows: Floats, layout: CacheLayout) -> Floats {
        let (mut cache, rows) = (whole_buffer::<f32>(contiguous(cache)), contiguous(rows));
        let [_, kv_heads, head_dim] = dims(&rows);
        let width = kv_heads * head_dim;
        let all = cache.storage_mut::<f32>();
        for (slot, row) in layout.new_slots().iter().zip(slice(&rows).chunks_exact(width.max(1))) {
            all[slot * width..][..width].copy_from_slice(row);
        }
        cache
    }
}

/// The query heads of one sequence that share a key/value head.
struct Task<'a> {
    sequence: &'a Sequence,
    /// `[new, all heads, head_dim]`
    q: &'a [f32],
    /// From the first element of this key/value head; `stride` elements from slot to slot.
    keys: &'a [f32],
    values: &'a [f32],
    heads: std::ops::Range<usize>,
    /// Elements of `q` from token to token.
    width: usize,
    stride: usize,
    head_dim: usize,
}

impl Task<'_> {
    /// The output, `[new, heads, head_dim]`.
    #[inline(always)]
    fn run(&self) -> Vec<f32> {
        let (new, group) = (self.sequence.new, self.heads.len());
        let (keys, values) = (self.in_order(self.keys), self.in_order(self.values));
        let mut y = vec![0.0; new * group * self.head_dim];
        if new == 1 {
            // The heads of one token are consecutive rows.
            let q = self.query_rows(0, self.heads.start, group, self.head_dim);
            self.attend(0, q, [&keys, &values], &mut y, 1);
            return y;
        }
        for head in 0..group {
            for first in (0..new).step_by(TILE) {
                let count = TILE.min(new - first);
                let q = self.query_rows(first, self.heads.start + head, count, self.width);
                let y = &mut y[(first * group + head) * self.head_dim..];
                self.attend(first, q, [&keys, &values], y, group);
            }
        }
        y
    }

    /// Rows of the cache in the order of the sequence, `[tokens, head_dim]`.
    fn in_order(&self, data: &[f32]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.sequence.tokens() * self.head_dim);
        for slot in self.sequence.slots() {
            rows.extend_from_slice(&data[slot * self.stride..][..self.head_dim]);
        }
        rows
    }

    /// `count` rows of `q` from a token and head, with `stride` elements from row to row.
    fn query_rows(&self, token: usize, head: usize, count: usize, stride: usize) -> Matrix<'_> {
        let start = token * self.width + head * self.head_dim;
        Matrix::new(&self.q[start..], count, self.head_dim, stride)
    }

    /// Writes the output of query rows to `y`, with `step` heads from row to row. Row `i` belongs
    /// to the new token `first + i`, or all rows to the only one.
    #[inline(always)]
    fn attend(
        &self,
        first: usize,
        q: Matrix,
        [keys, values]: [&[f32]; 2],
        y: &mut [f32],
        step: usize,
    ) {
        let (tokens, new) = (self.sequence.tokens(), self.sequence.new);
        let last = if new == 1 { 1 } else { first + q.rows() };
        // Later tokens are visible to no row of this tile.
        let visible = tokens - new + last;
        let of_head = |rows| Matrix::new(rows, visible, self.head_dim, self.head_dim);
        let mut scores = vec![0.0; q.rows() * visible];
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        product(&mut scores, Store::Replace, q, of_head(keys).transposed(), scale, false);
        for (row, scores) in scores.chunks_exact_mut(visible).enumerate() {
            let own = if new == 1 { visible } else { tokens - new + first + row + 1 };
            scores[own..].fill(f32::NEG_INFINITY);
            softmax(scores);
        }
        let weights = Matrix::new(&scores, q.rows(), visible, visible);
        let y = (y, step * self.head_dim);
        product_strided(y, Store::Replace, weights, of_head(values), 1.0, false);
    }
}

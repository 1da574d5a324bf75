//! Attention to a cache on the CPU. One task is one key/value head of one sequence. It multiplies
//! each tile of queries with every range of slots, so shared tokens are never copied.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use rayon::prelude::*;

use super::{CacheLayout, CachedAttentionOps, Sequence};
use crate::flex::{
    Floats, Ints, Matrix, Store, contiguous, dims, ints, product_strided, slice, softmax, tensor,
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

    fn store_rows(cache: Floats, rows: Floats, slots: Ints) -> Floats {
        let (mut cache, rows) = (whole_buffer::<f32>(contiguous(cache)), contiguous(rows));
        let [_, kv_heads, head_dim] = dims(&rows);
        let width = kv_heads * head_dim;
        let all = cache.storage_mut::<f32>();
        for (slot, row) in ints(&slots).into_iter().zip(slice(&rows).chunks_exact(width.max(1))) {
            all[slot as usize * width..][..width].copy_from_slice(row);
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
        let mut y = vec![0.0; new * group * self.head_dim];
        if new == 1 {
            // The heads of one token are consecutive rows.
            self.attend(0, self.query_rows(0, self.heads.start, group, self.head_dim), &mut y, 1);
            return y;
        }
        for head in 0..group {
            for first in (0..new).step_by(TILE) {
                let count = TILE.min(new - first);
                let q = self.query_rows(first, self.heads.start + head, count, self.width);
                let y = &mut y[(first * group + head) * self.head_dim..];
                self.attend(first, q, y, group);
            }
        }
        y
    }

    /// `count` rows of `q` from a token and head, with `stride` elements from row to row.
    fn query_rows(&self, token: usize, head: usize, count: usize, stride: usize) -> Matrix<'_> {
        Matrix::new(
            &self.q[token * self.width + head * self.head_dim..],
            count,
            self.head_dim,
            stride,
        )
    }

    /// Writes the output of query rows to `y`, with `step` heads from row to row. Row `i` belongs
    /// to the new token `first + i`, or all rows to the only one.
    #[inline(always)]
    fn attend(&self, first: usize, q: Matrix, y: &mut [f32], step: usize) {
        let (tokens, new) = (self.sequence.tokens(), self.sequence.new);
        let last = if new == 1 { 1 } else { first + q.rows() };
        // Later tokens are visible to no row of this tile.
        let keys = tokens - new + last;
        let mut scores = vec![0.0; q.rows() * keys];
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        for (column, slots) in self.ranges(keys) {
            let k = self.rows_of(self.keys, &slots);
            product_strided(
                (&mut scores[column..], keys),
                Store::Replace,
                q,
                k.transposed(),
                scale,
                false,
            );
        }
        for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
            let visible = if new == 1 { keys } else { tokens - new + first + row + 1 };
            scores[visible..].fill(f32::NEG_INFINITY);
            softmax(scores);
        }
        let mut how = Store::Replace;
        for (column, slots) in self.ranges(keys) {
            let weights = Matrix::new(&scores[column..], q.rows(), slots.len(), keys);
            let v = self.rows_of(self.values, &slots);
            product_strided((y, step * self.head_dim), how, weights, v, 1.0, false);
            how = Store::Add;
        }
    }

    /// The first `keys` tokens of the sequence as ranges of slots, each with its first column.
    fn ranges(&self, keys: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
        self.sequence.slots.iter().scan(0, move |column, slots| {
            let start = *column;
            *column += slots.len();
            let count = slots.len().min(keys.saturating_sub(start));
            (count > 0).then(|| (start, slots.start..slots.start + count))
        })
    }

    fn rows_of<'b>(&self, data: &'b [f32], slots: &std::ops::Range<usize>) -> Matrix<'b> {
        Matrix::new(&data[slots.start * self.stride..], slots.len(), self.head_dim, self.stride)
    }
}

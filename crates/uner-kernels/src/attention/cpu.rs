//! Attention on the CPU. One task is one key/value head of one row. It multiplies each tile of
//! queries with the range of keys that any of them sees. Scores exist for one tile at a time, and
//! keys outside the range are never read, so the cost of a packed row grows with its documents, not
//! with its square.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use rayon::prelude::*;

use super::visibility::PADDING;
use super::{AttentionKernels, BLIND, Saved};
use crate::flex::{
    Floats, Ints, Matrix, Store, contiguous, dims, exp, ints, new_rows, product, slice, softmax,
    sum, tensor, vectorized,
};

/// Queries per tile: enough to keep the matrix products busy, few enough for the scores to stay in
/// cache.
const TILE: usize = 64;

impl AttentionKernels for Flex {
    fn attention_forward(
        q: Floats,
        k: Floats,
        v: Floats,
        document: Ints,
        branch: Ints,
    ) -> (Floats, Floats) {
        let inputs = Inputs::new(q, k, v, &document, &branch);
        let Shape { rows, queries, heads, head_dim, .. } = inputs.shape;
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the path of the method has only one lifetime"
        )]
        let outputs = inputs.for_groups(
            #[inline(always)]
            |group| group.forward(),
        );
        let y: Vec<_> =
            outputs.iter().flat_map(|(y, _)| y.chunks_exact(queries * head_dim)).collect();
        let y = tensor(interleave(&y, queries, heads, head_dim), inputs.q.shape());
        let lse = outputs.iter().flat_map(|(_, lse)| lse).copied().collect();
        (y, tensor(lse, [rows, heads, queries]))
    }

    /// With `P` the probabilities: `dv = Pᵀ·dy`, `dP = dy·vᵀ`, `dS = P ∘ (dP - rowsum(dy ∘ y))`,
    /// `dq = dS·k`, `dk = dSᵀ·q`. The query heads of a group are summed in a fixed order, so the
    /// result is the same on every run.
    fn attention_backward(saved: Saved<Self>, dy: Floats) -> [Floats; 3] {
        let inputs = Inputs::new(saved.q, saved.k, saved.v, &saved.document, &saved.branch);
        let (y, dy) = (contiguous(saved.y), contiguous(dy));
        let Shape { queries, keys, heads, kv_heads, head_dim, .. } = inputs.shape;
        let output = Output { y: slice(&y), lse: slice(&saved.lse), dy: slice(&dy) };
        let gradients = inputs.for_groups(
            #[inline(always)]
            |group| group.backward(&output),
        );
        let dq = gradients.iter().flat_map(|gradient| gradient.dq.chunks_exact(queries * head_dim));
        let dq: Vec<_> = dq.collect();
        let dk: Vec<_> = gradients.iter().map(|gradient| &gradient.dk[..]).collect();
        let dv: Vec<_> = gradients.iter().map(|gradient| &gradient.dv[..]).collect();
        [
            tensor(interleave(&dq, queries, heads, head_dim), inputs.q.shape()),
            tensor(interleave(&dk, keys, kv_heads, head_dim), inputs.k.shape()),
            tensor(interleave(&dv, keys, kv_heads, head_dim), inputs.v.shape()),
        ]
    }
}

/// The dimensions of a call.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// Contiguous tensors, and the visibility of each row's tokens.
struct Inputs {
    q: Floats,
    k: Floats,
    v: Floats,
    shape: Shape,
    document: Vec<i32>,
    branch: Vec<i32>,
    /// For each key, the first key of its document.
    start: Vec<usize>,
}

/// The query heads that share a key/value head, in one row.
struct Group<'a> {
    inputs: &'a Inputs,
    row: usize,
    kv_head: usize,
    heads: std::ops::Range<usize>,
}

/// A tile: some queries of a row, and the range of keys that any of them may see.
struct Tile {
    first: usize,
    count: usize,
    keys: std::ops::Range<usize>,
}

/// Both results of the forward pass, and the gradient of the output.
struct Output<'a> {
    y: &'a [f32],
    lse: &'a [f32],
    dy: &'a [f32],
}

/// Gradients of a group: `dq` `[heads, queries, head_dim]`, `dk` and `dv` `[keys, head_dim]`.
struct Gradient {
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

impl Inputs {
    fn new(q: Floats, k: Floats, v: Floats, document: &Ints, branch: &Ints) -> Self {
        let (q, k, v) = (contiguous(q), contiguous(k), contiguous(v));
        let [rows, queries, heads, head_dim] = dims(&q);
        let [_, keys, kv_heads, _] = dims(&k);
        let shape = Shape { rows, queries, keys, heads, kv_heads, head_dim };
        let document = ints(document);
        let start = document.chunks_exact(keys).flat_map(first_of_document).collect();
        Self { q, k, v, shape, document, branch: ints(branch), start }
    }

    /// Runs `work` on each group: one result per row and key/value head, in this order.
    fn for_groups<R: Send>(&self, work: impl Fn(&Group) -> R + Sync) -> Vec<R> {
        let Shape { rows, heads, kv_heads, .. } = self.shape;
        let size = heads / kv_heads;
        (0..rows * kv_heads)
            .into_par_iter()
            .map(|index| {
                let (row, kv_head) = (index / kv_heads, index % kv_heads);
                let heads = kv_head * size..(kv_head + 1) * size;
                vectorized(
                    #[inline(always)]
                    || work(&Group { inputs: self, row, kv_head, heads }),
                )
            })
            .collect()
    }
}

/// Start of the document of each token of a row. A padding token starts behind itself, so that it
/// sees nothing.
fn first_of_document(row: &[i32]) -> Vec<usize> {
    let mut first = std::collections::BTreeMap::new();
    row.iter()
        .enumerate()
        .map(
            |(index, &document)| {
                if document == PADDING {
                    index + 1
                } else {
                    *first.entry(document).or_insert(index)
                }
            },
        )
        .collect()
}

impl Group<'_> {
    /// Tiles in which some key is visible.
    fn tiles(&self) -> impl Iterator<Item = Tile> {
        let Shape { queries, keys, .. } = self.inputs.shape;
        let start = &self.inputs.start[self.row * keys..][..keys];
        (0..queries).step_by(TILE).filter_map(move |first| {
            let count = TILE.min(queries - first);
            let (from, to) = (keys - queries + first, keys - queries + first + count);
            let visible = start[from..to].iter().copied().min().unwrap_or(to);
            (visible < to).then_some(Tile { first, count, keys: visible..to })
        })
    }

    /// The keys of a tile, `[keys, head_dim]`.
    fn keys(&self, tile: &Tile) -> Matrix<'_> {
        self.head_of(slice(&self.inputs.k), tile)
    }

    /// The values of a tile, `[keys, head_dim]`.
    fn values(&self, tile: &Tile) -> Matrix<'_> {
        self.head_of(slice(&self.inputs.v), tile)
    }

    fn head_of<'b>(&self, data: &'b [f32], tile: &Tile) -> Matrix<'b> {
        let Shape { keys, kv_heads, head_dim, .. } = self.inputs.shape;
        let stride = kv_heads * head_dim;
        let offset = (self.row * keys + tile.keys.start) * stride + self.kv_head * head_dim;
        Matrix::new(&data[offset..], tile.keys.len(), head_dim, stride)
    }

    /// The rows of a tile's queries, `[queries, head_dim]`, in a tensor shaped like `q`.
    fn queries<'b>(&self, data: &'b [f32], head: usize, tile: &Tile) -> Matrix<'b> {
        let Shape { queries, heads, head_dim, .. } = self.inputs.shape;
        let stride = heads * head_dim;
        let offset = (self.row * queries + tile.first) * stride + head * head_dim;
        Matrix::new(&data[offset..], tile.count, head_dim, stride)
    }

    /// The output of the group, `[heads, queries, head_dim]`, and its log-sum-exp,
    /// `[heads, queries]`.
    #[inline(always)]
    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let Shape { queries, head_dim, .. } = self.inputs.shape;
        let mut y = vec![0.0; self.heads.len() * queries * head_dim];
        let mut lse = vec![BLIND; self.heads.len() * queries];
        let per_head = y.chunks_exact_mut(queries * head_dim).zip(lse.chunks_exact_mut(queries));
        for (head, (y, lse)) in self.heads.clone().zip(per_head) {
            for tile in self.tiles() {
                let mut scores = self.scores(head, &tile);
                let rows = scores.chunks_exact_mut(tile.keys.len());
                for (row, lse) in rows.zip(&mut lse[tile.first..]) {
                    *lse = softmax(row).unwrap_or(BLIND);
                }
                let y = &mut y[tile.first * head_dim..][..tile.count * head_dim];
                product(y, Store::Replace, tile.matrix(&scores), self.values(&tile), 1.0, false);
            }
        }
        (y, lse)
    }

    /// `q·kᵀ / sqrt(head_dim)` of a tile, `[queries, keys]`; minus infinity for keys that are not
    /// visible.
    #[inline(always)]
    fn scores(&self, head: usize, tile: &Tile) -> Vec<f32> {
        let Shape { queries, keys, head_dim, .. } = self.inputs.shape;
        let mut scores = vec![0.0; tile.count * tile.keys.len()];
        let scale = 1.0 / (head_dim as f32).sqrt();
        let q = self.queries(slice(&self.inputs.q), head, tile);
        product(&mut scores, Store::Replace, q, self.keys(tile).transposed(), scale, false);
        let tokens = self.row * keys..(self.row + 1) * keys;
        let (document, branch) =
            (&self.inputs.document[tokens.clone()], &self.inputs.branch[tokens]);
        for (row, query) in
            scores.chunks_exact_mut(tile.keys.len()).zip(keys - queries + tile.first..)
        {
            // A padding query may lie before all keys that its tile sees.
            let visible = (query + 1).saturating_sub(tile.keys.start);
            row[visible..].fill(f32::NEG_INFINITY);
            let range = tile.keys.start..tile.keys.start + visible;
            hide(&mut row[..visible], &document[range.clone()], &branch[range]);
        }
        scores
    }

    #[inline(always)]
    fn backward(&self, output: &Output) -> Gradient {
        let Shape { queries, keys, heads, head_dim, .. } = self.inputs.shape;
        let mut gradient = Gradient {
            dq: vec![0.0; self.heads.len() * queries * head_dim],
            dk: vec![0.0; keys * head_dim],
            dv: vec![0.0; keys * head_dim],
        };
        let scale = 1.0 / (head_dim as f32).sqrt();
        for (head, dq) in self.heads.clone().zip(gradient.dq.chunks_exact_mut(queries * head_dim)) {
            for tile in self.tiles() {
                let lse =
                    &output.lse[(self.row * heads + head) * queries + tile.first..][..tile.count];
                let mut probabilities = self.scores(head, &tile);
                for (row, &lse) in probabilities.chunks_exact_mut(tile.keys.len()).zip(lse) {
                    for score in row {
                        *score = exp(*score - lse);
                    }
                }
                let dy = self.queries(output.dy, head, &tile);
                let range = tile.keys.start * head_dim..tile.keys.end * head_dim;
                let transposed = tile.matrix(&probabilities).transposed();
                product(&mut gradient.dv[range.clone()], Store::Add, transposed, dy, 1.0, false);

                let mut dscores = vec![0.0; probabilities.len()];
                product(
                    &mut dscores,
                    Store::Replace,
                    dy,
                    self.values(&tile).transposed(),
                    1.0,
                    false,
                );
                softmax_backward(&mut dscores, &probabilities, &self.delta(output, head, &tile));

                let dq = &mut dq[tile.first * head_dim..][..tile.count * head_dim];
                product(dq, Store::Replace, tile.matrix(&dscores), self.keys(&tile), scale, false);
                let q = self.queries(slice(&self.inputs.q), head, &tile);
                let transposed = tile.matrix(&dscores).transposed();
                product(&mut gradient.dk[range], Store::Add, transposed, q, scale, false);
            }
        }
        gradient
    }

    /// `rowsum(dy ∘ y)` of a tile's queries: the dot product of each output and its gradient.
    #[inline(always)]
    fn delta(&self, output: &Output, head: usize, tile: &Tile) -> Vec<f32> {
        let Shape { queries, heads, head_dim, .. } = self.inputs.shape;
        let first = self.row * queries + tile.first;
        let row = |query: usize| (query * heads + head) * head_dim;
        let product = |at: usize| {
            let (y, dy) = (&output.y[at..][..head_dim], &output.dy[at..][..head_dim]);
            sum([y, dy], |[y, dy]| y * dy)
        };
        (first..first + tile.count).map(|query| product(row(query))).collect()
    }
}

impl Tile {
    /// Scores of this tile as a matrix, `[queries, keys]`.
    fn matrix<'a>(&self, scores: &'a [f32]) -> Matrix<'a> {
        Matrix::new(scores, self.count, self.keys.len(), self.keys.len())
    }
}

/// Sets the scores of invisible keys to minus infinity. The query is the last of these keys.
#[inline(always)]
fn hide(scores: &mut [f32], document: &[i32], branch: &[i32]) {
    let (Some(&own_document), Some(&own_branch)) = (document.last(), branch.last()) else { return };
    for ((score, &document), &branch) in scores.iter_mut().zip(document).zip(branch) {
        let visible = document == own_document
            && own_document != PADDING
            && (branch == 0 || branch == own_branch);
        *score = if visible { *score } else { f32::NEG_INFINITY };
    }
}

/// Turns `dscores` from the gradient of the probabilities into that of the scores, in place.
/// `delta` is the row sum of `P ∘ dP` per query, which equals `rowsum(dy ∘ y)`, since `y = P·v`.
#[inline(always)]
fn softmax_backward(dscores: &mut [f32], probabilities: &[f32], delta: &[f32]) {
    let keys = dscores.len() / delta.len();
    let rows = dscores.chunks_exact_mut(keys).zip(probabilities.chunks_exact(keys));
    for ((dscores, probabilities), delta) in rows.zip(delta) {
        for (dscore, &probability) in dscores.iter_mut().zip(probabilities) {
            *dscore = probability * (*dscore - delta);
        }
    }
}

/// Reorders `[row, head][token, head_dim]` to `[row, token, head, head_dim]`.
fn interleave(per_head: &[&[f32]], tokens: usize, heads: usize, head_dim: usize) -> Vec<f32> {
    let width = heads * head_dim;
    let ([out], _) = new_rows(
        per_head.len() * tokens * head_dim,
        width,
        #[inline(always)]
        |first, [out]| {
            for (index, out) in (first..).zip(out.chunks_exact_mut(width)) {
                let (row, token) = (index / tokens, index % tokens);
                let heads = &per_head[row * heads..];
                for (out, head) in out.chunks_exact_mut(head_dim).zip(heads) {
                    out.copy_from_slice(&head[token * head_dim..][..head_dim]);
                }
            }
        },
    );
    out
}

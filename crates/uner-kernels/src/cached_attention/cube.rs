//! Attention to a cache on the GPU. On the tensor cores of NVIDIA cards, one kernel reads keys and
//! values from their slots. Elsewhere they are gathered to rows, and the kernels of
//! [`attention`](crate::attention()) compute them: sequences with equally many new tokens share a
//! call, and the keys of shorter ones are padded on the left.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{Shape, TensorData};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::tables::Tables;
use super::{CacheLayout, CachedAttentionOps, Sequence};
use crate::attention::{AttentionKernels, PADDING, mma};
use crate::cube::{
    Floats, Ints, contiguous, dims, element, elementwise, integers, owned, vector_size,
};

impl CachedAttentionOps for Cube {
    fn cached_attention(q: Floats, keys: Floats, values: Floats, layout: CacheLayout) -> Floats {
        let [_, _, head_dim] = dims(&q);
        if mma::is_served(&q.client, element(&q), head_dim) && layout.tokens() > 0 {
            let [q, keys, values] = [q, keys, values].map(contiguous);
            let places = &tables(&layout, &q).places;
            return mma::cached_attention(&q, [&keys, &values], places);
        }
        let mut by_new: BTreeMap<usize, Vec<(&Sequence, usize)>> = BTreeMap::new();
        for (sequence, first) in layout.with_first() {
            by_new.entry(sequence.new).or_default().push((sequence, first));
        }
        let ([tokens, heads, head_dim], shape) = (dims(&q), q.shape());
        let mut order = Vec::with_capacity(tokens);
        let mut outputs = Vec::with_capacity(by_new.len());
        for (new, sequences) in by_new {
            let own = sequences.iter().flat_map(|(_, first)| *first..first + new);
            let own: Vec<usize> = own.collect();
            let q = Self::float_select(q.clone(), 0, integers(own.iter().copied(), &q));
            let q = Self::float_reshape(q, Shape::new([sequences.len(), new, heads, head_dim]));
            let y = attended(q, [&keys, &values], &sequences);
            outputs.push(Self::float_reshape(y, Shape::new([own.len(), heads, head_dim])));
            order.extend(own);
        }
        // Row `order[i]` of the result is row `i` of the outputs.
        let mut index = vec![0; tokens];
        order.iter().enumerate().for_each(|(row, &token)| index[token] = row);
        let index = integers(index, &q);
        let y = Self::float_select(Self::float_cat(outputs, 0), 0, index);
        Self::float_reshape(y, shape)
    }

    fn store_rows(cache: Floats, rows: Floats, layout: CacheLayout) -> Floats {
        let (cache, rows) = (owned(cache), contiguous(rows));
        let [tokens, kv_heads, head_dim] = dims(&rows);
        if tokens == 0 {
            return cache;
        }
        let vector = vector_size(&cache, kv_heads * head_dim);
        let width = kv_heads * head_dim / vector;
        let (count, cube) = elementwise(tokens * width, &cache.client);
        let dtype = element(&cache);
        store::launch(
            &cache.client,
            count,
            cube,
            vector,
            rows.into_buffer_arg(),
            tables(&layout, &cache).new_slots.clone().into_buffer_arg(),
            cache.clone().into_buffer_arg(),
            width,
            dtype,
        );
        cache
    }
}

/// The layout's tables on the device of a tensor. Those of the first call are kept.
fn tables(layout: &CacheLayout, like: &Floats) -> Arc<Tables> {
    let make = || {
        let put = |values: &[usize]| integers(values.iter().copied(), like);
        Arc::new(Tables::new(layout, put))
    };
    let kept = layout.tables(make);
    if kept.new_slots.device == like.device { Arc::clone(kept) } else { make() }
}

/// The output of sequences with equally many new tokens, `[sequences, new, heads, head_dim]`.
fn attended(q: Floats, caches: [&Floats; 2], sequences: &[(&Sequence, usize)]) -> Floats {
    let rows = sequences.len();
    let [_, kv_heads, head_dim] = dims(caches[0]);
    let keys = sequences.iter().map(|(sequence, _)| sequence.tokens()).max().unwrap_or(0);
    let (mut slots, mut document) = (Vec::new(), Vec::new());
    for (sequence, _) in sequences {
        let padding = keys - sequence.tokens();
        slots.extend(std::iter::repeat_n(0, padding));
        slots.extend(sequence.slots());
        document.extend(std::iter::repeat_n(PADDING, padding));
        document.extend(std::iter::repeat_n(0, sequence.tokens()));
    }
    let slots = integers(slots, &q);
    let [k, v] = caches.map(|cache| {
        let gathered = Cube::float_select(cache.clone(), 0, slots.clone());
        Cube::float_reshape(gathered, Shape::new([rows, keys, kv_heads, head_dim]))
    });
    let branch = int_matrix(vec![0; document.len()], [rows, keys], &q);
    let document = int_matrix(document, [rows, keys], &q);
    Cube::attention_forward(q, k, v, document, branch).0
}

fn int_matrix(values: Vec<i32>, shape: [usize; 2], like: &Floats) -> Ints {
    Cube::int_from_data(TensorData::new(values, shape), &like.device)
}

/// `width` in vectors.
#[cube(launch, create_dummy_kernel)]
fn store<F: Float, N: Size>(
    rows: &[Vector<F, N>],
    slots: &[i32],
    cache: &mut [Vector<F, N>],
    width: usize,
    #[define(F)] _dtype: ElemType,
) {
    let position = ABSOLUTE_POS;
    if position < slots.len() * width {
        let slot = usize::cast_from(slots[position / width]);
        cache[slot * width + position % width] = rows[position];
    }
}

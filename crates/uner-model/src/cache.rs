//! Keys and values of earlier tokens, so that every token is computed once.

use burn::tensor::{DType, Device, Tensor};
use uner_kernels::cached_attention::CacheLayout;
use uner_kernels::{cached_attention, store_rows};

/// The keys and values of all layers, in slots that hold one token each. Sequences say which slots
/// are theirs ([`CacheLayout`]) and may share some.
#[derive(Debug)]
pub struct KvCache {
    /// One entry per block.
    layers: Vec<LayerCache>,
}

/// The cache of one layer.
///
/// # Shapes
/// Keys and values: `[slots, num_key_value_heads, head_dim]`.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: Tensor<3>,
    values: Tensor<3>,
}

impl KvCache {
    /// Creates empty caches of `[slots, num_key_value_heads, head_dim]` for `layers` layers.
    pub(crate) fn new(layers: usize, shape: [usize; 3], storage: (&Device, DType)) -> Self {
        let zeros = || Tensor::zeros(shape, storage);
        let layer = || LayerCache { keys: zeros(), values: zeros() };
        Self { layers: (0..layers).map(|_| layer()).collect() }
    }

    /// Adds `slots` empty slots behind all others. What is stored is copied.
    pub fn grow(&mut self, slots: usize) {
        for LayerCache { keys, values } in &mut self.layers {
            for stored in [keys, values] {
                stored.inplace(|stored| {
                    let [_, heads, width] = stored.dims();
                    let storage = (&stored.device(), stored.dtype());
                    Tensor::cat(vec![stored, Tensor::zeros([slots, heads, width], storage)], 0)
                });
            }
        }
    }

    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }
}

impl LayerCache {
    /// Stores the keys and values of new tokens, `[tokens, num_key_value_heads, head_dim]`, and
    /// returns the attention of their queries, `[tokens, num_attention_heads, head_dim]`.
    pub(crate) fn attend(
        &mut self,
        q: Tensor<3>,
        keys: Tensor<3>,
        values: Tensor<3>,
        layout: &CacheLayout,
    ) -> Tensor<3> {
        self.keys.inplace(|stored| store_rows(stored, keys, layout));
        self.values.inplace(|stored| store_rows(stored, values, layout));
        cached_attention(q, self.keys.clone(), self.values.clone(), layout)
    }
}

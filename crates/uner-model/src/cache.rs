//! Keys and values of earlier tokens, so that decoding a token computes only that token.

use burn::tensor::{DType, Device, Tensor};

/// The caches of all layers.
///
/// Rows are aligned at their end: shorter prompts are padded on the left with tokens of document
/// [`uner_kernels::attention::PADDING`], so that every row appends at the same index.
#[derive(Debug)]
pub struct KvCache {
    /// One entry per block.
    pub layers: Vec<LayerCache>,
}

/// The cache of one layer.
///
/// # Shapes
/// Keys and values: `[rows, capacity, num_key_value_heads, head_dim]`. The first `length` tokens
/// are filled.
#[derive(Debug)]
pub struct LayerCache {
    keys: Tensor<4>,
    values: Tensor<4>,
    length: usize,
}

impl KvCache {
    /// Creates empty caches of `[rows, capacity, num_key_value_heads, head_dim]` for `layers`
    /// layers.
    pub(crate) fn new(layers: usize, shape: [usize; 4], storage: (&Device, DType)) -> Self {
        let layer = || LayerCache {
            keys: Tensor::zeros(shape, storage),
            values: Tensor::zeros(shape, storage),
            length: 0,
        };
        Self { layers: (0..layers).map(|_| layer()).collect() }
    }
}

impl LayerCache {
    /// Appends new keys and values, `[rows, tokens, num_key_value_heads, head_dim]`, and returns
    /// all so far.
    ///
    /// # Panics
    /// When they exceed the capacity.
    pub(crate) fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [rows, tokens, heads, head_dim] = keys.dims();
        let [_, capacity, ..] = self.keys.dims();
        let end = self.length + tokens;
        assert!(end <= capacity, "{end} tokens do not fit a cache of {capacity}");
        let ranges = [0..rows, self.length..end, 0..heads, 0..head_dim];
        self.keys.inplace(|cached| cached.slice_assign(ranges.clone(), keys));
        self.values.inplace(|cached| cached.slice_assign(ranges, values));
        self.length = end;
        (self.keys.clone().narrow(1, 0, end), self.values.clone().narrow(1, 0, end))
    }
}

//! The shapes of the measured ops.

/// Sizes of a model and of a batch.
#[derive(Debug)]
pub struct Preset {
    /// Number of tokens in norms, activations and products.
    pub tokens: usize,
    /// Width of the hidden states.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Query heads; key/value heads are as many.
    pub heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Rows of the language-model head.
    pub vocab: usize,
    /// Rows and length of causal attention.
    pub attention: &'static [(usize, usize)],
    /// Length of the packed row.
    pub packed: usize,
    /// Elements of the parameter that AdamW updates.
    pub parameter: usize,
}

/// The model and batch of the bench `training_step`.
const CPU: Preset = Preset {
    tokens: 4 * 512,
    hidden: 288,
    intermediate: 768,
    heads: 6,
    head_dim: 48,
    vocab: 32_000,
    attention: &[(4, 512)],
    packed: 2048,
    parameter: 32_000 * 288,
};

/// A LLaMA of 7B parameters, and attention over 16 k tokens at every length.
const SEVEN_BILLION: Preset = Preset {
    tokens: 8192,
    hidden: 4096,
    intermediate: 11_008,
    heads: 32,
    head_dim: 128,
    vocab: 32_000,
    attention: &[(32, 512), (16, 1024), (8, 2048), (4, 4096), (2, 8192)],
    packed: 8192,
    parameter: 4096 * 11_008,
};

/// Tiny: launch time dominates. It shows the lower bound of a figure, and tests the programs.
const TINY: Preset = Preset {
    tokens: 16,
    hidden: 32,
    intermediate: 48,
    heads: 2,
    head_dim: 16,
    vocab: 64,
    attention: &[(2, 16)],
    packed: 128,
    parameter: 512,
};

/// Small sizes that are not multiples of a tile or vector, so a kernel that accesses memory out of
/// bounds does so here. The widths have their own kernels, also on tensor cores.
const ODD: Preset = Preset {
    tokens: 67,
    hidden: 80,
    intermediate: 144,
    heads: 2,
    head_dim: 64,
    vocab: 515,
    attention: &[(2, 131)],
    packed: 199,
    parameter: 4096 + 17,
};

/// Tokens in the longest document of a packed row.
pub const LONGEST: usize = 400;

/// Returns the preset `cpu`, `7b`, `tiny` or `odd`.
pub fn preset(name: &str) -> Option<Preset> {
    match name {
        "cpu" => Some(CPU),
        "7b" => Some(SEVEN_BILLION),
        "tiny" => Some(TINY),
        "odd" => Some(ODD),
        _ => None,
    }
}

/// Returns the lengths of documents of 50 to [`LONGEST`] tokens that fill a row; the last one is
/// truncated. `pytorch_ops.py` uses the same lengths.
pub fn documents(length: usize) -> Vec<usize> {
    let mut left = length;
    let mut lengths = Vec::new();
    while left > 0 {
        let document = (50 + lengths.len() * 137 % (LONGEST - 49)).min(left);
        lengths.push(document);
        left -= document;
    }
    lengths
}

impl Preset {
    /// Input and output widths of the linear layers.
    pub fn products(&self) -> [[usize; 2]; 4] {
        [
            [self.hidden, self.hidden],
            [self.hidden, self.intermediate],
            [self.intermediate, self.hidden],
            [self.hidden, self.vocab],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_fill_the_row() {
        for length in [CPU, SEVEN_BILLION, TINY, ODD].map(|preset| preset.packed) {
            let lengths = documents(length);
            assert_eq!(lengths.iter().sum::<usize>(), length);
            assert!(lengths.iter().rev().skip(1).all(|document| (50..=LONGEST).contains(document)));
        }
    }
}

//! The shapes that the ops are measured at.

/// Sizes of a model and of a batch.
#[derive(Debug)]
pub struct Preset {
    /// Tokens that norms, activations and products see.
    pub tokens: usize,
    /// Width of the hidden states.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Query heads; as many key/value heads.
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

/// LLaMA of 7B parameters; 16 k tokens of attention at every length.
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

/// So small that nothing but starting a run takes time: the least that a figure can be, and a trial
/// of the programs.
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

/// Small, and such that no tile and no vector divides the lengths: a kernel that goes over an edge
/// does so here. The widths are those that have kernels of their own, on tensor cores as well.
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

/// Tokens of the longest document of a packed row.
pub const LONGEST: usize = 400;

/// The preset `cpu`, `7b`, `tiny` or `odd`.
pub fn preset(name: &str) -> Option<Preset> {
    match name {
        "cpu" => Some(CPU),
        "7b" => Some(SEVEN_BILLION),
        "tiny" => Some(TINY),
        "odd" => Some(ODD),
        _ => None,
    }
}

/// Documents of 50 to [`LONGEST`] tokens that fill a row; the last one is cut. `pytorch_ops.py`
/// forms the same.
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
    /// Inputs and outputs of the linear layers.
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

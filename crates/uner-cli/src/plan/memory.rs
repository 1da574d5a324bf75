//! How much memory a run takes, and how many blocks may therefore keep their graph.

use uner_model::LlamaConfig;

/// Assumed where nobody says what is available.
const ASSUMED_AVAILABLE: u64 = 4 << 30;
/// Share of what is available that is planned with; the rest is for data, the head's logits, and the allocator.
const USED_SHARE: f64 = 0.7;
/// Bytes of an f32.
const FLOAT: u64 = 4;

/// Estimated bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Weights, gradients and two moments, all f32.
    pub states: u64,
    /// The graph of one block for one micro-batch.
    pub block: u64,
    /// Blocks, counted from the last, that keep their graph; the others run again in the backward pass.
    pub kept_blocks: usize,
    /// All of it: states, every block's input, and the graphs that live at the same time.
    pub total: u64,
    /// What the place has, where that is known.
    pub available: Option<u64>,
}

impl Memory {
    /// The estimate for micro-batches of `rows` rows of `length` tokens.
    pub fn estimate(
        config: &LlamaConfig,
        num_parameters: u64,
        rows: usize,
        length: usize,
        available: Option<u64>,
    ) -> Self {
        let layers = config.num_hidden_layers;
        let tokens = (rows * length) as u64;
        let states = 4 * FLOAT * num_parameters;
        let inputs = FLOAT * tokens * (layers * config.hidden_size) as u64;
        let block = FLOAT * tokens * floats_per_token(config);
        let free = (available.unwrap_or(ASSUMED_AVAILABLE) as f64 * USED_SHARE) as u64;
        let room = free.saturating_sub(states + inputs);
        let kept_blocks = usize::try_from(room / block.max(1)).unwrap_or(usize::MAX).min(layers);
        // A block that was not kept is rebuilt while the kept ones behind it are already gone.
        let total = states + inputs + block * kept_blocks.max(1) as u64;
        Self { states, block, kept_blocks, total, available }
    }
}

/// What the backward pass of a block reads, for each token, beside the block's input. With `h` hidden, `q` query and `k`
/// key/value channels, `i` intermediate and `n` heads:
///
/// - the outputs of the two norms and the residual sum between them: `3h`;
/// - attention: rotated queries and keys, values, the output and its log-sum-exp: `2q + 2k + n`;
/// - feed-forward: gate, up, and what the last projection reads: `3i`.
fn floats_per_token(config: &LlamaConfig) -> u64 {
    let LlamaConfig { hidden_size: h, intermediate_size: i, num_attention_heads: n, .. } = *config;
    let q = n * config.head_dim;
    let k = config.num_key_value_heads * config.head_dim;
    (3 * h + 2 * q + 2 * k + n + 3 * i) as u64
}

/// An entry of `/proc/meminfo` in bytes, such as `MemAvailable`, what can be used without swapping; `None` where there is
/// no such file.
pub(crate) fn host_memory(entry: &str) -> Option<u64> {
    parse_memory(&fs_err::read_to_string("/proc/meminfo").ok()?, entry)
}

fn parse_memory(meminfo: &str, entry: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(entry)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_blocks_follow_the_memory() {
        let config: LlamaConfig = serde_json::from_str(
            r#"{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 512}"#,
        )
        .unwrap();
        let estimate = |available| Memory::estimate(&config, 1_000_000, 4, 256, Some(available));
        assert_eq!(estimate(1 << 40).kept_blocks, 4);
        assert_eq!(estimate(1 << 20).kept_blocks, 0);
        let one = estimate(1 << 40);
        let inputs = 4 * 4 * 256 * 4 * 64;
        let enough_for_two = one.states + inputs + 2 * one.block + one.block / 2;
        assert_eq!(estimate((enough_for_two as f64 / USED_SHARE) as u64).kept_blocks, 2);
        assert_eq!(one.block, 4 * 1024 * (3 * 64 + 2 * 64 + 2 * 64 + 4 + 3 * 128));
    }

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:  9 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(parse_memory(text, "MemAvailable"), Some(2 << 20));
        assert_eq!(parse_memory(text, "MemTotal"), Some(9 << 10));
        assert_eq!(parse_memory(text, "Mem"), None);
    }
}

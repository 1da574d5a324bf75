//! Names and rows of parameters in GGUF, as llama.cpp's `convert_hf_to_gguf.py` writes them.

use crate::LlamaConfig;
use crate::config::Family;

/// The name of the model's family in llama.cpp, where a Mistral is a LLaMA.
pub(super) fn architecture(config: &LlamaConfig) -> &'static str {
    match config.family {
        Family::Llama { .. } | Family::Mistral { .. } => "llama",
        Family::Qwen2 => "qwen2",
        Family::Qwen3 { .. } => "qwen3",
    }
}

/// Returns the name of a parameter in GGUF.
pub(super) fn renamed(name: &str) -> Option<String> {
    let whole = [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", "output.weight"),
    ];
    if let Some((_, renamed)) = whole.iter().find(|(from, _)| *from == name) {
        return Some((*renamed).to_owned());
    }
    let (layer, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (part, kind) =
        part.rsplit_once('.').filter(|(_, kind)| ["weight", "bias"].contains(kind))?;
    let part = match part {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{part}.{kind}"))
}

/// Number of heads whose rows llama.cpp interleaves in a parameter; 0 if it keeps their order.
///
/// For LLaMA its rotary embedding rotates neighbouring channels; transformers rotates channel `i`
/// with `i + head_dim / 2`, as llama.cpp does for Qwen.
pub(super) fn interleaved_heads(name: &str, config: &LlamaConfig) -> usize {
    match name {
        _ if architecture(config) != "llama" => 0,
        name if name.contains(".q_proj.") => config.num_attention_heads,
        name if name.contains(".k_proj.") => config.num_key_value_heads,
        _ => 0,
    }
}

/// Reorders the `rows` rows of some heads for llama.cpp: row `2i + j` of a head is row
/// `i + j · head_dim / 2` of the Hugging Face matrix. A bias has rows of one number.
pub(super) fn interleaved(bytes: &[u8], rows: usize, heads: usize) -> Vec<u8> {
    let (row, half) = (bytes.len() / rows, rows / heads / 2);
    let mut out = Vec::with_capacity(bytes.len());
    for head in bytes.chunks_exact(2 * half * row) {
        for i in 0..half {
            out.extend_from_slice(&head[i * row..][..row]);
            out.extend_from_slice(&head[(i + half) * row..][..row]);
        }
    }
    out
}

/// The inverse of [`interleaved`].
pub(super) fn separated(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (row, size) = (values.len() / rows, rows / heads);
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks_exact(size * row) {
        for first in 0..2 {
            for i in (first..size).step_by(2) {
                out.extend_from_slice(&head[i * row..][..row]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_each_head_are_interleaved() {
        // Two heads of four rows, two bytes a row.
        let rows: Vec<u8> = (0..8).flat_map(|row| [row, row]).collect();
        let order: Vec<u8> = interleaved(&rows, 8, 2).into_iter().step_by(2).collect();
        assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
        let values: Vec<f32> = order.iter().flat_map(|row| [f32::from(*row); 3]).collect();
        let back: Vec<f32> = separated(&values, 8, 2).into_iter().step_by(3).collect();
        assert_eq!(back, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        // A bias of four numbers of two bytes, for one head.
        assert_eq!(interleaved(&[0, 1, 2, 3, 4, 5, 6, 7], 4, 1), [0, 1, 4, 5, 2, 3, 6, 7]);
    }

    #[test]
    fn names_are_those_of_llama_cpp() {
        assert_eq!(
            renamed("model.layers.12.mlp.down_proj.weight").unwrap(),
            "blk.12.ffn_down.weight"
        );
        assert_eq!(renamed("lm_head.weight").unwrap(), "output.weight");
        assert_eq!(renamed("model.layers.0.self_attn.k_proj.bias").unwrap(), "blk.0.attn_k.bias");
        assert_eq!(
            renamed("model.layers.0.self_attn.q_norm.weight").unwrap(),
            "blk.0.attn_q_norm.weight"
        );
        assert_eq!(renamed("model.layers.1.self_attn.rotary_emb.inv_freq"), None);
    }
}

//! Exports a model folder to one file in GGUF, the format of llama.cpp. Names, rows and metadata
//! are those that llama.cpp's `convert_hf_to_gguf.py` writes for the family, of which a Mistral is
//! a LLaMA there. Tensors are copied one at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::Path;

use gguf_rs_lib::GGUFError;
use gguf_rs_lib::format::types::GGUFValueType;
use gguf_rs_lib::format::{
    GGUFHeader, Metadata,
    metadata::{MetadataArray, MetadataValue},
};
use gguf_rs_lib::tensor::{TensorInfo, TensorShape, TensorType};
use gguf_rs_lib::writer::GGUFStreamWriter;
use safetensors::Dtype;
use safetensors::tensor::View;

use crate::LlamaConfig;
use crate::config::Family;
use crate::export::{Export, Exported, with_tensors};
use crate::weights::WeightsError;

/// Tensors start at multiples of this many bytes (the format's default).
const ALIGNMENT: u64 = 32;

/// Kind of a token in llama.cpp (`llama_token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenKind {
    /// Text.
    Normal = 1,
    /// Stands for text that the vocabulary lacks.
    Unknown = 2,
    /// A control token, such as the beginning of a sequence.
    Control = 3,
    /// Text that is matched before the rest is split.
    UserDefined = 4,
    /// A row of the embedding without a token.
    Unused = 5,
    /// One byte.
    Byte = 6,
}

/// A SentencePiece vocabulary, in the order of its ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Text, score and kind of every token. Of all neighbours that can be joined, the pair whose
    /// token has the highest score is joined first.
    pub tokens: Vec<(String, f32, TokenKind)>,
    /// The token that begins a sequence.
    pub bos: Option<u32>,
    /// The token that ends a sequence.
    pub eos: Option<u32>,
    /// The token that stands for text that the vocabulary lacks.
    pub unknown: Option<u32>,
    /// The padding token.
    pub padding: Option<u32>,
    /// Whether a space is put before a text.
    pub space_prefix: bool,
    /// The template that renders messages (Jinja).
    pub chat_template: Option<String>,
}

/// Writes a model, with its adapter merged, and its vocabulary into `file`. Matrices have the
/// element type of the export, norms and biases are f32. `export.max_shard_bytes` is ignored (one
/// file).
///
/// # Errors
/// As [`crate::export::model`]; also when the rotary frequencies are rescaled, which GGUF stores
/// differently, when llama.cpp does not read a bias of the model, or when the vocabulary has more
/// tokens than the embedding has rows.
pub fn write(export: &Export, vocabulary: &Vocabulary, file: &Path) -> Result<(), WeightsError> {
    with_tensors(export, |config, dtype, tensors| {
        let metadata = metadata(config, dtype, vocabulary).map_err(|problem| {
            WeightsError::Json { path: export.model.join("config.json"), problem }
        })?;
        let tensors: Vec<Tensor> = tensors
            .into_iter()
            .map(|(name, exported)| Tensor::new(&name, exported, config))
            .collect::<Result<_, _>>()?;
        write_file(&metadata, &tensors, file).map_err(|error| match error {
            GGUFError::Io(error) => WeightsError::Io(error),
            other => WeightsError::Io(std::io::Error::other(format!(
                "failed to write `{}`: {other}",
                file.display()
            ))),
        })
    })
}

fn write_file(metadata: &Metadata, tensors: &[Tensor], file: &Path) -> Result<(), GGUFError> {
    let mut offset = 0;
    let infos: Vec<TensorInfo> = tensors
        .iter()
        .map(|tensor| {
            let info = tensor.info(offset)?;
            offset += (tensor.exported.data_len() as u64).next_multiple_of(ALIGNMENT);
            Ok(info)
        })
        .collect::<Result<_, GGUFError>>()?;
    let mut writer = GGUFStreamWriter::new(BufWriter::new(fs_err::File::create(file)?));
    writer.write_header(&GGUFHeader::new(tensors.len() as u64, metadata.len() as u64))?;
    writer.write_metadata(metadata)?;
    writer.write_tensor_infos(&infos)?;
    writer.align_for_tensor_data()?;
    for (tensor, info) in tensors.iter().zip(&infos) {
        writer.write_tensor_data_chunked(info, &*tensor.bytes())?;
    }
    writer.finalize()?;
    let file = writer.into_inner().into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}

/// A tensor under its name in GGUF.
struct Tensor<'a> {
    name: String,
    exported: Exported<'a>,
    /// Number of heads whose rows are interleaved; 0 if the order stays.
    heads: usize,
}

impl<'a> Tensor<'a> {
    fn new(name: &str, exported: Exported<'a>, config: &LlamaConfig) -> Result<Self, WeightsError> {
        let heads = match name {
            _ if architecture(config) != "llama" => 0,
            name if name.contains(".q_proj.") => config.num_attention_heads,
            name if name.contains(".k_proj.") => config.num_key_value_heads,
            _ => 0,
        };
        let renamed = renamed(name).ok_or_else(|| {
            WeightsError::Io(std::io::Error::other(format!("`{name}` has no name in GGUF")))
        })?;
        let dtype = if exported.shape().len() == 1 { Dtype::F32 } else { exported.dtype() };
        Ok(Self { name: renamed, exported: exported.stored_as(dtype), heads })
    }

    /// Describes the tensor. GGUF lists the contiguous dimension first.
    fn info(&self, offset: u64) -> Result<TensorInfo, GGUFError> {
        let shape = TensorShape::new(
            self.exported.shape().iter().rev().map(|&size| size as u64).collect(),
        )?;
        let kind = match self.exported.dtype() {
            Dtype::F16 => TensorType::F16,
            Dtype::BF16 => TensorType::BF16,
            _ => TensorType::F32,
        };
        Ok(TensorInfo::new(self.name.clone(), shape, kind, offset))
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        let bytes = self.exported.data();
        if self.heads == 0 {
            bytes
        } else {
            Cow::Owned(interleaved(&bytes, self.exported.shape()[0], self.heads))
        }
    }
}

/// Reorders the rows of each head for llama.cpp. For LLaMA its rotary embedding rotates
/// neighbouring channels; transformers rotates channel `i` with `i + head_dim / 2`, as llama.cpp
/// does for Qwen. Row `2i + j` of a head is therefore row `i + j · head_dim / 2` of the Hugging
/// Face matrix. A bias has rows of one number.
fn interleaved(bytes: &[u8], rows: usize, heads: usize) -> Vec<u8> {
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

/// Returns the name of a parameter in GGUF.
fn renamed(name: &str) -> Option<String> {
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

/// The name of the model's family in llama.cpp.
fn architecture(config: &LlamaConfig) -> &'static str {
    match config.family {
        Family::Llama { .. } | Family::Mistral { .. } => "llama",
        Family::Qwen2 => "qwen2",
        Family::Qwen3 { .. } => "qwen3",
    }
}

/// Builds the metadata: dimensions, tokenizer and chat template.
fn metadata(
    config: &LlamaConfig,
    dtype: Dtype,
    vocabulary: &Vocabulary,
) -> Result<Metadata, String> {
    if config.rope_scaling.is_some() {
        return Err(
            "`rope_scaling` is not exported to GGUF; convert the exported folder with llama.cpp's \
                    `convert_hf_to_gguf.py`"
                .to_owned(),
        );
    }
    if config.family == (Family::Qwen3 { attention_bias: true }) {
        return Err(
            "`attention_bias` is true; llama.cpp reads no biases of a `qwen3`, so the model is not \
             exported to GGUF"
                .to_owned(),
        );
    }
    let mut metadata = Metadata::new();
    for (key, value) in general(config, dtype) {
        metadata.insert(format!("general.{key}"), value);
    }
    for (key, value) in dimensions(config) {
        metadata.insert(format!("{}.{key}", architecture(config)), value);
    }
    for (key, value) in tokenizer(config, vocabulary)? {
        metadata.insert(format!("tokenizer.ggml.{key}"), value);
    }
    if let Some(text) = &vocabulary.chat_template {
        metadata.insert("tokenizer.chat_template".to_owned(), MetadataValue::String(text.clone()));
    }
    Ok(metadata)
}

fn general(config: &LlamaConfig, dtype: Dtype) -> BTreeMap<&'static str, MetadataValue> {
    let text = |text: &str| MetadataValue::String(text.to_owned());
    // `llama_ftype`: all f32, mostly f16, mostly bf16.
    let file_type = match dtype {
        Dtype::F16 => 1,
        Dtype::BF16 => 32,
        _ => 0,
    };
    BTreeMap::from([
        ("architecture", text(architecture(config))),
        ("type", text("model")),
        ("file_type", MetadataValue::U32(file_type)),
        ("quantization_version", MetadataValue::U32(2)),
    ])
}

/// The dimensions. llama.cpp computes no window for these families, so a window limits the context.
fn dimensions(config: &LlamaConfig) -> BTreeMap<&'static str, MetadataValue> {
    let number = |number: usize| MetadataValue::U32(number as u32);
    BTreeMap::from([
        ("context_length", number(config.context_limit().0)),
        ("embedding_length", number(config.hidden_size)),
        ("block_count", number(config.num_hidden_layers)),
        ("feed_forward_length", number(config.intermediate_size)),
        ("rope.dimension_count", number(config.head_dim)),
        ("rope.freq_base", MetadataValue::F32(config.rope_theta as f32)),
        ("attention.head_count", number(config.num_attention_heads)),
        ("attention.head_count_kv", number(config.num_key_value_heads)),
        ("attention.key_length", number(config.head_dim)),
        ("attention.value_length", number(config.head_dim)),
        ("attention.layer_norm_rms_epsilon", MetadataValue::F32(config.rms_norm_eps as f32)),
        ("vocab_size", number(config.vocab_size)),
    ])
}

fn tokenizer(
    config: &LlamaConfig,
    vocabulary: &Vocabulary,
) -> Result<Vec<(&'static str, MetadataValue)>, String> {
    let (tokens, rows) = (&vocabulary.tokens, config.vocab_size);
    if tokens.len() > rows {
        return Err(format!(
            "the tokenizer has {} tokens, but `vocab_size` is {rows}",
            tokens.len()
        ));
    }
    // Rows without a token get a placeholder: llama.cpp expects a token for each row.
    let unused = (tokens.len()..rows).map(|id| (format!("[PAD{id}]"), 0.0, TokenKind::Unused));
    let all: Vec<(String, f32, TokenKind)> = tokens.iter().cloned().chain(unused).collect();
    let array = |kind, values: Vec<MetadataValue>| {
        MetadataArray::new(kind, values)
            .map(|array| MetadataValue::Array(Box::new(array)))
            .map_err(|error| error.to_string())
    };
    let scores = all.iter().map(|(_, score, _)| MetadataValue::F32(*score)).collect();
    let kinds = all.iter().map(|(_, _, kind)| MetadataValue::I32(*kind as i32)).collect();
    let texts = all.iter().map(|(text, _, _)| MetadataValue::String(text.clone())).collect();
    let mut found = vec![
        ("model", MetadataValue::String("llama".to_owned())),
        ("pre", MetadataValue::String("default".to_owned())),
        ("tokens", array(GGUFValueType::String, texts)?),
        ("scores", array(GGUFValueType::F32, scores)?),
        ("token_type", array(GGUFValueType::I32, kinds)?),
        ("add_bos_token", MetadataValue::Bool(true)),
        ("add_eos_token", MetadataValue::Bool(false)),
        ("add_space_prefix", MetadataValue::Bool(vocabulary.space_prefix)),
    ];
    let ids = [
        ("bos_token_id", vocabulary.bos),
        ("eos_token_id", vocabulary.eos),
        ("unknown_token_id", vocabulary.unknown),
        ("padding_token_id", vocabulary.padding),
    ];
    found.extend(ids.into_iter().filter_map(|(key, id)| Some((key, MetadataValue::U32(id?)))));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{interleaved, renamed};

    #[test]
    fn the_halves_of_each_head_are_interleaved() {
        // Two heads of four rows, two bytes a row.
        let rows: Vec<u8> = (0..8).flat_map(|row| [row, row]).collect();
        let order: Vec<u8> = interleaved(&rows, 8, 2).into_iter().step_by(2).collect();
        assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
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

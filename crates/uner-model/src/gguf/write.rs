//! Exports a model folder to one file. Names, rows and metadata are those that llama.cpp's
//! `convert_hf_to_gguf.py` writes for the family. Tensors are copied one at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::Path;

use gguf_rs_lib::GGUFError;
use gguf_rs_lib::format::{GGUFHeader, Metadata, metadata::MetadataValue};
use gguf_rs_lib::tensor::{TensorInfo, TensorShape, TensorType};
use gguf_rs_lib::writer::GGUFStreamWriter;
use safetensors::Dtype;
use safetensors::tensor::View;

use super::names::{architecture, interleaved, interleaved_heads, renamed};
use super::{Vocabulary, vocabulary};
use crate::LlamaConfig;
use crate::config::Family;
use crate::export::{Export, Exported, with_tensors};
use crate::weights::WeightsError;

/// Tensors start at multiples of this many bytes (the format's default).
const ALIGNMENT: u64 = 32;

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
        let heads = interleaved_heads(name, config);
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
    if config.span_head {
        return Err("the model has a span head, which llama.cpp does not know".to_owned());
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
    for (key, value) in vocabulary::keys(config, vocabulary)? {
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

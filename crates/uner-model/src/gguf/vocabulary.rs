//! The vocabulary as metadata of a GGUF file, `tokenizer.ggml.*`.

use gguf_rs_lib::format::metadata::{Metadata, MetadataArray, MetadataValue};
use gguf_rs_lib::format::types::GGUFValueType;

use super::{Algorithm, TokenKind, Vocabulary};
use crate::LlamaConfig;

/// Returns the keys of a vocabulary, without their prefix.
pub(super) fn keys(
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
    let texts = all.iter().map(|(text, ..)| MetadataValue::String(text.clone())).collect();
    let kinds = all.iter().map(|(.., kind)| MetadataValue::I32(*kind as i32)).collect();
    let mut found = vec![
        ("tokens", array(GGUFValueType::String, texts)?),
        ("token_type", array(GGUFValueType::I32, kinds)?),
        ("add_bos_token", MetadataValue::Bool(vocabulary.add_bos)),
        ("add_eos_token", MetadataValue::Bool(false)),
    ];
    let text = |text: &str| MetadataValue::String(text.to_owned());
    match &vocabulary.algorithm {
        Algorithm::Scored { space_prefix } => {
            let scores = all.iter().map(|(_, score, _)| MetadataValue::F32(*score)).collect();
            found.extend([
                ("model", text("llama")),
                ("pre", text("default")),
                ("scores", array(GGUFValueType::F32, scores)?),
                ("add_space_prefix", MetadataValue::Bool(*space_prefix)),
            ]);
        }
        Algorithm::ByteLevel { pre_tokenizer, merges } => {
            let merges = merges.iter().map(|merge| text(merge)).collect();
            found.extend([
                ("model", text("gpt2")),
                ("pre", text(pre_tokenizer)),
                ("merges", array(GGUFValueType::String, merges)?),
                ("add_space_prefix", MetadataValue::Bool(false)),
            ]);
        }
    }
    let ids = [
        ("bos_token_id", vocabulary.bos),
        ("eos_token_id", vocabulary.eos),
        ("eot_token_id", vocabulary.end_of_turn),
        ("unknown_token_id", vocabulary.unknown),
        ("padding_token_id", vocabulary.padding),
    ];
    found.extend(ids.into_iter().filter_map(|(key, id)| Some((key, MetadataValue::U32(id?)))));
    Ok(found)
}

fn array(kind: GGUFValueType, values: Vec<MetadataValue>) -> Result<MetadataValue, String> {
    MetadataArray::new(kind, values)
        .map(|array| MetadataValue::Array(Box::new(array)))
        .map_err(|error| error.to_string())
}

/// Reads a vocabulary.
///
/// # Errors
/// Names the key at fault.
pub(super) fn read(metadata: &Metadata) -> Result<Vocabulary, String> {
    let key = |key: &str| format!("tokenizer.ggml.{key}");
    let texts = texts(metadata, &key("tokens"))?;
    let kinds = kinds(metadata, &key("token_type"), texts.len())?;
    let (algorithm, scores) = match metadata.get_string(&key("model")) {
        Some("llama") => {
            let space_prefix = metadata.get_bool(&key("add_space_prefix")).unwrap_or(true);
            let scores = scores(metadata, &key("scores"), texts.len())?;
            (Algorithm::Scored { space_prefix }, scores)
        }
        Some("gpt2") => {
            let pre_tokenizer = metadata.get_string(&key("pre")).unwrap_or("default").to_owned();
            let merges = self::texts(metadata, &key("merges"))?;
            (Algorithm::ByteLevel { pre_tokenizer, merges }, vec![0.0; texts.len()])
        }
        other => {
            return Err(format!(
                "`tokenizer.ggml.model` is {}; only `llama` (SentencePiece BPE) and `gpt2` \
                 (byte-level BPE) are supported",
                other.map_or("missing".to_owned(), |name| format!("`{name}`"))
            ));
        }
    };
    let is_scored = matches!(algorithm, Algorithm::Scored { .. });
    let id = |name: &str| {
        let id = metadata.get_u64(&key(name)).and_then(|id| u32::try_from(id).ok());
        id.filter(|id| (*id as usize) < texts.len())
    };
    let eos = id("eos_token_id");
    let [bos, end_of_turn, unknown, padding] =
        ["bos_token_id", "eot_token_id", "unknown_token_id", "padding_token_id"].map(id);
    let add_bos = metadata.get_bool(&key("add_bos_token")).unwrap_or(is_scored);
    let chat_template = metadata.get_string("tokenizer.chat_template").map(str::to_owned);
    let mut tokens: Vec<(String, f32, TokenKind)> = texts
        .into_iter()
        .zip(scores)
        .zip(kinds)
        .map(|((text, score), kind)| (text, score, kind))
        .collect();
    // Rows of the embedding without a token.
    while tokens.pop_if(|(.., kind)| *kind == TokenKind::Unused).is_some() {}
    let end_of_turn = end_of_turn.filter(|id| Some(*id) != eos);
    Ok(Vocabulary {
        tokens,
        algorithm,
        bos,
        eos,
        end_of_turn,
        unknown,
        padding,
        add_bos,
        chat_template,
    })
}

fn values<'a>(metadata: &'a Metadata, key: &str) -> Result<&'a [MetadataValue], String> {
    match metadata.get(key) {
        Some(MetadataValue::Array(array)) => Ok(&array.values),
        Some(_) => Err(format!("`{key}` is not a list")),
        None => Err(format!("`{key}` is missing")),
    }
}

fn texts(metadata: &Metadata, key: &str) -> Result<Vec<String>, String> {
    let text = |value: &MetadataValue| value.as_str().map(str::to_owned);
    values(metadata, key)?.iter().map(text).collect::<Option<_>>().ok_or_else(|| not(key, "texts"))
}

fn scores(metadata: &Metadata, key: &str, count: usize) -> Result<Vec<f32>, String> {
    let score = |value: &MetadataValue| value.as_f64().map(|score| score as f32);
    let scores: Vec<f32> = values(metadata, key)?
        .iter()
        .map(score)
        .collect::<Option<_>>()
        .ok_or_else(|| not(key, "numbers"))?;
    one_per_token(key, scores, count)
}

fn kinds(metadata: &Metadata, key: &str, count: usize) -> Result<Vec<TokenKind>, String> {
    if !metadata.contains_key(key) {
        return Ok(vec![TokenKind::Normal; count]);
    }
    let kind = |value: &MetadataValue| value.as_i64().and_then(TokenKind::of);
    let kinds: Vec<TokenKind> = values(metadata, key)?
        .iter()
        .map(kind)
        .collect::<Option<_>>()
        .ok_or_else(|| not(key, "kinds of tokens (1 to 6)"))?;
    one_per_token(key, kinds, count)
}

fn one_per_token<T>(key: &str, values: Vec<T>, count: usize) -> Result<Vec<T>, String> {
    if values.len() == count {
        return Ok(values);
    }
    Err(format!("`{key}` has {} entries for {count} tokens", values.len()))
}

fn not(key: &str, what: &str) -> String {
    format!("`{key}` is not a list of {what}")
}

//! A vocabulary in SentencePiece's form, for export to other formats: every piece has a score,
//! which decides what is merged first.

use prost::Message;
use serde_json::Value;

use super::proto::{BYTE, CONTROL, ModelProto, NORMAL, UNKNOWN};
use super::{Model, Tokenizer, TokenizerError};

/// The kind of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// Text.
    Normal,
    /// Stands for text that is not in the vocabulary.
    Unknown,
    /// Never made from text.
    Control,
    /// Text that is matched before a text is split.
    UserDefined,
    /// One byte.
    Byte,
}

/// Pieces by id, with the preprocessing of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredVocabulary {
    /// Text, score and kind. Of two neighbouring pairs, the one whose piece has the higher score is
    /// merged first.
    pub pieces: Vec<(String, f32, PieceKind)>,
    /// Whether a space is put before a text.
    pub space_prefix: bool,
}

impl Tokenizer {
    /// The vocabulary with scores, which SentencePiece models contain. For a `tokenizer.json`, they
    /// reproduce the order of its merges (all merges that make one piece are adjacent there).
    ///
    /// # Errors
    /// The tokenizer is not of LLaMA's kind (BPE with byte fallback).
    pub fn scored_vocabulary(&self) -> Result<ScoredVocabulary, TokenizerError> {
        let found = match &self.model {
            Model::SentencePiece(model) => of_sentencepiece(model.file()),
            Model::HuggingFace(model) => of_json(&model.json()?),
        };
        found.map_err(|problem| {
            TokenizerError::Text(format!(
                "it cannot be written as a SentencePiece vocabulary: {problem}"
            ))
        })
    }
}

fn of_sentencepiece(file: &[u8]) -> Result<ScoredVocabulary, String> {
    let proto = ModelProto::decode(file).map_err(|error| error.to_string())?;
    let pieces = proto.pieces.iter().map(|piece| {
        let kind = match piece.kind.unwrap_or(NORMAL) {
            UNKNOWN => PieceKind::Unknown,
            CONTROL => PieceKind::Control,
            BYTE => PieceKind::Byte,
            _ => PieceKind::Normal,
        };
        (piece.text().to_owned(), piece.score(), kind)
    });
    Ok(ScoredVocabulary { pieces: pieces.collect(), space_prefix: true })
}

fn of_json(file: &Value) -> Result<ScoredVocabulary, String> {
    let model = &file["model"];
    if model["type"] != "BPE" || model["byte_fallback"] != true {
        return Err(format!(
            "its model is `{}` with `byte_fallback` `{}`; it must be BPE with byte fallback",
            model["type"], model["byte_fallback"]
        ));
    }
    let vocabulary = model["vocab"].as_object().ok_or("it has no `model.vocab`")?;
    let added = file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let entries = vocabulary.iter().map(|(text, id)| (text.as_str(), id));
    let entries = entries
        .chain(added.iter().map(|token| (token["content"].as_str().unwrap_or(""), &token["id"])));
    let mut texts: Vec<Option<&str>> = Vec::new();
    for (text, id) in entries {
        let id = id.as_u64().ok_or_else(|| format!("invalid id of `{text}`: `{id}`"))? as usize;
        texts.resize(texts.len().max(id + 1), None);
        texts[id] = Some(text);
    }
    let scores = scores(model, vocabulary)?;
    let unknown = model["unk_token"].as_str();
    let mut below = scores.values().fold(0.0_f32, |lowest, score| lowest.min(*score));
    let pieces = texts.iter().enumerate().map(|(id, text)| {
        let text = text.ok_or_else(|| format!("no token has the id `{id}`"))?;
        let kind = kind(text, unknown, added);
        let score = match kind {
            PieceKind::Normal => scores.get(text).copied().unwrap_or_else(|| {
                // Single characters, which no merge makes.
                below -= 1.0;
                below
            }),
            _ => 0.0,
        };
        Ok((text.to_owned(), score, kind))
    });
    Ok(ScoredVocabulary {
        pieces: pieces.collect::<Result<_, String>>()?,
        space_prefix: space_prefix(file),
    })
}

/// Scores by piece: 0 for the piece that is made first, -1 for the second, and so on.
fn scores(
    model: &Value,
    vocabulary: &serde_json::Map<String, Value>,
) -> Result<std::collections::BTreeMap<String, f32>, String> {
    let mut scores = std::collections::BTreeMap::new();
    for merge in model["merges"].as_array().ok_or("it has no `model.merges`")? {
        let pair = match merge {
            Value::String(pair) => pair.split_once(' '),
            Value::Array(pair) => {
                pair.first().and_then(Value::as_str).zip(pair.get(1).and_then(Value::as_str))
            }
            _ => None,
        };
        let (left, right) = pair.ok_or_else(|| format!("the merge `{merge}` is not a pair"))?;
        let piece = format!("{left}{right}");
        if !vocabulary.contains_key(&piece) {
            return Err(format!("the merge `{merge}` makes no token of the vocabulary"));
        }
        let next = -(scores.len() as f32);
        scores.entry(piece).or_insert(next);
    }
    Ok(scores)
}

fn kind(text: &str, unknown: Option<&str>, added: &[Value]) -> PieceKind {
    let is_byte = |text: &str| {
        let digits = text.strip_prefix("<0x").and_then(|text| text.strip_suffix('>'));
        digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
    };
    match added.iter().find(|token| token["content"] == text) {
        _ if Some(text) == unknown => PieceKind::Unknown,
        _ if is_byte(text) => PieceKind::Byte,
        Some(token) if token["special"] == true => PieceKind::Control,
        Some(_) => PieceKind::UserDefined,
        None => PieceKind::Normal,
    }
}

/// Whether the normalizer or the pre-tokenizer puts a space mark before a text.
fn space_prefix(file: &Value) -> bool {
    fn any(part: &Value) -> bool {
        let parts = ["normalizers", "pretokenizers"]
            .into_iter()
            .filter_map(|key| part[key].as_array())
            .flatten();
        part["type"] == "Prepend"
            || part["type"] == "Metaspace" && part["prepend_scheme"] != "never"
            || parts.into_iter().any(any)
    }
    any(&file["normalizer"]) || any(&file["pre_tokenizer"])
}

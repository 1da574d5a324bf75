//! A vocabulary in the form of SentencePiece: a score decides what is merged first.

use prost::Message;
use serde_json::{Map, Value, json};

use super::json::{self, Steps};
use super::{Algorithm, PieceKind, SpecialTokens, Vocabulary};
use crate::tokenizer::proto::{
    BPE, BYTE, CONTROL, ModelProto, NORMAL, NormalizerSpec, Piece, TrainerSpec, UNKNOWN,
};

/// The vocabulary of a SentencePiece model.
pub(super) fn of_sentencepiece(file: &[u8]) -> Result<Vocabulary, String> {
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
    let pieces = pieces.collect();
    Ok(Vocabulary { pieces, algorithm: Algorithm::Scored { space_prefix: true } })
}

/// The SentencePiece model of a vocabulary without user-defined pieces.
pub(super) fn model_file(vocabulary: &Vocabulary, special: &SpecialTokens) -> Vec<u8> {
    let piece = |(text, score, kind): &(String, f32, PieceKind)| Piece {
        text: Some(text.clone()),
        score: Some(*score),
        kind: Some(match kind {
            PieceKind::Normal | PieceKind::UserDefined => NORMAL,
            PieceKind::Unknown => UNKNOWN,
            PieceKind::Control => CONTROL,
            PieceKind::Byte => BYTE,
        }),
    };
    let unknown = special.unknown.unwrap_or(special.eos);
    let [bos, eos, unknown] = [special.bos, special.eos, unknown].map(|id| Some(id as i32));
    let proto = ModelProto {
        pieces: vocabulary.pieces.iter().map(piece).collect(),
        trainer_spec: Some(TrainerSpec {
            model_type: Some(BPE),
            byte_fallback: Some(true),
            unk_id: unknown,
            bos_id: bos,
            eos_id: eos,
        }),
        normalizer_spec: Some(NormalizerSpec {
            precompiled_charsmap: None,
            add_dummy_prefix: Some(true),
            remove_extra_whitespaces: Some(false),
        }),
    };
    proto.encode_to_vec()
}

/// The `tokenizer.json` of a vocabulary. A list of merges cannot say that the leftmost of equally
/// good ones comes first, so runs of one character may be split differently.
pub(super) fn to_json(
    vocabulary: &Vocabulary,
    space_prefix: bool,
    special: &SpecialTokens,
) -> Result<Value, String> {
    let ids = json::ids(vocabulary)?;
    let prepend = space_prefix.then(|| json!({"type": "Prepend", "prepend": "▁"}));
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let normalizers: Vec<Value> = prepend.into_iter().chain([replace]).collect();
    let strip =
        space_prefix.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    let decoders = [
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let decoders: Vec<Value> = decoders.into_iter().chain(strip).collect();
    let steps = Steps {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
    };
    let unknown = special.unknown.and_then(|id| vocabulary.pieces.get(id as usize));
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": unknown.map(|(text, ..)| text),
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
        "byte_fallback": true, "ignore_merges": false, "merges": pairs(vocabulary, &ids),
        "vocab": ids,
    });
    Ok(json::file(&steps, &model, vocabulary, special))
}

/// All pairs of pieces that make a piece, the highest score first.
fn pairs(vocabulary: &Vocabulary, ids: &Map<String, Value>) -> Vec<Value> {
    let mut scored: Vec<(f32, u64, u64, [&str; 2])> = Vec::new();
    let normal = vocabulary.pieces.iter().filter(|(.., kind)| *kind == PieceKind::Normal);
    for (text, score, _) in normal {
        for (index, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(index);
            let id = |piece: &str| ids.get(piece).and_then(Value::as_u64);
            if let (Some(first), Some(second)) = (id(left), id(right)) {
                scored.push((*score, first, second, [left, right]));
            }
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    scored.into_iter().map(|(.., pair)| json!(pair)).collect()
}

/// The vocabulary of a `tokenizer.json`. Its scores reproduce the order of its merges (all merges
/// that make one piece are adjacent there).
pub(super) fn of_json(file: &Value) -> Result<Vocabulary, String> {
    let model = &file["model"];
    if model["type"] != "BPE" {
        return Err(format!(
            "its model is `{}`; it must be BPE with byte fallback, or byte-level BPE",
            model["type"].as_str().unwrap_or("unknown")
        ));
    }
    let vocabulary = model["vocab"].as_object().ok_or("it has no `model.vocab`")?;
    let added = file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let texts = texts(model, added)?;
    let scores = scores(model, vocabulary)?;
    let unknown = model["unk_token"].as_str();
    let mut below = scores.values().fold(0.0_f32, |lowest, score| lowest.min(*score));
    let pieces = texts.into_iter().map(|text| {
        let kind = kind(text, unknown, added);
        let score = match kind {
            PieceKind::Normal => scores.get(text).copied().unwrap_or_else(|| {
                // Single characters, which no merge makes.
                below -= 1.0;
                below
            }),
            _ => 0.0,
        };
        (text.to_owned(), score, kind)
    });
    let algorithm = Algorithm::Scored { space_prefix: space_prefix(file) };
    Ok(Vocabulary { pieces: pieces.collect(), algorithm })
}

/// The texts of all tokens, by id.
pub(super) fn texts<'a>(model: &'a Value, added: &'a [Value]) -> Result<Vec<&'a str>, String> {
    let vocabulary = model["vocab"].as_object().ok_or("it has no `model.vocab`")?;
    let entries = vocabulary.iter().map(|(text, id)| (text.as_str(), id));
    let entries = entries
        .chain(added.iter().map(|token| (token["content"].as_str().unwrap_or(""), &token["id"])));
    let mut texts: Vec<Option<&str>> = Vec::new();
    for (text, id) in entries {
        let id = id.as_u64().ok_or_else(|| format!("invalid id of `{text}`: `{id}`"))? as usize;
        texts.resize(texts.len().max(id + 1), None);
        texts[id] = Some(text);
    }
    let there = |(id, text): (usize, Option<&'a str>)| {
        text.ok_or_else(|| format!("no token has the id `{id}`"))
    };
    texts.into_iter().enumerate().map(there).collect()
}

fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(pair) => pair.split_once(' '),
        Value::Array(pair) => {
            pair.first().and_then(Value::as_str).zip(pair.get(1).and_then(Value::as_str))
        }
        _ => None,
    }
}

/// The merges of a model.
pub(super) fn merges(model: &Value) -> Result<Vec<(&str, &str)>, String> {
    let merges = model["merges"].as_array().ok_or("it has no `model.merges`")?;
    merges
        .iter()
        .map(|merge| pair(merge).ok_or_else(|| format!("the merge `{merge}` is not a pair")))
        .collect()
}

/// Scores by piece: 0 for the piece that is made first, -1 for the second, and so on.
fn scores(
    model: &Value,
    vocabulary: &serde_json::Map<String, Value>,
) -> Result<std::collections::BTreeMap<String, f32>, String> {
    let mut scores = std::collections::BTreeMap::new();
    for (left, right) in merges(model)? {
        let piece = format!("{left}{right}");
        if !vocabulary.contains_key(&piece) {
            return Err(format!("the merge `{left} {right}` makes no token of the vocabulary"));
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

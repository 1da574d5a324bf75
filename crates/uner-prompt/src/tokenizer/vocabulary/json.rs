//! Parts of a `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::{PieceKind, SpecialTokens, Vocabulary};

/// The steps around a model.
pub(super) struct Steps {
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    pub(super) decoder: Value,
}

/// Puts a file together.
pub(super) fn file(
    steps: &Steps,
    model: &Value,
    vocabulary: &Vocabulary,
    special: &SpecialTokens,
) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(vocabulary),
        "normalizer": steps.normalizer,
        "pre_tokenizer": steps.pre_tokenizer,
        "post_processor": post_processor(vocabulary, special),
        "decoder": steps.decoder,
        "model": model,
    })
}

/// The ids by piece.
///
/// # Errors
/// Two pieces are equal.
pub(super) fn ids(vocabulary: &Vocabulary) -> Result<Map<String, Value>, String> {
    let mut ids = Map::new();
    for (id, (text, ..)) in vocabulary.pieces.iter().enumerate() {
        if let Some(other) = ids.insert(text.clone(), json!(id)) {
            return Err(format!("the tokens {other} and {id} are both `{text}`"));
        }
    }
    Ok(ids)
}

/// Pieces that are matched before a text is split.
fn added_tokens(vocabulary: &Vocabulary) -> Vec<Value> {
    let added = vocabulary.pieces.iter().enumerate().filter_map(|(id, (text, _, kind))| {
        let special = match kind {
            PieceKind::Control | PieceKind::Unknown => true,
            PieceKind::UserDefined => false,
            PieceKind::Normal | PieceKind::Byte => return None,
        };
        Some(json!({
            "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": special,
        }))
    });
    added.collect()
}

/// Puts `bos` before a text.
fn post_processor(vocabulary: &Vocabulary, special: &SpecialTokens) -> Value {
    let piece = vocabulary.pieces.get(special.bos as usize).filter(|_| special.add_bos);
    let Some((text, ..)) = piece else { return Value::Null };
    let bos = |kind: u32| json!({"SpecialToken": {"id": text, "type_id": kind}});
    let sequence = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    json!({
        "type": "TemplateProcessing",
        "single": [bos(0), sequence("A", 0)],
        "pair": [bos(0), sequence("A", 0), bos(1), sequence("B", 1)],
        "special_tokens": {text: {"id": text, "ids": [special.bos], "tokens": [text]}},
    })
}

//! Byte-level BPE, as in GPT-2, LLaMA 3 and Qwen. A text is split into words; the bytes of each are
//! merged. The rules that split are known by the names that llama.cpp gives them, and are written
//! as in the published `tokenizer.json` of those models.

use serde_json::{Value, json};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use super::json::{self, Steps};
use super::{Algorithm, PieceKind, SpecialTokens, Vocabulary};

/// Rules that split a text into words.
struct Words {
    /// Names in llama.cpp; the first is written.
    names: &'static [&'static str],
    /// The pattern of a word; empty for GPT-2's.
    pattern: &'static str,
    /// Whether every digit is a word before the pattern is applied.
    single_digits: bool,
    /// Whether texts are composed first (Unicode's NFC).
    composes: bool,
    /// Whether a word that is a piece stays whole, whatever its merges are.
    ignores_merges: bool,
}

const WORDS: [Words; 5] = [
    Words {
        names: &["gpt-2", "gpt2", "olmo"],
        pattern: "",
        single_digits: false,
        composes: false,
        ignores_merges: false,
    },
    Words {
        names: &["smollm", "starcoder", "refact", "codeshell"],
        pattern: "",
        single_digits: true,
        composes: false,
        ignores_merges: false,
    },
    Words {
        names: &["llama-bpe", "llama3", "llama-v3"],
        pattern: concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        single_digits: false,
        composes: false,
        ignores_merges: true,
    },
    Words {
        names: &["qwen2", "deepseek-r1-qwen"],
        pattern: concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        single_digits: false,
        composes: true,
        ignores_merges: false,
    },
    Words {
        names: &["tekken"],
        pattern: concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
            r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        single_digits: false,
        composes: false,
        ignores_merges: true,
    },
];

impl Words {
    fn steps(&self) -> Steps {
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": self.pattern.is_empty(),
        });
        let split = if self.single_digits {
            Some(json!({"type": "Digits", "individual_digits": true}))
        } else if self.pattern.is_empty() {
            None
        } else {
            Some(json!({
                "type": "Split", "pattern": {"Regex": self.pattern}, "behavior": "Isolated",
                "invert": false,
            }))
        };
        Steps {
            normalizer: if self.composes { json!({"type": "NFC"}) } else { Value::Null },
            pre_tokenizer: match split {
                Some(split) => json!({"type": "Sequence", "pretokenizers": [split, bytes]}),
                None => bytes,
            },
            decoder: json!({
                "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                "use_regex": true,
            }),
        }
    }
}

/// The `tokenizer.json` of a vocabulary.
pub(super) fn to_json(
    vocabulary: &Vocabulary,
    pre_tokenizer: &str,
    merges: &[String],
    special: &SpecialTokens,
) -> Result<Value, String> {
    let words = WORDS.iter().find(|words| words.names.contains(&pre_tokenizer));
    let words = words.ok_or_else(|| {
        let known: Vec<&str> = WORDS.iter().flat_map(|words| words.names).copied().collect();
        format!(
            "words are split by the rules `{pre_tokenizer}`, which are not known (known: `{}`): \
             use the model's own `tokenizer.json`",
            known.join("`, `")
        )
    })?;
    let ids = json::ids(vocabulary)?;
    let pair = |merge: &String| match merge.split_once(' ') {
        Some((left, right)) if [left, right].into_iter().all(|piece| ids.contains_key(piece)) => {
            Ok(json!([left, right]))
        }
        _ => Err(format!("the merge `{merge}` is not a pair of tokens")),
    };
    let merges = merges.iter().map(pair).collect::<Result<Vec<Value>, String>>()?;
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": words.ignores_merges, "vocab": ids, "merges": merges,
    });
    Ok(json::file(&words.steps(), &model, vocabulary, special))
}

/// The vocabulary of a `tokenizer.json`.
pub(super) fn of_json(file: &Value) -> Result<Vocabulary, String> {
    let model = &file["model"];
    let is_byte_level = model["type"] == "BPE" && file["decoder"]["type"] == "ByteLevel";
    if !is_byte_level {
        return Err(format!(
            "its model is `{}`; it must be BPE with byte fallback, or byte-level BPE",
            model["type"].as_str().unwrap_or("unknown")
        ));
    }
    let words = WORDS.iter().find(|words| words.splits_as(file));
    let words = words.ok_or("it splits words by rules that have no name in llama.cpp")?;
    let added = file["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let kind = |text: &str| match added.iter().find(|token| token["content"] == text) {
        Some(token) if token["special"] == true => PieceKind::Control,
        Some(_) => PieceKind::UserDefined,
        None => PieceKind::Normal,
    };
    let texts = super::scored::texts(model, added)?;
    let pieces = texts.into_iter().map(|text| (text.to_owned(), 0.0, kind(text))).collect();
    let merges = super::scored::merges(model)?;
    let merges = merges.into_iter().map(|(left, right)| format!("{left} {right}")).collect();
    let pre_tokenizer = words.names[0].to_owned();
    Ok(Vocabulary { pieces, algorithm: Algorithm::ByteLevel { pre_tokenizer, merges } })
}

impl Words {
    /// Whether a file splits words by these rules.
    fn splits_as(&self, file: &Value) -> bool {
        // Read and written by the crate, so that keys with a default are there.
        let normalizer = |value: &Value| -> Option<Value> {
            serde_json::to_value(
                serde_json::from_value::<Option<NormalizerWrapper>>(value.clone()).ok()?,
            )
            .ok()
        };
        let pre_tokenizer = |value: &Value| -> Option<Value> {
            serde_json::to_value(
                serde_json::from_value::<Option<PreTokenizerWrapper>>(value.clone()).ok()?,
            )
            .ok()
        };
        let steps = self.steps();
        let ignores = file["model"]["ignore_merges"] == true;
        ignores == self.ignores_merges
            && normalizer(&steps.normalizer) == normalizer(&file["normalizer"])
            && pre_tokenizer(&steps.pre_tokenizer) == pre_tokenizer(&file["pre_tokenizer"])
    }
}

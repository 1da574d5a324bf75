//! Small tokenizers of three kinds.

use crate::tokenizer::Tokenizer;
use serde_json::{Value, json};

/// Words with space marks, and byte fallback, as LLaMA 2 has.
pub(super) fn trained() -> Tokenizer {
    let texts = [
        r#"Tim Cook met Zoë in 東京. ["Tim Cook", "Zoë"] [["ab", "person"], ["b", "pers"]] []"#,
        r#"person: Tim Cook; person: ab; pers: b; None "quoted" \\ שלום العربية a ab abé \u00e9"#,
    ];
    Tokenizer::train(texts.iter().cycle().take(20), 420).expect("a large enough vocabulary")
}

/// Byte-level pieces, as Llama 3 has, some of which cross the borders of mentions and characters.
pub(super) fn byte_level() -> Tokenizer {
    let hidden = (0..68).map(|index| char::from_u32(0x100 + index));
    let visible = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ').map(Some);
    let mut tokens: Vec<String> = visible.chain(hidden).flatten().map(String::from).collect();
    let merges = [
        ("[", "\""),
        ("Ġ", "[\""),
        ("\"", "]"),
        ("\"", ","),
        ("\",", "Ġ"),
        ("\",Ġ", "\""),
        ("[", "]"),
        ("a", "b"),
        (";", "Ġ"),
        ("Ã", "©"),
        ("©", "\""),
        ("Ã", "\""),
        ("ð", "Ł"),
        ("è", "Ģ"),
        ("\\", "u"),
    ];
    tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    let merges = merges.map(|(left, right)| json!([left, right]));
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    read(&tokens, &json!({"type": "BPE", "merges": merges}), &byte_level, &byte_level)
}

/// Only these characters, without byte fallback.
pub(super) fn scarce(characters: &str) -> Tokenizer {
    let mut tokens: Vec<String> = Vec::new();
    for character in characters.chars().map(String::from) {
        if !tokens.contains(&character) {
            tokens.push(character);
        }
    }
    let model = json!({"type": "BPE", "merges": [], "unk_token": "<unk>"});
    read(&tokens, &model, &Value::Null, &json!({"type": "Fuse"}))
}

fn read(tokens: &[String], model: &Value, pre_tokenizer: &Value, decoder: &Value) -> Tokenizer {
    let special = ["<unk>", "<s>", "</s>"];
    let ids = special.into_iter().chain(tokens.iter().map(String::as_str)).zip(0..);
    let vocab: serde_json::Map<String, Value> =
        ids.map(|(token, id): (&str, u32)| (token.to_owned(), json!(id))).collect();
    let mut model = model.clone();
    model["vocab"] = Value::Object(vocab);
    let added = special.iter().enumerate().map(|(id, content)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
    });
    let file = json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "pre_tokenizer": pre_tokenizer,
        "decoder": decoder,
        "model": model,
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokenizer.json");
    fs_err::write(&path, file.to_string()).expect("it can be written");
    Tokenizer::from_file(&path).expect("a tokenizer")
}

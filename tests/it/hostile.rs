//! Files of other programs, damaged at random. Every reader returns an error or a usable result; a
//! panic, or a test that does not end, is a defect. Readers of data have such a test of their own
//! (`uner_data::read`).

use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::Device;
use proptest::prelude::*;
use uner_model::weights::{MAX_SHARD_BYTES, random, read_config};
use uner_model::{LlamaConfig, load, save};
use uner_plan::recipe::{self, RecipeText};
use uner_plan::{Sources, builtin};
use uner_prompt::{
    ChatTemplate, Conversation, Message, Template, Tokenizer, encode, encode_prompt, parse_answer,
    parse_instructuie_answer, parse_typed_answer,
};

/// A change to a text: its position (as a share of the length), bytes removed, bytes inserted.
pub(crate) type Change = (f64, usize, Vec<u8>);

/// Fragments that break parsers, and parts of sizes.
const PIECES: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    ",",
    ":",
    "=",
    "\n",
    "\\",
    "\\u0000",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "NaN",
    "18446744073709551616",
    "4294967295",
    "99999999999999999999",
    "\u{feff}",
    "\u{1b}[31m",
    "[[[[[[[[",
    "\"\"",
];

pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let new = prop_oneof![
        4 => prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec((0.0..1.0, 0..12_usize, new), 1..4)
}

pub(crate) fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, length, new) in changes {
        let start = (place * bytes.len() as f64) as usize;
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, new.iter().copied());
    }
    bytes
}

fn changed_text(text: &str, changes: &[Change]) -> String {
    String::from_utf8_lossy(&changed(text.as_bytes(), changes)).into_owned()
}

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "intermediate_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 12, "max_position_embeddings": 64,
    "rope_theta": 10000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192}, "rms_norm_eps": 1e-6, "torch_dtype": "float32", "eos_token_id": [2], "bos_token_id": 1}"#;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::train(["the cat sat on the mat", "a cat"].iter().cycle().take(40), 280).unwrap()
});

fn tokenizer_json() -> String {
    let folder = tempfile::tempdir().unwrap();
    TOKENIZER.save(folder.path()).unwrap();
    fs_err::read_to_string(folder.path().join("tokenizer.json")).unwrap()
}

/// Reads a tokenizer and encodes a text with it.
fn encode_with(folder: &Path) {
    if let Ok(tokenizer) = Tokenizer::from_file(&folder.join("tokenizer.json")) {
        let _ = tokenizer.encode_segment("the cat </s> ß東😀").map(|ids| tokenizer.decode(&ids));
        let _ = tokenizer.encode_with_special_tokens("<s> the </s>");
    }
}

/// `PROPTEST_CASES` cases of a test; 200 without it.
pub(crate) fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(200))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn recipes(changes in changes()) {
        for name in ["quickstart", "private"] {
            let text = changed_text(builtin::recipe(name).unwrap(), &changes);
            let source = RecipeText { origin: "x.toml".to_owned(), text, folder: "/nowhere".into() };
            if let Ok(recipe) = recipe::parse(&source, &[]) {
                recipe::defaults(&source, &[], &recipe);
                let _ = Sources::find(recipe);
            }
        }
    }

    #[test]
    fn templates_and_chat_templates(changes in changes()) {
        let _ = Template::parse(&changed_text(include_str!("../../configs/templates/zero-shot.toml"), &changes), "x.toml");
        let chat = "{% for m in messages %}{{ m['role'] + ': ' + m.content | trim + eos_token }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}";
        if let Ok(chat) = ChatTemplate::new(changed_text(chat, &changes)) {
            let template = Template { chat_template: Some(chat), ..Template::load("chat").unwrap() };
            let turns = ["Text: Zoë ran.", "I've read this text.", "What describes person?", "[\"Zoë\"]"];
            let turn = |(turn, text): (usize, &str)| {
                if turn.is_multiple_of(2) { Message::user(text) } else { Message::assistant(text) }
            };
            let conversation = Conversation { messages: turns.into_iter().enumerate().map(turn).collect() };
            let _ = encode_prompt(&conversation, &template, &TOKENIZER);
            if let Ok(tokens) = encode(&conversation, &template, &TOKENIZER) {
                prop_assert_eq!(tokens.exchanges.last(), Some(&tokens.ids.len()));
                prop_assert!(tokens.loss_mask.contains(&true));
            }
        }
    }

    #[test]
    fn configs(changes in changes()) {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("config.json"), changed(CONFIG.as_bytes(), &changes)).unwrap();
        // A configuration that was accepted is equal after writing and reading it.
        if let Ok(config) = read_config(folder.path()) {
            fs_err::write(folder.path().join("config.json"), serde_json::to_string(&config).unwrap()).unwrap();
            prop_assert_eq!(read_config(folder.path()).map_err(|error| error.to_string()), Ok(config));
        }
    }

    #[test]
    fn weights(changes in changes()) {
        let folder = tempfile::tempdir().unwrap();
        let config: LlamaConfig = serde_json::from_str(CONFIG).unwrap();
        save(&random(&config, 1, &Device::flex()), &config, folder.path(), MAX_SHARD_BYTES).unwrap();
        let file = folder.path().join("model.safetensors");
        let bytes = fs_err::read(&file).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        // Only the header and its length are damaged: any bytes after it are valid numbers.
        let (header, rest) = bytes.split_at(8 + length);
        fs_err::write(&file, [&changed(header, &changes), rest].concat()).unwrap();
        let _ = load(folder.path(), &Device::flex());
    }

    #[test]
    fn tokenizers(changes in changes()) {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("tokenizer.json"), changed(tokenizer_json().as_bytes(), &changes)).unwrap();
        encode_with(folder.path());
    }

    #[test]
    fn answers(changes in changes()) {
        let answer = changed_text(r#"[["Ann \"x\"", "person"], ["Zoë", "city"]] person: Ann; city: Oslo"#, &changes);
        parse_answer(&answer);
        parse_typed_answer(&answer);
        parse_instructuie_answer(&answer, &["person", "city"]);
    }
}

/// A normalizer that multiplies a text is refused before it reads one.
#[test]
fn normalizers_that_multiply_a_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&tokenizer_json()).unwrap();
    let replace =
        serde_json::json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    json["normalizer"] = serde_json::json!({"type": "Sequence", "normalizers": vec![replace; 40]});
    let file = folder.path().join("tokenizer.json");
    fs_err::write(&file, json.to_string()).unwrap();
    let error = Tokenizer::from_file(&file).unwrap_err().to_string();
    assert!(error.contains("its normalizer makes a text up to 1e12 times as long"), "{error}");
    // Text that it prepends counts, too; special tokens are normalised while the file is read.
    let steps = [
        serde_json::json!({"type": "Prepend", "prepend": "a".repeat(10_000)}),
        serde_json::json!({"type": "Sequence", "normalizers": vec![serde_json::json!({"type": "Prepend", "prepend": "ab"}); 60]}),
    ];
    for step in steps {
        json["normalizer"] = step;
        fs_err::write(&file, json.to_string()).unwrap();
        let error = Tokenizer::from_file(&file).unwrap_err().to_string();
        assert!(
            error.contains("times as long; remove the `Replace` and `Prepend` steps"),
            "{error}"
        );
    }
}

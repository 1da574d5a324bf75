use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const TEXTS: [&str; 8] = [
    "Tim Cook runs Apple.",
    "  two  spaces, then\ttabs\n\n\nand lines \r\n",
    "It's 2026-11-28, 12345 + 67.5% = ½?",
    "I'LL we've they'd",
    "Größe 東京 🙂 e\u{301} İstanbul",
    "",
    " ",
    "((hello))[[world]]//x_y!!",
];

/// Characters of the byte-level alphabet, and merges of them.
fn byte_level(pre_tokenizer: &str) -> Vocabulary {
    let alphabet: Vec<String> =
        crate::tokenizer::bytes::byte_level_alphabet().iter().map(ToString::to_string).collect();
    let merged = ["he", "ll", "hell", "12", "34", "1234", "Ġt", "Ġth"].map(str::to_owned);
    let merges = ["h e", "l l", "he ll", "1 2", "3 4", "12 34", "Ġ t", "Ġt h"].map(str::to_owned);
    let special = ["<|start|>", "<|end|>"].map(|text| (text.to_owned(), 0.0, PieceKind::Control));
    let normal = alphabet.into_iter().chain(merged).map(|text| (text, 0.0, PieceKind::Normal));
    let user = [("<tool>".to_owned(), 0.0, PieceKind::UserDefined)];
    Vocabulary {
        pieces: special.into_iter().chain(normal).chain(user).collect(),
        algorithm: Algorithm::ByteLevel {
            pre_tokenizer: pre_tokenizer.to_owned(),
            merges: merges.to_vec(),
        },
    }
}

fn special() -> SpecialTokens {
    SpecialTokens { bos: 0, eos: 1, unknown: None, padding: Some(1), add_bos: true }
}

fn saved(tokenizer: &Tokenizer) -> (TempDir, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(folder.path()).unwrap();
    let again = Tokenizer::from_file(&crate::tokenizer_in(folder.path())).unwrap();
    (folder, again)
}

#[test]
fn a_byte_level_vocabulary_is_saved_and_read_back() {
    for name in ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"] {
        let vocabulary = byte_level(name);
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary, &special()).unwrap();
        let (_folder, again) = saved(&tokenizer);
        assert_eq!([again.bos(), again.eos(), again.pad()], [0, 1, 1], "{name}");
        assert_eq!(again.vocabulary().unwrap(), vocabulary, "{name}");
        for text in TEXTS {
            let ids = tokenizer.encode_segment(text).unwrap();
            assert_eq!(ids, again.encode_segment(text).unwrap(), "{name}: {text}");
            let read = again.decode(&ids).unwrap();
            // Qwen's composes characters.
            assert!(name == "qwen2" || read == text, "{name}: {text}: {read}");
        }
    }
}

fn pieces_of(name: &str, text: &str) -> Vec<String> {
    let tokenizer = Tokenizer::from_vocabulary(&byte_level(name), &special()).unwrap();
    let ids = tokenizer.encode_with_special_tokens(text).unwrap();
    ids.into_iter().map(|id| tokenizer.token(id)).collect()
}

#[test]
fn words_are_split_by_their_rules() {
    // Digits stay together, are single, or at most three.
    assert_eq!(pieces_of("gpt-2", "1234"), ["1234"]);
    assert_eq!(pieces_of("smollm", "1234"), ["1", "2", "3", "4"]);
    assert_eq!(pieces_of("qwen2", "1234"), ["1", "2", "3", "4"]);
    assert_eq!(pieces_of("llama-bpe", "1234"), ["12", "3", "4"]);
    // A special token is matched before the text is split.
    assert_eq!(pieces_of("gpt-2", "hell<tool><|end|>"), ["hell", "<tool>", "<|end|>"]);
}

#[test]
fn a_vocabulary_that_is_not_understood_is_refused() {
    let refused = |vocabulary: &Vocabulary, special: &SpecialTokens, part: &str| {
        let error = Tokenizer::from_vocabulary(vocabulary, special).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(
        &byte_level("default"),
        &special(),
        "rules `default`, which are not known (known: `gpt-2`",
    );
    let mut broken = byte_level("gpt-2");
    broken.algorithm = Algorithm::ByteLevel {
        pre_tokenizer: "gpt-2".to_owned(),
        merges: vec!["h €".to_owned()],
    };
    refused(&broken, &special(), "the merge `h €` is not a pair of tokens");
    let mut twice = byte_level("gpt-2");
    twice.pieces.push(twice.pieces[7].clone());
    refused(&twice, &special(), "are both");
    let outside = SpecialTokens { eos: 100_000, ..special() };
    refused(&byte_level("gpt-2"), &outside, "`eos_token` 100000 is not in the vocabulary");
}

/// A vocabulary of the 256 bytes and some pieces.
fn scored(user_defined: bool) -> Vocabulary {
    let piece = |text: &str, kind| (text.to_owned(), 0.0, kind);
    let mut pieces = vec![
        piece("<unk>", PieceKind::Unknown),
        piece("<s>", PieceKind::Control),
        piece("</s>", PieceKind::Control),
    ];
    pieces.extend((0..256).map(|byte| piece(&format!("<0x{byte:02X}>"), PieceKind::Byte)));
    let texts = ["▁t", "he", "▁the", "▁", "t", "h", "e", "▁a", "a", "n", "an"];
    let score =
        |(index, text): (usize, &str)| (text.to_owned(), -(index as f32), PieceKind::Normal);
    pieces.extend(texts.into_iter().enumerate().map(score));
    if user_defined {
        pieces.push(piece("<tool>", PieceKind::UserDefined));
    }
    Vocabulary { pieces, algorithm: Algorithm::Scored { space_prefix: true } }
}

#[test]
fn a_scored_vocabulary_becomes_a_sentencepiece_model_or_has_user_defined_pieces() {
    let special = SpecialTokens { bos: 1, eos: 2, unknown: Some(0), padding: None, add_bos: true };
    let [plain, with_tool] = [false, true].map(|user_defined| {
        let vocabulary = scored(user_defined);
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary, &special).unwrap();
        let (folder, again) = saved(&tokenizer);
        assert_eq!(folder.path().join("tokenizer.json").exists(), user_defined);
        let kinds = |vocabulary: Vocabulary| -> Vec<(String, PieceKind)> {
            vocabulary.pieces.into_iter().map(|(text, _, kind)| (text, kind)).collect()
        };
        assert_eq!(kinds(again.vocabulary().unwrap()), kinds(vocabulary));
        again
    });
    for text in TEXTS.into_iter().chain(["the an theta", "banana the"]) {
        let ids = plain.encode_segment(text).unwrap();
        assert_eq!(ids, with_tool.encode_segment(text).unwrap(), "{text}");
        assert_eq!(with_tool.decode(&ids).unwrap(), plain.decode(&ids).unwrap(), "{text}");
    }
    let tokens: Vec<String> = with_tool
        .encode_with_special_tokens("the<tool></s>")
        .unwrap()
        .into_iter()
        .map(|id| with_tool.token(id))
        .collect();
    assert_eq!(tokens, ["▁the", "<tool>", "</s>"]);
    assert_eq!([with_tool.bos(), with_tool.eos(), with_tool.pad()], [1, 2, 0]);
}

#[test]
fn transformers_puts_bos_before_a_text_where_the_vocabulary_says_so() {
    let read = |folder: &Path| -> Value {
        serde_json::from_slice(&fs_err::read(folder.join("tokenizer.json")).unwrap()).unwrap()
    };
    for add_bos in [true, false] {
        let special = SpecialTokens { add_bos, ..special() };
        let tokenizer = Tokenizer::from_vocabulary(&byte_level("llama-bpe"), &special).unwrap();
        let (folder, _) = saved(&tokenizer);
        let file = read(folder.path());
        let first = &file["post_processor"]["single"][0]["SpecialToken"]["id"];
        assert_eq!(*first, if add_bos { json!("<|start|>") } else { Value::Null });
    }
}

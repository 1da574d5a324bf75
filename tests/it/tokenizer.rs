//! Tokenizers: LLaMA's SentencePiece model, compared with the encodings of llama.cpp and axolotl,
//! `tokenizer.json`, and a tokenizer trained in the test.

use crate::shared::shared;
use proptest::prelude::*;
use serde::Deserialize;
use std::sync::LazyLock;
use uner_prompt::{SpacePrefix, Tokenizer, TokenizerError};

fn llama() -> Option<Tokenizer> {
    Some(
        Tokenizer::from_file(&shared("data/llama-tokenizer/tokenizer.model")?)
            .expect("LLaMA's tokenizer"),
    )
}

#[test]
fn llama_ids_equal_llama_cpp() {
    let (Some(tokenizer), Some(folder)) = (llama(), shared("data/llama-cpp-vocab")) else { return };
    let read = |end: &str| {
        fs_err::read_to_string(folder.join(format!("ggml-vocab-llama-spm.gguf.{end}")))
            .expect("a text file")
    };
    let (texts, expected) = (read("inp"), read("out"));
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let expected: Vec<&str> = expected.split('\n').collect();
    let pairs: Vec<_> = texts.iter().zip(&expected).collect();
    assert_eq!((pairs.len(), expected.len()), (47, 47));
    for (text, expected) in pairs {
        let expected: Vec<u32> =
            expected.split_whitespace().map(|id| id.parse().expect("an id")).collect();
        let ids = tokenizer.encode_segment(text).expect("any text encodes");
        assert_eq!(ids, expected, "{text:?}");
        assert_eq!(tokenizer.decode(&ids).expect("known ids"), **text);
    }
    let special = (tokenizer.bos(), tokenizer.eos(), tokenizer.pad(), tokenizer.vocab_size());
    assert_eq!(special, (1, 2, 0, 32_000));
}

#[derive(Deserialize)]
struct Axolotl {
    input_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Chat {
    conversations: Vec<uner_prompt::Message>,
}

/// Axolotl writes `</s>` as text after each answer (its quirk), then the real token.
#[test]
fn llama_ids_equal_axolotl() {
    let (Some(tokenizer), Some(folder)) = (llama(), shared("data/axolotl-fixtures")) else {
        return;
    };
    let read = |name: &str| fs_err::read_to_string(folder.join(name)).expect("a text file");
    let chat: Chat = serde_json::from_str(&read("conversation.json")).expect("a conversation");
    let expected: Axolotl =
        serde_json::from_str(&read("conversation.tokenized.json")).expect("ids");
    let encode = |text: &str| tokenizer.encode_segment(text).expect("any text encodes");
    let mut ids = vec![tokenizer.bos()];
    ids.extend(encode(
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, \
         and polite answers to the user's questions. ",
    ));
    for turns in chat.conversations.chunks_exact(2) {
        ids.extend(encode(&format!("USER: {} ", turns[0].text)));
        ids.extend(encode("ASSISTANT:"));
        ids.extend(encode(&format!("{}</s>", turns[1].text)));
        ids.push(tokenizer.eos());
    }
    assert_eq!(ids, expected.input_ids);
}

#[test]
fn space_marks_behind_special_tokens() {
    let Some(legacy) = llama() else { return };
    assert_eq!(
        legacy.encode_with_special_tokens("a</s>USER").expect("encodes"),
        [263, 2, 3148, 1001]
    );
    let nonlegacy = legacy.with_space_prefix(SpacePrefix::StartOnly);
    assert_eq!(
        nonlegacy.encode_with_special_tokens("a</s>USER").expect("encodes"),
        [263, 2, 11889]
    );
    assert_eq!(nonlegacy.encode_with_special_tokens("</s> two").expect("encodes"), [2, 1023]);
}

#[test]
fn other_sentencepiece_models_are_refused() {
    for file in ["data/sentencepiece/python/test/test_model.model", "data/torchtune-assets/m.model"]
    {
        let Some(path) = shared(file) else { return };
        let message = Tokenizer::from_file(&path).expect_err("a unigram model").to_string();
        assert!(message.contains("it is not a BPE model"), "{message}");
    }
}

#[test]
fn tokenizer_json_with_its_config() {
    let Some(path) = shared("data/tinystories-656k/tokenizer.json") else { return };
    let tokenizer = Tokenizer::from_file(&path).expect("a tokenizer");
    let special = (tokenizer.bos(), tokenizer.eos(), tokenizer.pad(), tokenizer.vocab_size());
    assert_eq!(special, (1, 2, 0, 2048));
    let text = "Once upon a time, there was a fox.";
    let ids = tokenizer.encode_segment(text).expect("encodes");
    assert!(ids.iter().all(|id| *id > 2), "special tokens are for conversations");
    assert_eq!(tokenizer.decode(&ids).expect("known ids"), text);
    assert_eq!(tokenizer.encode_with_special_tokens("<|end_story|>").expect("encodes"), [2]);
    assert!(tokenizer.encode_segment("<|end_story|>").expect("encodes").len() > 1);
}

const TEXTS: [&str; 3] = [
    "A virtual assistant answers questions from a user based on the provided text.",
    "What describes person in the text? [\"Tim Cook\", \"Ann\"] in 1976",
    "Tim Cook runs Apple. Ann flew to Oslo.",
];

fn trained(vocab_size: usize) -> Tokenizer {
    Tokenizer::train(TEXTS.iter().cycle().take(60), vocab_size).expect("room for the characters")
}

#[test]
fn training_is_deterministic_and_has_llamas_layout() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let reversed = Tokenizer::train(TEXTS.iter().rev().cycle().take(60), 360)
        .expect("room for the characters");
    trained(360).save(folders[0].path()).expect("saved");
    reversed.save(folders[1].path()).expect("saved");
    let files = folders
        .each_ref()
        .map(|folder| fs_err::read(folder.path().join("tokenizer.json")).expect("a file"));
    assert!(files[0] == files[1], "the same texts in another order give the same tokenizer");
    let file: serde_json::Value = serde_json::from_slice(&files[0]).expect("JSON");
    for (token, id) in [("<unk>", 0), ("<s>", 1), ("</s>", 2), ("<0x00>", 3), ("<0xFF>", 258)] {
        assert_eq!(file["model"]["vocab"][token], id, "{token}");
    }
    let tokenizer = trained(360);
    assert_eq!(
        (tokenizer.bos(), tokenizer.eos(), tokenizer.pad(), tokenizer.vocab_size()),
        (1, 2, 0, 360)
    );
    assert!(
        tokenizer.encode_segment("Tim Cook").expect("encodes").len() <= 4,
        "merges were learnt"
    );
}

#[test]
fn saved_tokenizers_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokenizer = trained(360);
    tokenizer.save(folder.path()).expect("saved");
    let read = Tokenizer::from_file(&folder.path().join("tokenizer.json")).expect("read back");
    let encode = |tokenizer: &Tokenizer| {
        tokenizer.encode_segment("Tim Cook flew 東京 </s>").expect("encodes")
    };
    assert_eq!(encode(&read), encode(&tokenizer));
    assert_eq!((read.bos(), read.eos(), read.pad()), (1, 2, 0));

    let Some(llama) = llama() else { return };
    llama.with_space_prefix(SpacePrefix::StartOnly).save(folder.path()).expect("saved");
    let read = Tokenizer::from_file(&folder.path().join("tokenizer.model")).expect("read back");
    assert_eq!(
        read.encode_with_special_tokens("</s>USER").expect("encodes"),
        [2, 11889],
        "the rule is saved too"
    );
}

#[test]
fn too_small_a_vocabulary_is_refused() {
    let error = Tokenizer::train(TEXTS.iter(), 270).expect_err("no room");
    assert!(
        matches!(error, TokenizerError::VocabularyTooSmall { vocab_size: 270, num_characters } if num_characters > 11)
    );
}

#[test]
fn unknown_files_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, said) in
        [("tokenizer.json", "tokenizer.json"), ("tokenizer.model", "not a SentencePiece model")]
    {
        let path = folder.path().join(name);
        let missing = Tokenizer::from_file(&path).expect_err("missing").to_string();
        assert!(missing.contains(name), "{missing}");
        fs_err::write(&path, "\u{1}nonsense").expect("written");
        let faulty = Tokenizer::from_file(&path).expect_err("faulty").to_string();
        assert!(faulty.contains(said), "{faulty}");
    }
}

proptest! {
    /// Decoding returns the encoded text, for every text (each tokenizer adds one space before the
    /// text and removes it again).
    #[test]
    fn texts_survive(text in "[ -~éß東😀\n\t]{0,40}") {
        static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| trained(360));
        let tokenizer = &*TOKENIZER;
        let ids = tokenizer.encode_segment(&text).expect("encodes");
        prop_assert_eq!(tokenizer.decode(&ids).expect("known ids"), text);
    }
}

//! Every template yields the same text with every kind of tokenizer: encoded tokens decode to the
//! rendered text.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use uner_prompt::conversation::text;
use uner_prompt::{
    ChatTemplate, Conversation, Message, Template, Tokenizer, decode, encode, encode_prompt, render,
};

use crate::shared::shared;

/// Texts that the tokenizers below have pieces for, besides the words of the templates: ASCII, and
/// characters of two to four bytes.
const MESSAGES: &str = "[ -;=-~éß東😀]{0,24}";

/// Names for messages, and a tokenizer of each kind.
static TOKENIZERS: LazyLock<Vec<(&str, Tokenizer)>> = LazyLock::new(|| {
    let words = "A virtual assistant answers questions. USER: Text: ASSISTANT: I've read this text. What describes [\"a\"]";
    let mut all = vec![
        ("BPE with a prefix", Tokenizer::train(std::iter::repeat_n(words, 20), 400).unwrap()),
        ("byte-level BPE", read(&byte_level(false))),
        ("byte-level BPE with a prefix", read(&byte_level(true))),
        ("BPE with a prefix behind special tokens, too", read(&prepending())),
        ("Unigram", read(&unigram("always"))),
        ("Unigram with a prefix at the start", read(&unigram("first"))),
    ];
    if let Some(llama) = shared("data/llama-tokenizer/tokenizer.model") {
        all.push(("SentencePiece", Tokenizer::from_file(&llama).unwrap()));
    }
    all
});

fn read(tokenizer: &Value) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    Tokenizer::from_file(&folder.path().join("tokenizer.json")).unwrap()
}

/// Builds a `tokenizer.json`.
fn file(parts: &Value) -> Value {
    let special = |(id, content): (usize, &str)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    let added: Vec<Value> = ["<unk>", "<s>", "</s>"].into_iter().enumerate().map(special).collect();
    let mut file = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "post_processor": null,
    });
    file.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    file
}

/// As in GPT-2 and LLaMA 3: bytes are characters, words start with their blank, and a text gets a
/// blank before it only with `prefix`.
fn byte_level(prefix: bool) -> Value {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let shown = (0..=255).filter(printable).map(char::from);
    let hidden = (0..=255).filter(|byte| !printable(byte)).count() as u32;
    let alphabet = shown.chain((0..hidden).map(|index| char::from_u32(256 + index).unwrap()));
    let pieces =
        ["<unk>", "<s>", "</s>"].into_iter().map(str::to_owned).chain(alphabet.map(String::from));
    let mut vocabulary: serde_json::Map<String, Value> =
        pieces.enumerate().map(|(id, piece)| (piece, json!(id))).collect();
    for piece in ["ĠA", "ĠAS", "Ġ["] {
        vocabulary.insert(piece.to_owned(), json!(vocabulary.len()));
    }
    let level = |prefix: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true});
    file(&json!({
        "pre_tokenizer": level(prefix),
        "decoder": level(prefix),
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["Ġ A", "ĠA S", "Ġ ["]},
    }))
}

/// As in LLaMA 2, Vicuna and `TinyLlama`: a mark before every text (also after special tokens) and
/// instead of each blank. Two line breaks are one piece.
fn prepending() -> Value {
    let marks = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]});
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let characters = ('!'..='~').chain("▁\né".chars()).map(String::from);
    let merges = [["▁", "["], ["▁", "T"], ["\n", "\n"]];
    let pieces =
        ["<unk>", "<s>", "</s>"].into_iter().map(str::to_owned).chain(bytes).chain(characters);
    let pieces = pieces.chain(merges.map(|pair| pair.concat()));
    let vocabulary: serde_json::Map<String, Value> =
        pieces.enumerate().map(|(id, piece)| (piece, json!(id))).collect();
    file(&json!({
        "normalizer": marks,
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": true, "unk_token": "<unk>"},
    }))
}

/// As in T5 and ALBERT: pieces with a score, and a mark instead of each blank.
fn unigram(prepend: &str) -> Value {
    let characters = (' '..='~').map(|character| if character == ' ' { '▁' } else { character });
    let characters =
        characters.chain("éß東😀".chars()).map(|character| json!([character.to_string(), -5.0]));
    let special = ["<unk>", "<s>", "</s>"].map(|piece| json!([piece, 0.0]));
    let words = ["▁ASSISTANT:", "▁USER:", "▁text", "▁["].map(|piece| json!([piece, -2.0]));
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend, "split": true});
    let vocabulary: Vec<Value> = special.into_iter().chain(characters).chain(words).collect();
    file(&json!({
        "pre_tokenizer": metaspace,
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": vocabulary},
    }))
}

proptest! {
    #[test]
    fn every_template_is_one_text(passage in MESSAGES, reply in MESSAGES, question in MESSAGES, answer in MESSAGES) {
        let messages = vec![
            Message::user(format!("Text: {passage}")),
            Message::assistant(reply),
            Message::user(format!("What? {question}")),
            Message::assistant(answer),
        ];
        let conversation = Conversation { messages };
        // The released code leaves blanks to SentencePiece.
        for name in Template::names().filter(|name| *name != "official") {
            let template = Template::load(name).unwrap();
            if template.chat_template.is_some() {
                continue;
            }
            let rendered = text(&render(&conversation, &template).unwrap());
            for (kind, tokenizer) in &*TOKENIZERS {
                let tokens = encode(&conversation, &template, tokenizer).unwrap();
                prop_assert_eq!(text(&decode(&tokens, &template, tokenizer).unwrap()), &*rendered, "{} {}", name, kind);
            }
        }
    }
}

/// Typical chat templates of models: names between special tokens, and names as text around trimmed
/// contents.
const CHATS: [&str; 3] = [
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}",
    "{% for m in messages %}<s>{{ m.role }}<unk>\n\n{{ m.content | trim }}</s>{% endfor %}\
     {% if add_generation_prompt %}<s>assistant<unk>\n\n{% endif %}",
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content | trim }} </s>{% else %}<s>[INST] {{ m.content | trim }} [/INST]\
     {% endif %}{% endfor %}",
];

proptest! {
    /// In training, the ids before each answer equal those of its prompt encoded as a whole.
    #[test]
    fn chat_templates_train_what_they_ask(passage in MESSAGES, questions in [MESSAGES; 2], answers in [MESSAGES; 2]) {
        let opening = [Message::user(format!("Text: {passage}")), Message::assistant("I've read this text.")];
        let questions = questions.map(|question| Message::user(format!("What? {question}")));
        let exchanges = questions.iter().cloned().zip(answers.map(Message::assistant));
        let messages = opening.iter().cloned().chain(exchanges.flat_map(|(question, answer)| [question, answer])).collect();
        let conversation = Conversation { messages };
        for (chat, jinja) in CHATS.iter().enumerate() {
            let template = Template {
                chat_template: Some(ChatTemplate::new((*jinja).to_owned()).unwrap()),
                system: String::new(),
                ..Template::load("chat").unwrap()
            };
            for (kind, tokenizer) in &*TOKENIZERS {
                let tokens = encode(&conversation, &template, tokenizer).unwrap();
                prop_assert_eq!(tokens.exchanges.len(), 3);
                let start = tokens.exchanges[0];
                for (question, ends) in questions.iter().zip(tokens.exchanges.windows(2)) {
                    let asked = Conversation { messages: opening.iter().chain([question]).cloned().collect() };
                    let prompt = encode_prompt(&asked, &template, tokenizer).unwrap();
                    let own = ends[0] + prompt.len() - start;
                    prop_assert_eq!(&tokens.ids[..start], &prompt[..start], "{} {}", chat, kind);
                    prop_assert_eq!(&tokens.ids[ends[0]..own], &prompt[start..], "{} {}", chat, kind);
                    prop_assert!(tokens.loss_mask[ends[0]..own].iter().all(|trained| !trained));
                    prop_assert!(tokens.loss_mask[own..ends[1]].iter().all(|trained| *trained));
                    prop_assert_eq!(tokens.ids[ends[1] - 1], tokenizer.eos());
                }
            }
        }
    }
}

/// Texts without blanks at their ends: those may join with the template's text.
const WORDS: &str = "[a-zA-Zéß東😀.]{1,8}( [a-z0-9]{1,5}){0,3}";

proptest! {
    /// Other programs render a whole text with the exported chat template and tokenise it at once.
    #[test]
    fn exported_chat_templates_ask_with_the_same_ids(passage in WORDS, question in WORDS) {
        for name in Template::names() {
            let template = Template::load(name).unwrap();
            if template.chat_template.is_some() {
                continue;
            }
            let turns = [&*passage, "I've read this text.", &*question];
            let turns = if template.acknowledgement.is_some() { &turns[..] } else { &turns[..1] };
            let message = |(turn, text): (usize, &&str)| {
                if turn.is_multiple_of(2) { Message::user(*text) } else { Message::assistant(*text) }
            };
            let conversation = Conversation { messages: turns.iter().enumerate().map(message).collect() };
            for (kind, tokenizer) in &*TOKENIZERS {
                let Some(jinja) = template.as_chat_template(tokenizer).unwrap() else {
                    prop_assert!(name == "official", "{} {}", name, kind);
                    continue;
                };
                let exported = Template {
                    chat_template: Some(ChatTemplate::new(jinja).unwrap()),
                    system: String::new(),
                    ..template.clone()
                };
                let ids = encode_prompt(&conversation, &exported, tokenizer).unwrap();
                prop_assert_eq!(ids, encode_prompt(&conversation, &template, tokenizer).unwrap(), "{} {}", name, kind);
            }
        }
    }
}

#[test]
fn vicuna_and_alpaca_are_asked_in_their_own_formats() {
    let tokenizer = read(&byte_level(false));
    for (name, expected) in [
        (
            "vicuna",
            "A chat between a curious user and an artificial intelligence assistant. The assistant \
             gives helpful, detailed, and polite answers to the user's questions. USER: Text: Ada. \
             ASSISTANT: I've read this text.⏎USER: What describes person in the text? Answer with \
             a JSON list of the words in the text. ASSISTANT:",
        ),
        (
            "alpaca",
            "Below is an instruction that describes a task. Write a response that appropriately \
             completes the request.\n\n### Instruction:\nText: Ada.\n\n### Response:\nI've read \
             this text.⏎\n\n### Instruction:\nWhat describes person in the text? Answer with a JSON \
             list of the words in the text.\n\n### Response:\n",
        ),
    ] {
        let template = Template::load(name).unwrap();
        let conversation = uner_prompt::mission::prompt("Ada.", "person", &template, None);
        let ids = encode_prompt(&conversation, &template, &tokenizer).unwrap();
        let text = tokenizer.decode_with_special(&ids).unwrap();
        assert_eq!(text.replace("<s>", "").replace("</s>", "⏎"), expected);
    }
}

/// The tokenizers of LLaMA 3, `SmolLM` and Qwen do not add a blank before a segment, so the
/// template's own blank has to reach the ids.
#[test]
fn byte_level_tokenizers_see_the_blanks_of_the_template() {
    let tokenizer = read(&byte_level(false));
    let template = Template::load("zero-shot").unwrap();
    let messages = vec![
        Message::user("Text: Ines Okart joined Ruvel Systems."),
        Message::assistant("I've read this text."),
        Message::user("What describes person in the text?"),
        Message::assistant(r#"["Ines Okart"]"#),
    ];
    let conversation = Conversation { messages };
    let tokens = encode(&conversation, &template, &tokenizer).unwrap();
    let segments = decode(&tokens, &template, &tokenizer).unwrap();
    assert!(
        text(&segments).ends_with(
            "provided text. USER: Text: Ines Okart joined Ruvel Systems. ASSISTANT: I've read this text.⏎\
             USER: What describes person in the text? ASSISTANT: [\"Ines Okart\"]⏎"
        ),
        "{segments:?}"
    );
    let trained: Vec<&str> =
        segments.iter().filter(|segment| segment.trained).map(|segment| &*segment.text).collect();
    assert_eq!(trained, [" [\"Ines Okart\"]"]);
    // The answer's first token begins with its blank, and generation starts before this token.
    let prompt = encode_prompt(&conversation, &template, &tokenizer).unwrap();
    assert_eq!(prompt, tokens.ids[..prompt.len()]);
    assert_eq!(tokenizer.decode(&tokens.ids[prompt.len()..=prompt.len()]).unwrap(), " [");
}

//! Token ids and loss masks equal the official preprocessing on the same conversations (golden
//! vectors), and the values written here for a tokenizer that the test trains.

use crate::shared::shared;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use uner_prompt::{
    Conversation, Message, PromptError, SpacePrefix, Template, Tokenizer, Tokens, cut, encode,
    encode_prompt, fit, permute_queries, render, render_prompt, render_string,
};

const MAX_SEQ_LEN: usize = 1024;

#[derive(Deserialize)]
struct Trained {
    id: String,
    conversation: Vec<Message>,
    ids: Vec<u32>,
    labels: Vec<i64>,
    full_length: usize,
}

/// A variant of a conversation of the golden file.
#[derive(Deserialize)]
struct Variant {
    id: String,
    #[serde(default)]
    order: Vec<usize>,
    ids: Vec<u32>,
    labels: Vec<i64>,
}

#[derive(Deserialize)]
struct Prompt {
    id: String,
    query: usize,
    #[serde(rename = "prompt")]
    text: String,
    ids_legacy: Vec<u32>,
    ids_nonlegacy: Vec<u32>,
}

#[derive(Deserialize)]
struct Whole {
    id: String,
    text: String,
    ids_legacy: Vec<u32>,
    ids_nonlegacy: Vec<u32>,
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs_err::read_to_string(path).expect("the golden file can be read");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a golden line has the expected keys"))
        .collect()
}

/// Reads golden lines and LLaMA's tokenizer; `None` if either is missing.
fn golden<T: DeserializeOwned>(file: &str) -> Option<(Vec<T>, Tokenizer)> {
    let lines = read_lines(&shared(&format!("golden/tokenization/{file}"))?);
    let tokenizer = Tokenizer::from_file(&shared("data/llama-tokenizer/tokenizer.model")?)
        .expect("LLaMA's tokenizer");
    Some((lines, tokenizer))
}

fn conversations() -> Vec<(String, Conversation)> {
    let path = shared("golden/tokenization/train.jsonl").expect("checked by the caller");
    read_lines::<Trained>(&path)
        .into_iter()
        .map(|line| (line.id, Conversation { messages: line.conversation }))
        .collect()
}

fn find<'a>(conversations: &'a [(String, Conversation)], id: &str) -> &'a Conversation {
    &conversations.iter().find(|(known, _)| known == id).expect("a golden id").1
}

fn official() -> Template {
    Template::load("official").expect("a built-in template")
}

#[test]
fn training_equals_the_official_code() {
    let Some((lines, tokenizer)) = golden::<Trained>("train.jsonl") else { return };
    assert_eq!(lines.len(), 67);
    for line in lines {
        let conversation = Conversation { messages: line.conversation };
        let full = encode(&conversation, &official(), &tokenizer)
            .expect("official takes anything that alternates");
        assert_eq!(full.ids.len(), line.full_length, "{}", line.id);
        let tokens = cut(full, MAX_SEQ_LEN);
        assert_eq!(tokens.ids, line.ids, "{}", line.id);
        assert_eq!(tokens.labels(), line.labels, "{}", line.id);
        assert_eq!(tokens.exchanges.last(), Some(&tokens.ids.len()), "{}", line.id);
    }
}

#[test]
fn nonlegacy_training_differs_only_where_recorded() {
    let Some((differences, tokenizer)) = golden::<Variant>("train_nonlegacy_differences.jsonl")
    else {
        return;
    };
    let tokenizer = tokenizer.with_space_prefix(SpacePrefix::StartOnly);
    let path = shared("golden/tokenization/train.jsonl").expect("beside the other file");
    for line in read_lines::<Trained>(&path) {
        let conversation = Conversation { messages: line.conversation };
        let tokens =
            cut(encode(&conversation, &official(), &tokenizer).expect("well-formed"), MAX_SEQ_LEN);
        let (ids, labels) = differences
            .iter()
            .find(|difference| difference.id == line.id)
            .map_or((&line.ids, &line.labels), |difference| (&difference.ids, &difference.labels));
        assert_eq!(tokens.ids, *ids, "{}", line.id);
        assert_eq!(tokens.labels(), *labels, "{}", line.id);
    }
}

#[test]
fn shuffled_queries_equal_the_official_order() {
    let Some((lines, tokenizer)) = golden::<Variant>("shuffled.jsonl") else { return };
    let conversations = conversations();
    assert_eq!(lines.len(), 6);
    for line in &lines {
        let tokens =
            encode(find(&conversations, &line.id), &official(), &tokenizer).expect("well-formed");
        let order: Vec<usize> = line.order[1..].iter().map(|pair| pair - 1).collect();
        let tokens = cut(permute_queries(&tokens, &order), MAX_SEQ_LEN);
        assert_eq!(tokens.ids, line.ids, "{}", line.id);
        assert_eq!(tokens.labels(), line.labels, "{}", line.id);
    }
}

#[test]
fn prompts_equal_the_official_code() {
    let Some((lines, tokenizer)) = golden::<Prompt>("inference.jsonl") else { return };
    let nonlegacy = golden::<Prompt>("inference.jsonl")
        .expect("just read")
        .1
        .with_space_prefix(SpacePrefix::StartOnly);
    let conversations = conversations();
    assert_eq!(lines.len(), 119);
    for line in &lines {
        let conversation = single_query(find(&conversations, &line.id), line.query);
        let segments = render_prompt(&conversation, &official()).expect("well-formed");
        assert_eq!(
            segments.iter().map(|segment| &*segment.text).collect::<String>(),
            line.text,
            "{}",
            line.id
        );
        let ids =
            |tokenizer| encode_prompt(&conversation, &official(), tokenizer).expect("well-formed");
        assert_eq!(ids(&tokenizer), line.ids_legacy, "{} query {}", line.id, line.query);
        assert_eq!(ids(&nonlegacy), line.ids_nonlegacy, "{} query {}", line.id, line.query);
    }
}

/// Returns the passage pair and the question of pair `query`.
fn single_query(conversation: &Conversation, query: usize) -> Conversation {
    let start = usize::from(conversation.messages[0].role == uner_prompt::Role::Assistant);
    let messages = &conversation.messages[start..];
    Conversation { messages: [&messages[..2], &messages[2 * query..=2 * query]].concat() }
}

#[test]
fn whole_strings_equal_the_official_code() {
    let Some((lines, tokenizer)) = golden::<Whole>("whole.jsonl") else { return };
    let nonlegacy = golden::<Whole>("whole.jsonl")
        .expect("just read")
        .1
        .with_space_prefix(SpacePrefix::StartOnly);
    let conversations = conversations();
    assert_eq!(lines.len(), 67);
    for line in &lines {
        let text = render_string(find(&conversations, &line.id), &official()).expect("well-formed");
        assert_eq!(text.as_ref(), Some(&line.text), "{}", line.id);
        let ids = |tokenizer: &Tokenizer| {
            let ids = tokenizer.encode_with_special_tokens(&line.text).expect("any text encodes");
            [vec![tokenizer.bos()], ids].concat()
        };
        assert_eq!(ids(&tokenizer), line.ids_legacy, "{}", line.id);
        assert_eq!(ids(&nonlegacy), line.ids_nonlegacy, "{}", line.id);
    }
}

/// Trains a tokenizer, so that the tests below need no file.
fn small_tokenizer() -> Tokenizer {
    let text = "A virtual assistant answers questions from a user based on the provided text. USER: Text: Tim Cook runs \
                Apple in 1976. ASSISTANT: I've read this text. USER: What describes person in the text? [\"Tim Cook\"]";
    Tokenizer::train(std::iter::repeat_n(text, 20), 400).expect("room for the characters")
}

fn tim_cook() -> Conversation {
    Conversation {
        messages: vec![
            Message::user("Text: Tim Cook runs Apple."),
            Message::assistant("I've read this text."),
            Message::user("What describes person in the text?"),
            Message::assistant(r#"["Tim Cook"]"#),
            Message::user("What describes date in the text?"),
            Message::assistant("[]"),
        ],
    }
}

/// Prints segments in a line: `|` between them, `[` `]` around trained ones, `⏎` for
/// end-of-sequence.
fn bracketed(template: &Template) -> String {
    let segments = render(&tim_cook(), template).expect("well-formed");
    let pieces: Vec<String> = segments
        .iter()
        .map(|segment| {
            let text = format!("{}{}", segment.text, if segment.end_of_turn { "⏎" } else { "" });
            if segment.trained { format!("⟦{text}⟧") } else { text }
        })
        .collect();
    pieces.join("|")
}

#[test]
fn rendered_zero_shot() {
    assert_eq!(
        bracketed(&Template::load("zero-shot").expect("built in")),
        "A virtual assistant answers questions from a user based on the provided text. USER: Text: Tim Cook runs Apple.\
         | ASSISTANT:| I've read this text.⏎\
         |USER: What describes person in the text?| ASSISTANT:|⟦ [\"Tim Cook\"]⏎⟧\
         |USER: What describes date in the text?| ASSISTANT:|⟦ []⏎⟧"
    );
}

#[test]
fn rendered_official() {
    assert_eq!(
        bracketed(&official()),
        "A virtual assistant answers questions from a user based on the provided paragraph. USER: Text: Tim Cook runs Apple.\
         |ASSISTANT: |⟦I've read this text.⏎⟧\
         |USER: What describes person in the text?|ASSISTANT: |⟦[\"Tim Cook\"]⏎⟧\
         |USER: What describes date in the text?|ASSISTANT: |⟦[]⏎⟧"
    );
}

/// Training and inference cannot differ: for every sane template, a training conversation is the
/// prompt of its last question and the answer, token by token. Only answers are trained.
#[test]
fn training_is_prompt_then_answer() {
    let tokenizer = small_tokenizer();
    for name in Template::names().filter(|name| *name != "official") {
        let template = Template::load(name).expect("built in");
        // tests/it/templates.rs tests chat templates.
        if template.chat_template.is_some() {
            continue;
        }
        let conversation = tim_cook();
        let tokens = encode(&conversation, &template, &tokenizer).expect("well-formed");
        let prompt = encode_prompt(&conversation, &template, &tokenizer).expect("well-formed");
        let answer = tokenizer.encode_continuation(" []").expect("encodes");
        assert_eq!(tokens.ids, [prompt.clone(), answer, vec![tokenizer.eos()]].concat(), "{name}");
        assert!(tokens.loss_mask[prompt.len()..].iter().all(|trained| *trained), "{name}");
        assert!(!tokens.loss_mask[prompt.len() - 1], "{name}");
        let texts: Vec<&str> = conversation.messages.iter().map(|message| &*message.text).collect();
        assert!(trained_text(&tokens, &tokenizer).ends_with(&format!("{}[]", texts[3])), "{name}");
    }
}

fn trained_text(tokens: &Tokens, tokenizer: &Tokenizer) -> String {
    let pieces = tokens.ids.iter().zip(&tokens.loss_mask).collect::<Vec<_>>();
    pieces
        .chunk_by(|a, b| a.1 == b.1)
        .filter(|chunk| *chunk[0].1)
        .map(|chunk| {
            tokenizer
                .decode(&chunk.iter().map(|(id, _)| **id).collect::<Vec<_>>())
                .expect("known ids")
        })
        .collect()
}

#[test]
fn special_tokens_in_a_message_are_text() {
    let tokenizer = small_tokenizer();
    let conversation = Conversation {
        messages: vec![
            Message::user("Text: a</s><s>b<unk>"),
            Message::assistant("I've read this text."),
        ],
    };
    let count = |template: &str, id: u32| {
        let template = Template::load(template).expect("built in");
        let ids = encode(&conversation, &template, &tokenizer).expect("well-formed").ids;
        ids.iter().filter(|known| **known == id).count()
    };
    assert_eq!((count("zero-shot", tokenizer.bos()), count("zero-shot", tokenizer.eos())), (1, 1));
    assert_eq!((count("official", tokenizer.bos()), count("official", tokenizer.eos())), (2, 2));
}

#[test]
fn whole_queries_are_dropped_and_counted() {
    let (template, tokenizer) = (Template::load("zero-shot").expect("built in"), small_tokenizer());
    let tokens = encode(&tim_cook(), &template, &tokenizer).expect("well-formed");
    let ends = tokens.exchanges.clone();
    assert_eq!(ends.len(), 3);
    let exact = fit(tokens.clone(), ends[2]).expect("it fits");
    assert_eq!((exact.tokens.clone(), exact.dropped_queries), (tokens.clone(), 0));
    let shorter = fit(tokens.clone(), ends[2] - 1).expect("one query fits");
    assert_eq!((shorter.tokens.ids.len(), shorter.dropped_queries), (ends[1], 1));
    assert_eq!(shorter.tokens.loss_mask.len(), ends[1]);
    assert_eq!(shorter.tokens.exchanges, ends[..2]);
    let error = fit(tokens.clone(), ends[1] - 1).expect_err("no query fits");
    let expected = (ends[1], ends[0], ends[1] - 1);
    assert!(
        matches!(error, PromptError::TooLong { needed, passage, max_seq_len } if (needed, passage, max_seq_len) == expected)
    );
    let official = cut(tokens, ends[1] - 1);
    assert_eq!((official.ids.len(), official.exchanges), (ends[1] - 1, vec![ends[0], ends[1] - 1]));
}

#[test]
fn reordering_encoded_queries_is_encoding_reordered_queries() {
    let (template, tokenizer) = (Template::load("zero-shot").expect("built in"), small_tokenizer());
    let conversation = tim_cook();
    let [p, a, q1, a1, q2, a2] = conversation.messages.clone().try_into().expect("six messages");
    let reordered = Conversation { messages: vec![p, a, q2, a2, q1, a1] };
    let tokens = encode(&conversation, &template, &tokenizer).expect("well-formed");
    let expected = encode(&reordered, &template, &tokenizer).expect("well-formed");
    assert_eq!(permute_queries(&tokens, &[1, 0]), expected);
    assert_eq!(permute_queries(&tokens, &[0, 1]), tokens);
}

#[test]
fn malformed_conversations_are_refused() {
    let (template, tokenizer) = (Template::load("zero-shot").expect("built in"), small_tokenizer());
    let (user, assistant) = (|| Message::user("a"), || Message::assistant("b"));
    let message = |messages: Vec<Message>| {
        encode(&Conversation { messages }, &template, &tokenizer).expect_err("refused").to_string()
    };
    assert_eq!(message(vec![]), "the conversation has no messages");
    assert!(
        message(vec![assistant(), user(), assistant()])
            .starts_with("the conversation starts with the assistant (`gpt`)")
    );
    assert!(
        message(vec![user(), assistant(), user()]).starts_with("the conversation has `3` turns")
    );
    assert!(
        message(vec![user(), assistant(), assistant(), user()])
            .starts_with("turn `3` of the conversation is the assistant's")
    );
}

//! Our own fixtures of the official preprocessing: ids, labels, official truncation and inference
//! prompts. They use a byte-level tokenizer, so a clone without other files checks them.

use serde::Deserialize;
use uner_prompt::{Conversation, Template, Tokenizer, cut, encode, encode_prompt, render};

use crate::shared::repository;

#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    conversation: Conversation,
    max_seq_len: usize,
    full_length: usize,
    segments: Vec<Piece>,
    ids: Vec<u32>,
    labels: Vec<i64>,
    inference_prompt: String,
    inference_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Piece {
    text: String,
    trained: bool,
}

#[test]
fn ids_labels_and_prompts_equal_the_official_rules() {
    let folder = repository().join("tests/fixtures/llama/masks");
    let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json")).unwrap();
    let template = Template::load("official").unwrap();
    let text = fs_err::read_to_string(folder.join("conversations.jsonl")).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line.full_length > line.max_seq_len), "no line is truncated");
    for line in lines {
        let segments = render(&line.conversation, &template).unwrap();
        let pieces: Vec<(String, bool)> = segments
            .into_iter()
            .map(|segment| {
                (segment.text + if segment.end_of_turn { "</s>" } else { "" }, segment.trained)
            })
            .collect();
        let expected: Vec<(String, bool)> =
            line.segments.into_iter().map(|piece| (piece.text, piece.trained)).collect();
        assert_eq!(pieces, expected);

        let tokens = encode(&line.conversation, &template, &tokenizer).unwrap();
        assert_eq!(tokens.ids.len(), line.full_length);
        let tokens = cut(tokens, line.max_seq_len);
        assert_eq!(tokens.ids, line.ids);
        assert_eq!(tokens.labels(), line.labels);

        let prompt = encode_prompt(&line.conversation, &template, &tokenizer).unwrap();
        assert_eq!(prompt, line.inference_ids, "{}", line.inference_prompt);
    }
}

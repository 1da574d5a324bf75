//! Generation gives the same tokens with and without a cache, alone and in a batch. A stop token
//! ends its row only.

use std::ops::ControlFlow;

use burn::tensor::Device;
use uner_infer::{
    Chat, ChatOptions, Completion, Generator, InferConfig, InferError, Predictor, Query,
};
use uner_kernels::Visibility;
use uner_model::weights::random;
use uner_model::{Context, LlamaConfig};
use uner_prompt::{Conversation, Message, Template, Tokenizer};

use crate::model::{small_config, small_model};

fn prompts() -> Vec<Vec<u32>> {
    [1, 4, 9, 30, 2]
        .iter()
        .map(|&length| (0..length).map(|place| 3 + (place * 17 + length) % 58).collect())
        .collect()
}

#[test]
fn cached_equals_uncached() {
    let (config, model, device) = (small_config(), small_model(8), Device::flex());
    let generator = Generator { model: &model, config: &config };
    for prompt in prompts() {
        let got = generator.greedy(std::slice::from_ref(&prompt), 20, |_| false).unwrap().remove(0);
        let mut ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
        for (place, &token) in got.iter().enumerate() {
            let positions: Vec<i32> = (0..ids.len() as i32).collect();
            let context = Context::new(
                &config,
                &positions,
                1,
                Visibility::causal(1, ids.len(), &device),
                &device,
            );
            let hidden = model.hidden(&ids, &context, None).narrow(0, ids.len() - 1, 1);
            let logits: Vec<f32> = model.logits(hidden).try_into_vec_as().unwrap();
            let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
            assert_eq!(token as usize, best, "token {place} after a prompt of {}", prompt.len());
            ids.push(token as i32);
        }
    }
}

#[test]
fn alone_equals_in_a_batch() {
    let (config, model) = (small_config(), small_model(9));
    let generator = Generator { model: &model, config: &config };
    let together = generator.greedy(&prompts(), 25, |_| false).unwrap();
    for (prompt, answer) in prompts().into_iter().zip(together) {
        assert_eq!(
            generator.greedy(std::slice::from_ref(&prompt), 25, |_| false).unwrap()[0],
            answer
        );
    }
}

#[test]
fn a_stop_token_ends_its_row_only() {
    let (config, model) = (small_config(), small_model(10));
    let generator = Generator { model: &model, config: &config };
    let free = generator.greedy(&prompts(), 25, |_| false).unwrap();
    let stop = free[2][3];
    for (got, free) in generator.greedy(&prompts(), 25, |id| id == stop).unwrap().iter().zip(&free)
    {
        let expected: Vec<u32> = free.iter().copied().take_while(|&token| token != stop).collect();
        assert_eq!(got, &expected);
    }
}

/// The weights are so large that the logits overflow.
#[test]
fn logits_that_are_no_numbers_name_what_was_asked() {
    let words = ["What describes person in the text?", "Ada met Bo in Rome."];
    let tokenizer = Tokenizer::train(words.iter().cycle().take(40), 320).unwrap();
    let vocab_size = tokenizer.vocab_size();
    let config = LlamaConfig { vocab_size, initializer_range: 3e38, ..small_config() };
    let model = random(&config, 1, &Device::flex());
    let template = Template::load("zero-shot").unwrap();
    let generator = Generator { model: &model, config: &config };
    let infer = InferConfig { max_new_tokens: 2, queries_per_batch: 8, ..InferConfig::default() };
    let predictor = Predictor::new(generator, &tokenizer, &template, infer).unwrap();
    let query = |text, entity_type| Query { text, entity_type, dataset: None };
    let queries =
        [query("Ada met Bo in Rome, and then went home.", "city"), query("Ada met Bo.", "person")];
    let error = predictor.answer(&queries, |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.contains("logits are infinite or not numbers (NaN)"), "{error}");
    assert!(
        error.ends_with(
            "asked for `city` in the text that starts with `Ada met Bo in Rome, and then went home.`"
        ),
        "{error}"
    );
}

/// Chats are continued as by the generator, in the words of the template, and one that is too long
/// ends no other.
#[test]
fn chats_are_continued_freely() {
    let words = ["What describes person in the text?", "Ada met Bo in Rome."];
    let tokenizer = Tokenizer::train(words.iter().cycle().take(40), 320).unwrap();
    let config = LlamaConfig { vocab_size: tokenizer.vocab_size(), ..small_config() };
    let model = random(&config, 1, &Device::flex());
    let template = Template::load("zero-shot").unwrap();
    let generator = Generator { model: &model, config: &config };
    let infer = InferConfig { max_new_tokens: 8, queries_per_batch: 8, ..InferConfig::default() };
    let predictor = Predictor::new(generator, &tokenizer, &template, infer).unwrap();
    let chat = |system: &str, text: &str| Chat {
        system: system.to_owned(),
        conversation: Conversation { messages: vec![Message::user(text)] },
        options: ChatOptions::default(),
    };
    let long = words[1].repeat(config.max_position_embeddings);
    let chats = [chat("Ada.", words[0]), chat("Bo.", &long), chat("", words[1])];
    let mut found = vec![None; chats.len()];
    let mut problems = Vec::new();
    let each = |index, outcome: Result<Completion, InferError>| {
        match outcome {
            Ok(completion) => found[index] = Some(completion),
            Err(error) => problems.push((index, error.to_string())),
        }
        ControlFlow::Continue(())
    };
    predictor.complete(chats, each).unwrap();
    assert_eq!((problems.len(), problems[0].0), (1, 1));
    assert!(problems[0].1.contains("a chat") && problems[0].1.contains("split"), "{problems:?}");
    for (index, prompt) in [
        (0, "Ada. USER: What describes person in the text? ASSISTANT:"),
        (2, "USER: Ada met Bo in Rome. ASSISTANT:"),
    ] {
        let found = found[index].as_ref().unwrap();
        let mut ids = vec![tokenizer.bos()];
        ids.extend(tokenizer.encode_segment(prompt).unwrap());
        assert_eq!(found.prompt_tokens, ids.len(), "{prompt}");
        let expected = generator.greedy(&[ids], 8, |id| id == tokenizer.eos()).unwrap();
        let text = tokenizer.decode(&expected[0]).unwrap();
        assert_eq!(found.text, text.strip_prefix(' ').unwrap_or(&text));
        assert_eq!(found.tokens, expected[0].len());
    }
    let stopped = predictor.complete([chat("", "x")], |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(InferError::Stopped)), "{stopped:?}");
}

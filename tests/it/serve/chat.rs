//! `/v1/chat/completions`.

use serde_json::{Value, json};
use uner_infer::{Chat, ChatOptions};
use uner_prompt::{Conversation, Message};

use super::{Server, config, predictor, served};

fn request(more: &Value) -> Value {
    let mut request = json!({"model": "small", "messages": [
        {"role": "system", "content": "Ada."}, {"role": "user", "content": "Bo met Ada."}]});
    let more = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
    request
}

fn complete(server: &Server, more: &Value) -> Value {
    let response = server.post("/v1/chat/completions", &request(more).to_string());
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// The data of the events of a stream, without the last, `[DONE]`.
fn events(server: &Server, more: &Value) -> Vec<Value> {
    let mut request = request(more);
    request["stream"] = json!(true);
    let response = server.post("/v1/chat/completions", &request.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let mut data: Vec<&str> =
        response.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{response:?}");
    data.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

fn content(events: &[Value]) -> String {
    let pieces = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    pieces.collect()
}

/// The turn is the predictor's, whole or piece by piece.
#[test]
fn turns_are_those_of_the_predictor() {
    let server = Server::start(config());
    let expected = {
        let mut found = None;
        let conversation = Conversation { messages: vec![Message::user("Bo met Ada.")] };
        let options = ChatOptions { max_new_tokens: Some(12), ..ChatOptions::default() };
        let chat = Chat { system: "Ada.".to_owned(), conversation, options };
        predictor(1, 16)
            .complete([chat], |_, outcome| {
                found = Some(outcome.unwrap());
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        found.unwrap()
    };
    let whole = complete(&server, &json!({"max_tokens": 12}));
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["choices"][0]["message"]["content"], json!(expected.text));
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let (prompt, tokens) = (expected.prompt_tokens, expected.tokens);
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": tokens,
                       "total_tokens": prompt + tokens});
    assert_eq!(whole["usage"], usage);
    let more = json!({"max_completion_tokens": 12, "stream_options": {"include_usage": true}});
    let events = events(&server, &more);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(content(&events), expected.text);
    let [.., last, with_usage] = &events[..] else { panic!("{events:?}") };
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert_eq!((&with_usage["usage"], &with_usage["choices"]), (&usage, &json!([])));
    assert!(events.len() >= 5, "in pieces: {}", events.len());
}

#[test]
fn a_stop_ends_the_text_before_it() {
    let server = Server::start(config());
    let free = complete(&server, &json!({"max_tokens": 40}));
    let free = free["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let characters: Vec<char> = free.chars().collect();
    let stop: String = characters[characters.len() / 2..][..2].iter().collect();
    let expected = &free[..free.find(&stop).unwrap()];
    let more = json!({"max_tokens": 40, "stop": [stop, "never seen"]});
    let stopped = complete(&server, &more);
    assert_eq!(stopped["choices"][0]["message"]["content"], json!(expected));
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(content(&events(&server, &more)), expected);
}

/// A seed gives the same text alone and beside others.
#[test]
fn draws_depend_on_the_seed_only() {
    let server = Server::start(config());
    let draw = |seed: u64| {
        let more = json!({"temperature": 1.5, "seed": seed, "max_tokens": 12});
        complete(&server, &more)["choices"][0]["message"]["content"].clone()
    };
    let alone: Vec<Value> = (0..4).map(draw).collect();
    assert!(alone.iter().any(|text| *text != alone[0]), "{alone:?}");
    let again: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || draw(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, again);
}

#[test]
fn a_chat_that_does_not_fit_is_refused_before_a_stream_begins() {
    let server = Server::with(config(), vec![served("small", predictor(1, 16))]);
    for stream in [false, true] {
        let long = json!({"stream": stream,
                          "messages": [{"role": "user", "content": "Ada met Bo. ".repeat(200)}]});
        let response = server.post("/v1/chat/completions", &long.to_string());
        assert_eq!(response.status, 400, "{response:?}");
        let error = &response.json()["error"];
        assert_eq!(error["param"], "messages");
        assert!(error["message"].as_str().unwrap().contains("a chat"), "{error}");
    }
}

//! Requests, and the answers that come of them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::json;
use uner_data::{Example, Span};
use uner_endpoint::{Endpoint, EndpointError};
use uner_eval::system::Questions;
use uner_eval::systems::endpoint::Ask;
use uner_eval::{Answer, EvalError, System};
use uner_prompt::Template;

use crate::server::{Reply, Server};
use crate::{answers, ask, asked, benchmark, endpoint, example, measured, right, scored};
use crate::{system, zero_shot};

/// The mentions with their spans.
fn found(answer: &Answer) -> Vec<(&str, Option<(usize, usize)>)> {
    let span = |span: Span| (span.start, span.end);
    let entities = answer.entities.iter().map(|found| &found.entity);
    entities.map(|entity| (&*entity.text, entity.span.map(span))).collect()
}

#[test]
fn answers_have_the_order_of_the_queries_whenever_they_come() {
    // The first requests take longest.
    let server = Server::start(|number, seen| {
        let (passage, question) = asked(seen);
        let mention = format!("[\"{passage}\"]");
        let answer = if question.contains("city") { "[]" } else { &mention };
        Reply::completion(answer).after(300_u64.saturating_sub(100 * number as u64))
    });
    let examples = ["zero", "one", "two", "three"].map(example);
    let mut system = system(Endpoint { concurrency: 4, ..endpoint(&server.url()) }, zero_shot());
    let mut counts = Vec::new();
    let questions = Questions { dataset: "made-up", examples: &examples };
    let answers = system.answer(questions, &mut |count| {
        counts.push(count);
        ControlFlow::Continue(())
    });
    for (answers, example) in answers.unwrap().iter().zip(&examples) {
        let [person, city] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((&*person.entity_type, &*city.entity_type), ("person", "city"));
        assert_eq!(found(person), [(&*example.text, Some((0, example.text.len())))]);
        assert_eq!((found(city), &*city.raw, city.malformed), (vec![], "[]", false));
    }
    assert_eq!(server.seen().len(), 8);
    assert!(counts.is_sorted() && counts.ends_with(&[8]), "{counts:?}");
    assert_eq!(system.name(), "endpoint:m (zero-shot)");
}

#[test]
fn free_answers_are_read_and_what_is_not_in_the_text_is_kept() {
    for (raw, list, malformed) in [
        ("[\"Ada\", \"Eve\"]", None, false),
        ("Sure!\n```json\n[\"Ada\",\"Eve\"]\n```", Some("[\"Ada\", \"Eve\"]"), true),
        ("<think>[\"Bob\"]?</think>\n[\"Ada\", \"Eve\"]", Some("[\"Ada\", \"Eve\"]"), false),
    ] {
        let server = Server::start(move |_, _| Reply::completion(raw));
        let mut system = system(endpoint(&server.url()), zero_shot());
        let answers = answers(&mut system, &[example("Ada saw Rome.")]);
        let person = &answers[0][0];
        assert_eq!(found(person), [("Ada", Some((0, 3))), ("Eve", None)], "{raw}");
        assert_eq!((&*person.raw, person.list.as_deref()), (raw, list));
        assert_eq!(person.malformed, malformed, "{raw}");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_malformed() {
    let cut = json!({"choices": [{"message": {"content": "person: Ada | city: Ro"},
                                  "finish_reason": "length"}]});
    let server = Server::start(move |_, _| Reply::new(200, &cut));
    let mut system = system(endpoint(&server.url()), Ask::AllTypes);
    let answers = answers(&mut system, &[example("Ada saw Rome.")]);
    assert!(answers[0].iter().all(|answer| answer.malformed));
    assert_eq!(found(&answers[0][0]), [("Ada", Some((0, 3)))]);
}

#[test]
fn one_request_for_all_types_is_split_over_them() {
    let server = Server::start(|_, seen| {
        Reply::completion(match seen.text() {
            text if text.contains("Text: Ada") => "Person: Ada, Bob, Ada, Eve | City: None",
            text if text.contains("Text: Rome") => "I found:\nCity: Rome",
            _ => "I cannot help.",
        })
    });
    let examples = ["Ada met Bob. Ada left.", "Rome, at night", "?"].map(example);
    let mut system = system(endpoint(&server.url()), Ask::AllTypes);
    let answers = answers(&mut system, &examples);
    assert_eq!(server.seen().len(), 3);
    let [person, city] = &answers[0][..] else { panic!("{answers:?}") };
    let spans = [Some((0, 3)), Some((8, 11)), Some((13, 16)), None];
    assert_eq!(
        found(person),
        ["Ada", "Bob", "Ada", "Eve"].into_iter().zip(spans).collect::<Vec<_>>()
    );
    assert_eq!(person.list(), "[\"Ada\", \"Bob\", \"Ada\", \"Eve\"]");
    assert_eq!((city.list(), &*city.raw), ("[]", "Person: Ada, Bob, Ada, Eve | City: None"));
    assert!(!person.malformed && !city.malformed);
    let [person, city] = &answers[1][..] else { panic!("{answers:?}") };
    assert!(person.entities.is_empty() && person.malformed && city.malformed);
    assert_eq!(found(city), [("Rome", Some((0, 4)))]);
    assert!(answers[2].iter().all(|answer| answer.malformed && answer.list() == "[]"));
    assert!(answers.iter().flatten().all(|answer| answer.problem.is_none()));
    assert_eq!(system.name(), "endpoint:m (all-types)");
}

#[test]
fn a_template_for_all_types_has_one_request_too() {
    let server = Server::start(|_, seen| {
        assert!(seen.text().contains("person, city"), "{}", seen.text());
        Reply::completion("[[\"Ada\", \"person\"], [\"Rome\", \"city\"]]")
    });
    let template = Template::load("all-in-one").unwrap();
    let mut system = system(endpoint(&server.url()), Ask::Template(Box::new(template)));
    let answers = answers(&mut system, &[example("Ada saw Rome.")]);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(found(&answers[0][0]), [("Ada", Some((0, 3)))]);
    assert_eq!(found(&answers[0][1]), [("Rome", Some((8, 12)))]);
    assert_eq!(answers[0][1].list(), "[\"Rome\"]");
}

#[test]
fn a_request_that_fails_leaves_its_queries_unanswered_and_others_go_on() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(|_, seen| match asked(seen) {
        (passage, question) if passage.contains("001") && question.contains("person") => {
            Reply::new(400, json!({"error": {"message": "content policy"}}))
        }
        _ => right(seen),
    });
    let benchmark = benchmark(root.path(), 4);
    let report = measured(root.path(), endpoint(&server.url()), zero_shot(), &benchmark).unwrap();
    let strict = scored(&report).scores.semeval.strict;
    // 10 of 12 entities: the persons of one example are missing.
    assert_eq!((strict.precision, strict.recall), (1.0, 10.0 / 12.0));
    let lines = root.path().join("evaluation/predictions/made-up-test.jsonl");
    let lines = fs_err::read_to_string(lines).unwrap();
    let problem = "the endpoint refused the request with status `400`: content policy";
    assert_eq!(lines.matches(problem).count(), 1, "{lines}");
}

#[test]
fn a_demanded_pause_is_kept() {
    let server = Server::start(|number, seen| match number {
        0 => Reply::new(429, "slow down").header("Retry-After", 1),
        _ => right(seen),
    });
    let mut system = system(Endpoint { concurrency: 1, ..endpoint(&server.url()) }, zero_shot());
    let start = Instant::now();
    let answers = answers(&mut system, &[example("Ada met Bob in Rome.")]);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(found(&answers[0][0]), [("Ada", Some((0, 3))), ("Bob", Some((8, 11)))]);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_rate_is_kept_from_one_part_to_the_next() {
    let server = Server::start(|_, seen| right(seen));
    let limited = Endpoint { requests_per_minute: Some(120), ..endpoint(&server.url()) };
    let mut system = system(limited, zero_shot());
    for text in ["Ada met Bob in Rome.", "Ada met Bob in Rome, too."] {
        answers(&mut system, &[example(text)]);
    }
    let seen = server.seen();
    // Two at once, then two a second.
    let duration = seen[3].time - seen[0].time;
    assert!(duration > Duration::from_millis(900), "{duration:?}");
}

#[test]
fn an_endpoint_that_is_not_there_ends_the_evaluation() {
    // Nothing listens at this port.
    let nowhere = Endpoint { max_retries: 0, ..endpoint("http://127.0.0.1:9/v1") };
    for examples in [1, 50] {
        let examples = (0..examples).map(|number| example(&format!("Ada saw Rome {number}.")));
        let examples: Vec<Example> = examples.collect();
        let error = ask(&mut system(nowhere.clone(), zero_shot()), &examples).unwrap_err();
        let EvalError::System(error) = error else { panic!("{error}") };
        let error = error.downcast::<EndpointError>().unwrap();
        assert!(matches!(*error, EndpointError::Unreachable { .. }), "{error}");
    }
}

#[test]
fn a_cancelled_evaluation_stops_while_it_waits() {
    let server = Server::start(|_, _| Reply::new(429, "").header("Retry-After", 300));
    let start = Instant::now();
    let mut system = system(endpoint(&server.url()), zero_shot());
    let examples = [example("Ada saw Rome.")];
    let questions = Questions { dataset: "made-up", examples: &examples };
    let error = system.answer(questions, &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, EvalError::Stopped), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));
}

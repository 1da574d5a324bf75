//! `/v1/ner` and the routes around it.

use serde_json::{Value, json};
use uner_serve::{ApiKeys, Config};

use super::{Server, TEXT, config, predictor, served};

fn entities(server: &Server, request: &Value) -> Value {
    let response = server.post("/v1/ner", &request.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.json()
}

/// The server finds what the predictor finds, with offsets in characters and bytes.
#[test]
fn answers_are_those_of_the_predictor() {
    let server = Server::start(config());
    let found = entities(&server, &json!({"text": TEXT, "types": ["person", "city"]}));
    let expected = predictor(1, 16).predict(TEXT, &["person", "city"]).unwrap();
    let results = found["results"].as_array().unwrap();
    assert_eq!((found["model"].as_str(), results.len()), (Some("small"), 1));
    let entities = results[0]["entities"].as_array().unwrap();
    assert!(!entities.is_empty(), "a random model names something: {found}");
    assert_eq!(entities.len(), expected.len());
    let characters: Vec<char> = TEXT.chars().collect();
    for (entity, expected) in entities.iter().zip(&expected) {
        let at = |key: &str| entity[key].as_u64().unwrap() as usize;
        let mention = entity["text"].as_str().unwrap();
        assert_eq!(characters[at("start")..at("end")].iter().collect::<String>(), mention);
        assert_eq!(&TEXT[at("start_byte")..at("end_byte")], mention);
        assert_eq!(entity["type"].as_str(), Some(&*expected.entity_type));
        assert_eq!((at("start"), mention), (expected.span.start, &*expected.text));
        let probability = entity["probability"].as_f64().unwrap();
        assert!((probability - expected.probability.unwrap()).abs() <= 5e-5 + 1e-9);
    }
}

#[test]
fn many_texts_keep_their_order() {
    let server = Server::start(config());
    let texts: Vec<String> = (0..20).map(|index| format!("Ada met Bo{index} in Rome.")).collect();
    let many = entities(&server, &json!({"text": texts, "types": ["person"]}));
    let results = many["results"].as_array().unwrap();
    for (text, result) in texts.iter().zip(results) {
        let alone = entities(&server, &json!({"text": text, "types": ["person"]}));
        assert_eq!(alone["results"][0], *result, "{text}");
    }
    let none = entities(&server, &json!({"text": [], "types": ["person"]}));
    assert_eq!(none["results"], json!([]));
    let empty = entities(&server, &json!({"text": ["", " \n"], "types": ["person"]}));
    assert_eq!(empty["results"], json!([{"entities": []}, {"entities": []}]));
}

#[test]
fn a_definition_is_asked_and_the_name_is_returned() {
    let server = Server::start(config());
    let defined = json!({"text": TEXT, "types": [
        {"name": "person", "definition": "someone who met Bo"}, {"name": "city"}]});
    let found = entities(&server, &defined);
    let types = ["person (someone who met Bo)", "city"];
    let expected = predictor(1, 16).predict(TEXT, &types).unwrap();
    let names: Vec<&str> = expected
        .iter()
        .map(|found| if found.entity_type == types[0] { "person" } else { "city" })
        .collect();
    let entities = found["results"][0]["entities"].as_array().unwrap();
    let got: Vec<&str> = entities.iter().map(|found| found["type"].as_str().unwrap()).collect();
    assert_eq!(got, names);
}

#[test]
fn the_threshold_leaves_out_less_probable_entities() {
    let server = Server::start(config());
    let with = |threshold: f64| {
        let request = json!({"text": TEXT, "types": ["person", "city"], "threshold": threshold});
        let found = entities(&server, &request);
        found["results"][0]["entities"].as_array().unwrap().clone()
    };
    let probabilities: Vec<f64> =
        with(0.0).iter().map(|found| found["probability"].as_f64().unwrap()).collect();
    let middle = probabilities.iter().sum::<f64>() / probabilities.len() as f64;
    let left = probabilities.iter().filter(|&&p| p >= middle).count();
    assert_eq!(with(middle).len(), left);
}

/// Each problem names the part of the request, its value, and what to do.
#[test]
fn wrong_requests_are_refused() {
    let server = Server::start(config());
    for (request, status, param, message) in [
        (json!({"text": "a"}), 400, Value::Null, "missing field `types`"),
        (json!({"text": "a", "types": []}), 400, json!("types"), "such as `person`"),
        (json!({"text": "a", "types": ["x", " "]}), 400, json!("types[1]"), "is empty"),
        (json!({"text": 3, "types": ["x"]}), 400, json!("text"), "a string or a list of strings"),
        (json!({"text": "a", "types": [3]}), 400, json!("types[0]"), "an object with `name`"),
        (
            json!({"text": "a", "types": ["x"], "confidence": 1}),
            400,
            json!("confidence"),
            "unknown field",
        ),
        (json!({"text": "a", "types": ["x"], "threshold": 2}), 400, json!("threshold"), "is 2"),
        (json!({"text": "a", "types": ["x"], "model": "large"}), 404, json!("model"), "`small`"),
        (json!({"text": "a", "types": vec!["x"; 101]}), 400, json!("types"), "101 types"),
        (json!({"text": vec!["a"; 257], "types": ["x"]}), 400, json!("text"), "257 texts"),
        (
            json!({"text": "a", "types": ["x".repeat(900)]}),
            400,
            json!("text"),
            "fits into a window",
        ),
    ] {
        let response = server.post("/v1/ner", &request.to_string());
        assert_eq!(response.status, status, "{response:?}");
        let error = &response.json()["error"];
        assert_eq!((&error["param"], &error["type"]), (&param, &json!("invalid_request_error")));
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
    }
}

#[test]
fn keys_protect_what_computes_and_counts() {
    let key = "0123456789abcdef0123";
    let keys = ApiKeys::from_list(key, "test").unwrap();
    let server = Server::start(Config { keys, ..config() });
    let body = r#"{"text": "Ada", "types": ["person"]}"#;
    for (headers, status) in [
        (String::new(), 401),
        ("Authorization: Bearer wrong\r\n".to_owned(), 401),
        (format!("Authorization: {key}\r\n"), 401),
        (format!("Authorization: Basic {key}\r\n"), 401),
        (format!("Authorization: bearer {key}\r\n"), 200),
    ] {
        let response = server.post_with("/v1/ner", &headers, body.as_bytes());
        assert_eq!(response.status, status, "{headers}: {response:?}");
        let asks = response.header("www-authenticate");
        assert_eq!(asks, (status == 401).then_some("Bearer"));
    }
    for (path, status) in [("/metrics", 401), ("/v1/models", 401), ("/health", 200), ("/", 200)] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
}

#[test]
fn the_other_routes_answer() {
    let server = Server::with(
        config(),
        vec![served("small", predictor(1, 16)), served("other", predictor(100, 16))],
    );
    let models = server.get("/v1/models").json();
    assert_eq!(models["object"], "list");
    let names: Vec<&Value> = models["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(names, ["small", "other"]);
    assert_eq!(models["data"][1]["entity_types"], json!(["person", "city"]));
    assert_eq!(server.get("/v1/models/other").json()["id"], "other");
    assert_eq!(server.get("/v1/models/third").status, 404);
    let ask =
        |model| entities(&server, &json!({"text": TEXT, "types": ["person"], "model": model}));
    assert_ne!(ask("small")["results"], ask("other")["results"], "two models");
    let document = server.get("/openapi.json").json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for path in ["/v1/ner", "/v1/chat/completions", "/v1/models", "/health", "/ready", "/metrics"] {
        assert!(paths.iter().any(|found| *found == path), "{path} of {paths:?}");
    }
    let page = server.get("/");
    assert!(page.body.contains("<html") && page.header("content-security-policy").is_some());
    assert_eq!(server.get("/page.js").status, 200);
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(server.get("/v1/ner").status, 405);
    let metrics = server.get("/metrics").body;
    for line in [
        "uner_requests_total{route=\"/v1/ner\",status=\"200\"} 2",
        "uner_requests_total{route=\"other\",status=\"404\"} 1",
        "uner_texts_total 2",
        "uner_queue_length 0",
        "uner_queue_limit 512",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn pages_of_other_origins_read_answers_only_if_they_may() {
    let preflight = "OPTIONS /v1/ner HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                     Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    let allowed = "access-control-allow-origin";
    let closed = Server::start(config());
    assert_eq!(closed.raw(preflight.as_bytes()).header(allowed), None);
    let open = Server::start(Config { origins: vec!["https://a.example".to_owned()], ..config() });
    assert_eq!(open.raw(preflight.as_bytes()).header(allowed), Some("https://a.example"));
    let other = preflight.replace("a.example", "b.example");
    assert_eq!(open.raw(other.as_bytes()).header(allowed), None);
}

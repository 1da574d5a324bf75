//! A model behind an API is measured; the API is a server on this machine.

// With this, clippy allows helpers of tests to unwrap.
#![cfg(test)]

mod answers;
mod resume;
#[path = "../../../uner-endpoint/tests/endpoint/server.rs"]
#[expect(dead_code, reason = "some faults are for the tests of the client only")]
mod server;

use std::ops::ControlFlow;
use std::path::Path;

use uner_data::{Dataset, Example};
use uner_endpoint::{Client, Endpoint};
use uner_eval::report::{Outcome, Report};
use uner_eval::system::Questions;
use uner_eval::systems::endpoint::{Ask, EndpointSystem};
use uner_eval::{Answer, Benchmark, DatasetReport, EvalError, Folder, Options, System, measure};
use uner_prompt::Template;

use server::{Reply, Seen, Server};

/// A description for tests: short times, no limits.
fn endpoint(url: &str) -> Endpoint {
    Endpoint { timeout_seconds: 60, max_retries: 2, ..Endpoint::new(url, "m") }
}

fn zero_shot() -> Ask {
    Ask::Template(Box::new(Template::load("zero-shot").unwrap()))
}

fn system(endpoint: Endpoint, ask: Ask) -> EndpointSystem {
    EndpointSystem { client: Client::new(endpoint).unwrap(), ask }
}

/// An example that is asked for persons and cities.
fn example(text: &str) -> Example {
    let queries = ["person", "city"].map(str::to_owned).to_vec();
    Example { queries, ..Example::new("1".to_owned(), text.to_owned(), Vec::new()) }
}

/// The answers of a system, which must have some.
fn answers(system: &mut EndpointSystem, examples: &[Example]) -> Vec<Vec<Answer>> {
    ask(system, examples).unwrap()
}

fn ask(system: &mut EndpointSystem, examples: &[Example]) -> Result<Vec<Vec<Answer>>, EvalError> {
    let questions = Questions { dataset: "made-up", examples };
    system.answer(questions, &mut |_| ControlFlow::Continue(()))
}

/// The passage and the question of a request with the template `zero-shot`.
fn asked(seen: &Seen) -> (String, String) {
    let content = |index: usize| seen.body["messages"][index]["content"].as_str().unwrap();
    (content(1).strip_prefix("Text: ").unwrap().to_owned(), content(3).to_owned())
}

/// All passages and questions that a server has read, sorted.
fn all_asked(server: &Server) -> Vec<(String, String)> {
    let mut all: Vec<_> = server.seen().iter().map(asked).collect();
    all.sort();
    all
}

/// The right answer to a question about a text of [`benchmark`].
fn right(seen: &Seen) -> Reply {
    let is_city = asked(seen).1.contains("city");
    Reply::completion(if is_city { "[\"Rome\"]" } else { "[\"Ada\", \"Bob\"]" })
}

/// A benchmark of some examples with two persons and a city each.
fn benchmark(root: &Path, examples: usize) -> Benchmark {
    let row = |number: usize| {
        let entity = |start: usize, end: usize, label: &str| {
            format!("{{\"start\": {start}, \"end\": {end}, \"label\": \"{label}\"}}")
        };
        let entities = [entity(0, 3, "person"), entity(8, 11, "person"), entity(15, 19, "city")];
        format!(
            "{{\"id\": \"{number}\", \"text\": \"Ada met Bob in Rome {number:03}.\", \"entities\": [{}]}}\n",
            entities.join(", ")
        )
    };
    let rows: String = (0..examples).map(row).collect();
    fs_err::write(root.join("test.jsonl"), rows).unwrap();
    let text = "name = \"made-up\"\n[format]\nkind = \"jsonl\"\nlabel = \"label\"\n\
                [splits]\ntest = \"test.jsonl\"\n";
    let dataset = Dataset::from_toml(text, "made-up").unwrap();
    Benchmark { dataset, split: "test".to_owned(), limit: None, sample: None }
}

/// Measures on a benchmark with a journal and a folder of answers in `root`. Both go on where they
/// are if they exist.
fn measured(
    root: &Path,
    endpoint: Endpoint,
    ask: Ask,
    benchmark: &Benchmark,
) -> Result<Report, EvalError> {
    let journal = root.join("answers.jsonl");
    let client = Client::new(endpoint).unwrap().with_journal(&journal).unwrap();
    let mut system = EndpointSystem { client, ask };
    let folder = Folder::open_for(&root.join("evaluation"), &system.name(), true)?;
    let options = Options { root, folder: Some(&folder), seen: None };
    let benchmarks = std::slice::from_ref(benchmark);
    measure(&mut system, benchmarks, options, &mut |_, _, _| ControlFlow::Continue(()))
}

fn scored(report: &Report) -> &DatasetReport {
    match &report.outcomes[0] {
        Outcome::Scored(report) => report,
        Outcome::Missing { reason, .. } => panic!("{reason}"),
    }
}

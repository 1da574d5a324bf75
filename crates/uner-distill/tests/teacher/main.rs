//! Runs with scripted teachers, in this process and behind HTTP.

// With this, clippy allows helpers of tests to unwrap.
#![cfg(test)]

mod child;
mod data;
mod faults;
mod full_disk;
mod killed;
mod merged;
mod published;
mod run;
mod scripted;
#[path = "../../../uner-endpoint/tests/endpoint/server.rs"]
#[expect(dead_code, reason = "the tests of the client use the rest")]
mod server;
#[path = "../../../uner-data/src/shared.rs"]
#[expect(dead_code, reason = "the tests of data use the rest")]
mod shared;
mod throughput;

use std::ops::ControlFlow;
use std::path::Path;

use uner_data::Span;
use uner_distill::annotate::Summary;
use uner_distill::output::{
    CONVERSATIONS, DATASET, OutputConfig, REPORT_JSON, REPORT_MARKDOWN, SPANS,
};
use uner_distill::teacher::PromptVersion;
use uner_distill::{Annotation, DistillError, Passage, Teacher, build};

/// All files that are built.
const BUILT: [&str; 5] = [CONVERSATIONS, SPANS, DATASET, REPORT_JSON, REPORT_MARKDOWN];

/// A passage of its own for each number.
fn passage(number: usize) -> Passage {
    let text = format!("No. {number}: Zoë met “Ada”\n in Rome, and Ada left Rome.");
    let span = Span { start: 0, end: text.chars().count() };
    let subset = if number.is_multiple_of(3) { "books" } else { "web" }.to_owned();
    Passage { id: format!("{subset}/{number}"), text, subset, document: format!("d{number}"), span }
}

fn write_passages(path: &Path, passages: impl Iterator<Item = Passage>) {
    let lines = passages.map(|passage| serde_json::to_string(&passage).unwrap() + "\n");
    fs_err::write(path, lines.collect::<String>()).unwrap();
}

/// The answer to a prompt. It depends on the passage, and has something for every filter.
fn answer(prompt: &str) -> String {
    let (_, text) = prompt.split_once("\n\nPassage: ").unwrap();
    let digits = text.chars().filter(char::is_ascii_digit).collect::<String>();
    let number: usize = digits.parse().unwrap();
    match number % 7 {
        0 => "I am sorry, but I cannot do that.".to_owned(),
        1 => "[]".to_owned(),
        2 => "[('Ada', 'None'), ('Paris', 'city')]".to_owned(),
        3 => format!("```python\n[('Rome', 'city'), ('{number}', 'Number'),]\n```"),
        _ => "Sure: [(\"Rome\", \"city\"), (\"Zo\\u00eb\", \"person\"), (\"“Ada” in\", \"person\"), \
              (\"Rome\", \"city\"), (\"Rome\", \"city\"), (\"ada\", \"person\"), (\"Ada\", \"person\")]"
            .to_owned(),
    }
}

/// Runs to the end.
fn annotate(
    folder: &Path,
    passages: &Path,
    teacher: &mut dyn Teacher,
) -> Result<Summary, DistillError> {
    let mut run = Annotation::open(folder, passages, PromptVersion::Type, None, teacher)?;
    run.run(teacher, &mut |_| ControlFlow::Continue(()))
}

/// The built files, without the times of answers.
fn built(folder: &Path, passages: &Path) -> Vec<String> {
    let mut report = build(folder, passages, &OutputConfig::default()).unwrap();
    for answers in report.teachers.values_mut() {
        (answers.first, answers.last) = (0, 0);
    }
    let text = |name: &str| fs_err::read_to_string(folder.join(name)).unwrap();
    let spans = text(SPANS).lines().map(timeless).collect::<String>();
    vec![text(CONVERSATIONS), spans, text(DATASET), report.json().unwrap()]
}

/// A line without the time of its answer.
fn timeless(line: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(value["time"].is_u64(), "{line}");
    value["time"] = 0.into();
    value.to_string() + "\n"
}

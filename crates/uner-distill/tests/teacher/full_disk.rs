//! Runs on a disk that is full.

use uner_distill::output::{CONVERSATIONS, SPANS};

use crate::child;
use crate::server::{Reply, Server};
use crate::{answer, passage, write_passages};

const PASSAGES: usize = 200;

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_journal_that_is_full_ends_the_run_before_an_answer_is_paid_for_and_lost() {
    let folder = tempfile::tempdir().unwrap();
    write_passages(&folder.path().join("passages.jsonl"), (0..PASSAGES).map(passage));
    let long = |text: &str| answer(text) + &" ".repeat(20_000);
    let server = Server::start(move |_, seen| Reply::completion(&long(seen.text())).after(5));
    let run = folder.path().join("run");
    let output = child::run(&run, &server.url(), Some(2048));
    assert!(output.contains("no room for the answers in flight"), "{output}");
    assert!(output.contains("journal.jsonl") && output.contains("too large"), "{output}");
    let lines = |name: &str| fs_err::read_to_string(run.join(name)).unwrap().lines().count();
    let (paid, kept) = (server.seen().len(), lines("journal.jsonl"));
    assert!(kept > 10 && kept < PASSAGES && paid == kept, "{paid} {kept}");
    let output = child::run(&run, &server.url(), None);
    assert!(output.contains(child::DONE), "{output}");
    assert_eq!(server.seen().len(), paid + PASSAGES - kept);
    assert_eq!(lines("answers.jsonl"), PASSAGES);
}

#[test]
fn full_answers_and_outputs_are_errors_and_the_run_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    write_passages(&folder.path().join("passages.jsonl"), (0..PASSAGES).map(passage));
    let run = folder.path().join("run");
    let output = child::run(&run, "", Some(20));
    assert!(output.contains("answers.jsonl") && output.contains("too large"), "{output}");
    let answers = fs_err::read_to_string(run.join("answers.jsonl")).unwrap();
    let complete = answers.lines().count();
    assert!(complete > 10 && answers.ends_with("}\n") && answers.len() <= 20 * 1024, "{complete}");
    // Now all answers fit, and their training data does not.
    let size = |name: &str| fs_err::metadata(run.join(name)).unwrap().len();
    let limit = 60;
    let output = child::run(&run, "", Some(limit));
    assert!(size("answers.jsonl") <= u64::from(limit) * 1024);
    assert!(output.contains(".partial") && output.contains("too large"), "{output}");
    assert_eq!(names(&run), ["answers.jsonl", "run.json"]);
    let output = child::run(&run, "", None);
    assert!(output.contains(child::DONE), "{output}");
    assert!(size(CONVERSATIONS).max(size(SPANS)) > u64::from(limit) * 1024);
    assert_eq!(names(&run).len(), 7);
}

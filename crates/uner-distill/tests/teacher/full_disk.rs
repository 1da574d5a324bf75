//! Runs on a disk that is full.

use std::path::Path;
use std::process::Command;

use uner_distill::output::{CONVERSATIONS, SPANS};

use crate::child::{self, CONCURRENCY};
use crate::server::{Reply, Server};
use crate::{answer, passage, write_passages};

const PASSAGES: usize = 200;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn lines(file: &Path) -> usize {
    fs_err::read_to_string(file).unwrap().lines().count()
}

/// A disk of 3 MiB in memory, which only root can mount.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs"];
        let run = Command::new("mount").args(options).arg(folder.path()).output();
        let is_mounted = run.is_ok_and(|run| run.status.success());
        if !is_mounted {
            eprintln!("SKIPPED: no disk of 3 MiB can be mounted here");
        }
        is_mounted.then_some(Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_ends_the_run_before_an_answer_is_paid_for_and_lost() {
    let Some(disk) = Disk::mount() else { return };
    let folder = disk.0.path();
    write_passages(&folder.join("passages.jsonl"), (0..PASSAGES).map(passage));
    let long = |text: &str| answer(text) + &" ".repeat(20_000);
    let server = Server::start(move |_, seen| Reply::completion(&long(seen.text())).after(5));
    let run = folder.join("run");
    let output = child::run(&run, &server.url(), None);
    assert!(output.contains("the child's error:") && output.contains("space"), "{output}");
    let (paid, kept) = (server.seen().len(), lines(&run.join("journal.jsonl")));
    assert!(kept > 10 && kept < PASSAGES && paid == kept, "{paid} {kept}");
}

#[test]
fn a_journal_that_may_not_grow_loses_no_more_than_was_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    write_passages(&folder.path().join("passages.jsonl"), (0..PASSAGES).map(passage));
    let server = Server::start(|_, seen| Reply::completion(&answer(seen.text())).after(5));
    let run = folder.path().join("run");
    let output = child::run(&run, &server.url(), Some(40));
    assert!(output.contains("the child's error: failed to write to file"), "{output}");
    assert!(output.contains("journal.jsonl") && output.contains("too large"), "{output}");
    let (paid, kept) = (server.seen().len(), lines(&run.join("journal.jsonl")));
    assert!(kept > 10 && paid - kept <= CONCURRENCY, "{paid} {kept}");
    let output = child::run(&run, &server.url(), None);
    assert!(output.contains(child::DONE), "{output}");
    assert_eq!(server.seen().len(), paid + PASSAGES - kept);
    assert_eq!(lines(&run.join("answers.jsonl")), PASSAGES);
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

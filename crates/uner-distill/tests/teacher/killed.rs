//! Runs that are killed at any moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use uner_distill::teacher::open_endpoint;
use uner_endpoint::Endpoint;

use crate::child::{self, CONCURRENCY};
use crate::server::{Reply, Seen, Server};
use crate::{annotate, answer, built, passage, write_passages};

const KILLS: usize = 20;
const PASSAGES: usize = 1200;

#[test]
fn a_run_that_is_killed_20_times_gives_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..PASSAGES).map(passage));
    let requests = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let requests = Arc::clone(&requests);
        move |_: usize, seen: &Seen| {
            requests.fetch_add(1, Ordering::Relaxed);
            Reply::completion(&answer(seen.text())).after(20)
        }
    });
    let run = folder.path().join("killed");
    let mut random = fastrand::Rng::with_seed(15);
    for kill in 0..KILLS {
        let mut process = child::command(&run, &server.url(), None).spawn().unwrap();
        // Every fifth is killed before or while it starts, the others after some requests.
        if kill % 5 > 0 {
            let target = requests.load(Ordering::Relaxed) + random.usize(1..60);
            while requests.load(Ordering::Relaxed) < target {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        std::thread::sleep(Duration::from_micros(random.u64(0..40_000)));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let answered = || {
        let text = fs_err::read_to_string(run.join("answers.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    let before = answered();
    assert!((100..PASSAGES).contains(&before), "{before}");
    let output = child::run(&run, &server.url(), None);
    assert!(output.contains(child::DONE), "{output}");
    assert_eq!(answered(), PASSAGES);

    let mut paid: HashMap<String, usize> = HashMap::new();
    for seen in server.seen() {
        *paid.entry(seen.text().to_owned()).or_default() += 1;
    }
    assert_eq!(paid.len(), PASSAGES);
    let twice: usize = paid.values().map(|times| times - 1).sum();
    eprintln!("{before} answers before the last run, {twice} requests repeated");
    assert!(twice <= KILLS * CONCURRENCY, "{twice}");

    let server = Server::start(|_, seen| Reply::completion(&answer(seen.text())));
    let undisturbed = folder.path().join("undisturbed");
    let mut client = open_endpoint(Endpoint::new(server.url(), "m"), &undisturbed).unwrap();
    annotate(&undisturbed, &passages, &mut client).unwrap();
    assert!(built(&run, &passages) == built(&undisturbed, &passages));
}

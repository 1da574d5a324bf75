use std::time::Instant;

use uner_download::{Phase, Problem};

use super::*;

const LEN: usize = 300_000;

/// A server that ends the first connection after 100,000 bytes.
fn cutting(etag: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> (Server, Vec<u8>) {
    let body = body(LEN);
    let text = body.clone();
    let server = Server::start(move |number, seen| {
        let reply = Reply::file(seen, &text, etag(number));
        if number == 0 { reply.cut(100_000) } else { reply }
    });
    (server, body)
}

fn offsets(server: &Server) -> Vec<Option<usize>> {
    server.seen().iter().map(|seen: &Seen| seen.offset).collect()
}

#[test]
fn a_cut_connection_is_continued() {
    let (server, body) = cutting(|_| "\"1\"");
    let case = Case::new(&server, &body);
    let summary = case.run().unwrap();
    case.assert_complete(&body);
    // Every byte came once.
    assert_eq!((server.bytes(), summary.received), (LEN, LEN as u64));
    let seen = server.seen();
    assert_eq!((seen.len(), seen[1].offset), (2, Some(100_000)));
    assert_eq!(seen[1].if_range.as_deref(), Some("\"1\""));
}

#[test]
fn a_file_that_changes_meanwhile_is_read_again() {
    let (server, body) = cutting(|number| if number == 0 { "\"1\"" } else { "\"2\"" });
    let case = Case::without_checksum(&server);
    case.run().unwrap();
    case.assert_complete(&body);
    assert_eq!(server.bytes(), LEN + 100_000);
}

#[test]
fn a_stopped_download_is_continued_by_the_next() {
    let body = body(LEN);
    let server = faultless(&body);
    let case = Case::new(&server, &body);
    let stopped = case.run_until(|progress| progress.bytes > 100_000);
    assert!(matches!(stopped, Err(DownloadError::Cancelled)), "{stopped:?}");
    let there = fs_err::metadata(case.part()).unwrap().len();
    assert!(!case.path().exists() && there > 100_000 && there < LEN as u64);
    let mut has_checked = false;
    let summary = case.run_until(|progress| {
        has_checked |= matches!(progress.phase, Phase::Checking);
        false
    });
    assert_eq!(summary.unwrap().received, LEN as u64 - there);
    assert!(has_checked);
    assert_eq!(offsets(&server), [None, Some(there as usize)]);
    case.assert_complete(&body);
}

#[test]
fn a_part_without_a_checksum_is_not_trusted() {
    let body = body(LEN);
    let server = faultless(&body);
    let case = Case::without_checksum(&server);
    write(&case.part(), b"an older file");
    case.run().unwrap();
    case.assert_complete(&body);
    assert_eq!(offsets(&server), [None]);
}

#[test]
fn a_complete_part_needs_no_request() {
    let body = body(LEN);
    let server = faultless(&body);
    let case = Case::new(&server, &body);
    write(&case.part(), &body);
    assert!(case.run().unwrap().files[0].is_new);
    case.assert_complete(&body);
    assert!(server.seen().is_empty());
}

#[test]
fn a_wrong_part_is_replaced() {
    let body = body(LEN);
    for (part, expected) in [
        (vec![b'x'; 1000], vec![Some(1000), None]),
        (vec![b'x'; LEN], vec![None]),
        (vec![b'x'; LEN + 1], vec![None]),
    ] {
        let server = faultless(&body);
        let case = Case::new(&server, &body);
        write(&case.part(), &part);
        case.run().unwrap();
        case.assert_complete(&body);
        assert_eq!(offsets(&server), expected);
    }
}

#[test]
fn a_part_longer_than_the_file_is_replaced() {
    let body = body(LEN);
    let server = faultless(&body);
    let mut case = Case::new(&server, &body);
    // Only the server knows the size.
    case.dataset.downloads[0].bytes = None;
    write(&case.part(), &vec![b'x'; LEN + 1]);
    case.run().unwrap();
    case.assert_complete(&body);
    assert_eq!(offsets(&server), [Some(LEN + 1), None]);
    // A complete part is not requested again.
    fs_err::rename(case.path(), case.part()).unwrap();
    assert_eq!(case.run().unwrap().received, 0);
    case.assert_complete(&body);
    assert_eq!(offsets(&server), [Some(LEN + 1), None, Some(LEN)]);
}

#[test]
fn a_server_without_ranges_sends_all() {
    let body = body(LEN);
    let text = body.clone();
    let server = Server::start(move |_, _| Reply::whole(&text));
    let case = Case::new(&server, &body);
    write(&case.part(), &body[..1000]);
    case.run().unwrap();
    case.assert_complete(&body);
    assert_eq!(offsets(&server), [Some(1000)]);
}

#[test]
fn a_wrong_range_is_not_used() {
    let body = body(LEN);
    let text = body.clone();
    let server = Server::start(move |_, seen| match seen.offset {
        Some(_) => Reply::new(206, &text[5..])
            .header("Content-Range", &format!("bytes 5-{}/{LEN}", LEN - 1)),
        None => Reply::whole(&text),
    });
    let case = Case::new(&server, &body);
    write(&case.part(), &body[..1000]);
    case.run().unwrap();
    case.assert_complete(&body);
    assert_eq!(offsets(&server), [Some(1000), None]);
}

#[test]
fn an_overloaded_server_is_tried_again() {
    let server = Server::start(|number, seen| match number {
        0 => Reply::new(503, b"busy").header("Retry-After", "1"),
        1 => Reply::new(429, b"slower").header("Retry-After", "0"),
        _ => Reply::file(seen, b"text", "\"1\""),
    });
    let case = Case::new(&server, b"text");
    let start = Instant::now();
    let mut problems = Vec::new();
    let summary = case.run_until(|progress| {
        if let Phase::Waiting { problem, .. } = progress.phase {
            problems.push(problem.clone());
        }
        false
    });
    summary.unwrap();
    case.assert_complete(b"text");
    assert!(start.elapsed() >= Duration::from_secs(1));
    problems.dedup();
    assert_eq!(problems, [Problem::Status(503), Problem::Status(429)]);
}

#[test]
fn a_wait_can_be_stopped() {
    let server = Server::start(|_, _| Reply::new(503, b"").header("Retry-After", "500"));
    let case = Case::new(&server, b"text");
    let start = Instant::now();
    let stopped = case.run_until(|progress| matches!(progress.phase, Phase::Waiting { .. }));
    assert!(matches!(stopped, Err(DownloadError::Cancelled)), "{stopped:?}");
    assert!(start.elapsed() < Duration::from_secs(10) && !case.part().exists());
}

#[test]
fn a_failing_server_is_given_up() {
    let server = Server::start(|_, _| Reply::new(500, b"").header("Retry-After", "0"));
    let case = Case::new(&server, b"text");
    let message = case.message();
    assert!(message.contains("status `500` (attempts: `5`)"), "{message}");
    assert_eq!(server.seen().len(), 5);
    let server = Server::start(|_, _| Reply::new(429, b"").header("Retry-After", "9000"));
    let message = Case::new(&server, b"text").message();
    assert!(message.contains("demands a pause of `9000` s (attempts: `1`)"), "{message}");
}

#[test]
fn a_server_that_always_cuts_at_the_same_byte_is_given_up() {
    let body = body(LEN);
    let text = body.clone();
    let server = Server::start(move |_, _| Reply::whole(&text).cut(100_000));
    let case = Case::new(&server, &body);
    let message = case.message();
    assert!(message.contains("`100000` bytes are in") && message.contains(".part"), "{message}");
    assert_eq!(fs_err::metadata(case.part()).unwrap().len(), 100_000);
    // The first attempt made progress.
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn a_server_that_sends_little_at_a_time_is_not_given_up() {
    let body = body(LEN);
    let text = body.clone();
    let server = Server::start(move |_, seen| Reply::file(seen, &text, "\"1\"").cut(30_000));
    let case = Case::new(&server, &body);
    case.run().unwrap();
    case.assert_complete(&body);
    assert_eq!((server.seen().len(), server.bytes()), (10, LEN));
}

#[test]
fn a_silent_server_is_left() {
    let body = body(LEN);
    let text = body.clone();
    let server = Server::start(move |number, seen| {
        let reply = Reply::file(seen, &text, "\"1\"");
        if number == 0 { reply.cut(1000).stalled(60_000) } else { reply }
    });
    let mut case = Case::new(&server, &body);
    case.options.timeout = Duration::from_secs(1);
    let mut problems = Vec::new();
    let summary = case.run_until(|progress| {
        if let Phase::Waiting { problem, .. } = progress.phase {
            problems.push(problem.clone());
        }
        false
    });
    summary.unwrap();
    case.assert_complete(&body);
    assert_eq!((problems[0].clone(), server.bytes()), (Problem::Timeout(1), LEN));
}

#[test]
fn no_server_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut case = Case::new(&faultless(b"text"), b"text");
    case.dataset.downloads[0].url = format!("http://{address}/test.txt");
    let message = case.message();
    assert!(message.contains("the connection failed") && message.contains("later"), "{message}");
    assert!(!case.part().exists());
}

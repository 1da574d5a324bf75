//! The rate and the memory of a run, by hand:
//! `cargo test --release -p uner-distill --test teacher -- --ignored --nocapture throughput`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uner_distill::output::OutputConfig;
use uner_distill::teacher::{PromptVersion, open_endpoint};
use uner_distill::{Annotation, build};
use uner_endpoint::Endpoint;

use crate::{answer, passage, write_passages};

const LATENCY: Duration = Duration::from_millis(50);
const IN_FLIGHT: usize = 64;

/// The passages of the paper's data, or another number in `UNER_PASSAGES`.
fn num_passages() -> usize {
    std::env::var("UNER_PASSAGES").map_or(45_889, |number| number.parse().unwrap())
}

#[test]
#[ignore = "it takes a minute and measures; run it by hand"]
fn throughput() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    let count = num_passages();
    write_passages(&passages, (0..count).map(passage));
    let endpoint = Endpoint { concurrency: IN_FLIGHT, ..Endpoint::new(server(), "m") };
    let mut client = open_endpoint(endpoint, folder.path()).unwrap();
    let prompt = PromptVersion::Type;
    let mut run = Annotation::open(folder.path(), &passages, prompt, None, &client).unwrap();
    let start = Instant::now();
    let mut next = 0;
    let summary = run
        .run(&mut client, &mut |progress| {
            if progress.answered >= next {
                println!("{:>7} answers, {:>6} KiB resident", progress.answered, resident());
                next = progress.answered + (count / 10) as u64;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let (rate, ideal) = (count as f64 / seconds, IN_FLIGHT as f64 / LATENCY.as_secs_f64());
    println!("{rate:.0} answers/s, {:.1} % of {ideal}; {} KiB", 100.0 * rate / ideal, resident());
    assert_eq!((summary.answered, summary.failed), (count as u64, 0));
    let start = Instant::now();
    build(folder.path(), &passages, &OutputConfig::default()).unwrap();
    println!("files built in {:.1} s; {} KiB", start.elapsed().as_secs_f64(), resident());
    assert!(rate > 0.9 * ideal, "{rate}");
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A server that keeps its connections. Returns its address.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A closed connection does not stop the server.
            std::thread::spawn(move || serve(&stream.unwrap()));
        }
    });
    format!("http://{address}/v1")
}

fn serve(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let header = line.trim_end().to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            if header.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let start = Instant::now();
        let request: Value = serde_json::from_slice(&body)?;
        let text = answer(request["messages"][1]["content"].as_str().unwrap());
        let reply = json!({
            "model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 5},
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        })
        .to_string();
        std::thread::sleep(LATENCY.saturating_sub(start.elapsed()));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", reply.len());
        let mut stream = stream;
        stream.write_all((head + &reply).as_bytes())?;
    }
}

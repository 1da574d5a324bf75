//! A run in a process of its own, which can be killed: this program, with one test.

use std::path::Path;
use std::process::{Command, Stdio};

use uner_distill::build;
use uner_distill::output::OutputConfig;
use uner_distill::teacher::open_endpoint;
use uner_endpoint::Endpoint;

use crate::annotate;
use crate::scripted::Scripted;

/// Requests in flight.
pub(crate) const CONCURRENCY: usize = 8;
/// The folder of the child's run. It has a file of passages beside it.
const FOLDER: &str = "UNER_DISTILL_CHILD_FOLDER";
/// The address of its teacher, or nothing for one in the process.
const URL: &str = "UNER_DISTILL_CHILD_URL";
/// What a child prints when its files are built.
pub(crate) const DONE: &str = "the child has built its files";

/// The child's program. Run as a test of its own, it does nothing.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let passages = folder.with_file_name("passages.jsonl");
    let url = std::env::var(URL).unwrap();
    let summary = if url.is_empty() {
        annotate(folder, &passages, &mut Scripted::new(4))
    } else {
        let endpoint = Endpoint { concurrency: CONCURRENCY, ..Endpoint::new(url, "m") };
        let mut client = open_endpoint(endpoint, folder).unwrap();
        annotate(folder, &passages, &mut client)
    };
    let built = summary.and_then(|_| build(folder, &passages, &OutputConfig::default()));
    match built {
        Ok(_) => println!("{DONE}"),
        Err(error) => println!("the child's error: {error}"),
    }
}

/// A command that runs the child. `limit` is the largest size of a file, in units of 1,024 bytes.
pub(crate) fn command(folder: &Path, url: &str, limit: Option<u32>) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("bash");
    // A larger file is an error of the write, as on a full disk, if the signal is ignored.
    let limit =
        limit.map_or_else(String::new, |limit| format!("trap '' XFSZ; ulimit -f {limit}; "));
    command.args(["-c", &format!("{limit}exec \"$0\" --exact child::child --nocapture")]);
    command.arg(program).env(FOLDER, folder).env(URL, url);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the child to its end, and returns what it printed.
pub(crate) fn run(folder: &Path, url: &str, limit: Option<u32>) -> String {
    let output = command(folder, url, limit).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

//! One file from its address into its incomplete file: attempts, continuation, size and checksum.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use uner_data::{Dataset, Download};
use ureq::http::HeaderValue;

use crate::error::{DownloadError, Problem, by_hand};
use crate::http::{Http, NoReply, Reply};
use crate::part::{BUFFER, Part};
use crate::progress::{OnProgress, Phase, Progress, emit};
use crate::retry::{ATTEMPTS, LONGEST_DEMANDED, backoff};

/// Time between two calls of the callback while the download waits.
const TICK: Duration = Duration::from_millis(100);

/// The download of one address.
pub(crate) struct Fetch<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) http: &'a Http,
    pub(crate) entry: &'a Download,
    /// The file in progress reports.
    pub(crate) shown: &'a Path,
    pub(crate) on_progress: &'a mut OnProgress<'a>,
    /// The identity of the bytes that this process has received.
    pub(crate) etag: Option<HeaderValue>,
    /// Bytes that have come from the server.
    pub(crate) received: u64,
}

/// The end of an attempt without the whole file.
enum Failure {
    /// Another attempt follows, after the pause that the server demands.
    Retry(Problem, Option<Duration>),
    Stop(DownloadError),
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::Stop(error)
    }
}

impl Fetch<'_> {
    /// Completes the contents of a part. Those that an earlier download has left may belong to
    /// another version of the file: if the result is wrong, all is downloaded once more.
    pub(crate) fn run(&mut self, mut part: Part) -> Result<Part, DownloadError> {
        let mut is_continued = self.adopt(&mut part)?;
        loop {
            let result = self.receive(&mut part).and_then(|()| self.verify(&part));
            let Err(error) = result else { return Ok(part) };
            let is_wrong = matches!(
                error,
                DownloadError::WrongSize { .. } | DownloadError::WrongChecksum { .. }
            );
            if !(is_wrong && is_continued) {
                if is_wrong || part.len() == 0 {
                    part.remove()?;
                }
                return Err(error);
            }
            is_continued = false;
            part.restart()?;
        }
    }

    /// Reads what an earlier download has left. Without a checksum nobody could say whether it is
    /// of the same file, so it is dropped.
    fn adopt(&mut self, part: &mut Part) -> Result<bool, DownloadError> {
        if self.entry.sha256.is_none() || part.len() == 0 {
            part.restart()?;
            return Ok(false);
        }
        part.read_earlier(|bytes| self.emit(bytes, None, Phase::Checking))?;
        Ok(true)
    }

    /// Makes attempts until the part has all bytes.
    fn receive(&mut self, part: &mut Part) -> Result<(), DownloadError> {
        // A server that cuts every answer at the same byte makes no progress.
        let (mut attempts, mut most) = (0, part.len());
        loop {
            let (problem, pause) = match self.attempt(part) {
                Ok(()) => return Ok(()),
                Err(Failure::Stop(error)) => return Err(error),
                Err(Failure::Retry(problem, pause)) => (problem, pause),
            };
            if part.len() > most {
                (attempts, most) = (0, part.len());
            }
            attempts += 1;
            if attempts >= ATTEMPTS || matches!(problem, Problem::LongPause { .. }) {
                let (part, bytes) = (part.path().to_owned(), part.len());
                let url = self.entry.url.clone();
                return Err(DownloadError::Unreachable { url, problem, attempts, part, bytes });
            }
            self.wait(pause.unwrap_or_else(|| backoff(attempts)), &problem, part.len())?;
        }
    }

    fn attempt(&mut self, part: &mut Part) -> Result<(), Failure> {
        match self.entry.bytes {
            Some(bytes) if part.len() == bytes => return Ok(()),
            Some(bytes) if part.len() > bytes => part.restart()?,
            _ => {}
        }
        let offset = part.len();
        let reply = self.http.get(&self.entry.url, offset, self.etag.as_ref());
        let reply = reply.map_err(|error| match error {
            NoReply::Retry(problem) => Failure::Retry(problem, None),
            NoReply::Never(problem) => Failure::Stop(self.refused(problem)),
        })?;
        self.check_total(&reply)?;
        match reply.status.as_u16() {
            // The server does not continue files, or has another version.
            200 if offset > 0 => part.restart()?,
            200 => {}
            206 if offset > 0 && reply.start == offset => {}
            // No byte is left: either the part is complete, or it is not of this file.
            416 if self.entry.bytes.is_none() && reply.total == Some(offset) => return Ok(()),
            206 | 416 if offset > 0 => {
                part.restart()?;
                return Err(Failure::Retry(Problem::Range, Some(Duration::ZERO)));
            }
            status => return Err(self.bad_status(status, reply.pause)),
        }
        self.etag.clone_from(&reply.etag);
        self.read_body(reply, part)
    }

    fn bad_status(&self, status: u16, pause: Option<Duration>) -> Failure {
        let is_temporary = matches!(status, 408 | 425 | 429 | 500..=599);
        if !is_temporary {
            let advice = match status {
                401 | 403 => ": it refuses access",
                404 | 410 => ": the file is not there any more",
                _ => "",
            };
            return Failure::Stop(self.refused(format!("returned status `{status}`{advice}")));
        }
        let problem = match pause.filter(|pause| *pause > LONGEST_DEMANDED) {
            Some(pause) => Problem::LongPause { status, seconds: pause.as_secs() },
            None => Problem::Status(status),
        };
        Failure::Retry(problem, pause)
    }

    fn read_body(&mut self, reply: Reply, part: &mut Part) -> Result<(), Failure> {
        let expected = self.entry.bytes.or(reply.total);
        let mut body = reply.body.into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = body.read(&mut buffer);
            let read = read.map_err(|error| Failure::Retry(self.http.broken_body(error), None))?;
            if read == 0 {
                break;
            }
            self.received += read as u64;
            if let Some(bytes) = self.entry.bytes
                && part.len() + read as u64 > bytes
            {
                return Err(self.wrong_size("more".to_owned(), bytes).into());
            }
            part.append(&buffer[..read])?;
            self.emit(part.len(), expected, Phase::Downloading)?;
        }
        match expected {
            Some(bytes) if part.len() < bytes => {
                let problem = format!("it ended after `{}` of `{bytes}` bytes", part.len());
                Err(Failure::Retry(Problem::Connection(problem), None))
            }
            _ => Ok(()),
        }
    }

    /// Compares the size that the server announces with that of the description.
    fn check_total(&self, reply: &Reply) -> Result<(), DownloadError> {
        match (reply.total, self.entry.bytes) {
            (Some(found), Some(expected)) if found != expected => {
                Err(self.wrong_size(format!("`{found}`"), expected))
            }
            _ => Ok(()),
        }
    }

    fn verify(&self, part: &Part) -> Result<(), DownloadError> {
        let found = part.digest();
        match &self.entry.sha256 {
            Some(expected) if *expected != found => Err(DownloadError::WrongChecksum {
                dataset: self.dataset.name.clone(),
                url: self.entry.url.clone(),
                found,
                expected: expected.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Waits, and lets the caller stop the download meanwhile.
    fn wait(&mut self, pause: Duration, problem: &Problem, len: u64) -> Result<(), DownloadError> {
        let end = Instant::now() + pause;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            self.emit(len, None, Phase::Waiting { problem, rest })?;
            if rest.is_zero() {
                return Ok(());
            }
            std::thread::sleep(rest.min(TICK));
        }
    }

    fn emit(
        &mut self,
        bytes: u64,
        total: Option<u64>,
        phase: Phase<'_>,
    ) -> Result<(), DownloadError> {
        let total = self.entry.bytes.or(total);
        emit(self.on_progress, &Progress { path: self.shown, bytes, total, phase })
    }

    fn wrong_size(&self, found: String, expected: u64) -> DownloadError {
        let (dataset, url) = (self.dataset.name.clone(), self.entry.url.clone());
        DownloadError::WrongSize { dataset, url, found, expected }
    }

    fn refused(&self, problem: String) -> DownloadError {
        let url = self.entry.url.clone();
        DownloadError::Refused { url, problem, by_hand: by_hand(self.dataset) }
    }
}

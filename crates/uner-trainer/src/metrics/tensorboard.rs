//! The event file that TensorBoard reads: `events.out.tfevents.…`, scalars of every step, in
//! TensorFlow's record format.
//!
//! One record: the length of its message as a little-endian u64, a checksum of these eight bytes,
//! the message, a checksum of it. A checksum is CRC-32C, rotated, plus a constant. The first
//! message names the version; all others contain scalars of a step.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use uner_model::atomic;

use crate::error::TrainError;
use crate::metrics::event::{Event, StepMetrics};

/// The start of the file's name; the time at which it was created follows. TensorBoard reads any
/// file whose name contains `tfevents`.
const NAME: &str = "events.out.tfevents";
/// The version, in the first message.
const VERSION: &str = "brain.Event:2";
/// Bytes of a record around its message: length, its checksum, checksum of the message.
const FRAME: usize = 8 + 4 + 4;

/// `tensorflow.Event`, with the fields that are written here.
#[derive(Clone, PartialEq, Message)]
struct Record {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `tensorflow.Summary.Value`
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    /// Part of a `oneof` in the original, so that 0 is written too.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The open file of a run.
#[derive(Debug)]
pub struct EventFile(fs_err::File);

impl EventFile {
    /// Opens the event file of a run for appending, or creates it. First removes an unfinished
    /// record, and records of steps after `step`: a run that is killed leaves records of steps
    /// after its last checkpoint.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(run: &Path, step: u64) -> Result<Self, TrainError> {
        let path = match existing(run)? {
            Some(path) => {
                let retained: Vec<u8> = records(&fs_err::read(&path)?)
                    .filter(|(_, record)| u64::try_from(record.step).is_ok_and(|of| of <= step))
                    .flat_map(|(bytes, _)| bytes.to_vec())
                    .collect();
                atomic::write::<std::io::Error>(&path, |out| out.write_all(&retained))?;
                path
            }
            None => run.join(format!("{NAME}.{:010}.uner", now() as u64)),
        };
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
        if file.metadata()?.len() == 0 {
            let first = Record {
                wall_time: now(),
                file_version: Some(VERSION.to_owned()),
                ..Record::default()
            };
            file.write_all(&framed(&first))?;
        }
        Ok(Self(file))
    }

    /// Appends the scalars of an event.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write(&mut self, event: &Event) -> Result<(), TrainError> {
        let value: Vec<Scalar> = scalars(event)
            .into_iter()
            .map(|(tag, value)| Scalar { tag: tag.to_owned(), simple_value: Some(value as f32) })
            .collect();
        if !value.is_empty() {
            let summary = Some(Summary { value });
            let record = Record {
                wall_time: now(),
                step: event.step() as i64,
                summary,
                ..Record::default()
            };
            self.0.write_all(&framed(&record))?;
        }
        Ok(())
    }
}

/// The existing event file of a run.
fn existing(run: &Path) -> Result<Option<PathBuf>, TrainError> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(run)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME)) {
            found.push(path);
        }
    }
    Ok(found.into_iter().max())
}

/// Names and values of an event's scalars, without unknown ones.
fn scalars(event: &Event) -> Vec<(&'static str, f64)> {
    match event {
        Event::Step(metrics) => of_step(metrics),
        Event::Guarded(report) => vec![("guards/skipped", report.skipped as f64)],
        Event::Validated { loss, .. } => vec![("validation/loss", *loss)],
        Event::Scored { score, .. } => vec![("validation/f1", *score)],
        Event::Measured { .. } | Event::Saved { .. } | Event::Stopped { .. } => Vec::new(),
    }
}

fn of_step(metrics: &StepMetrics) -> Vec<(&'static str, f64)> {
    let time = &metrics.breakdown;
    let always = [
        ("train/loss", metrics.loss),
        ("train/grad_norm", metrics.grad_norm),
        ("train/lr", metrics.lr),
        ("train/epoch", metrics.epoch),
        ("train/trained_tokens", metrics.trained_tokens as f64),
        ("throughput/tokens_per_second", metrics.tokens_per_second),
        ("seconds/step", metrics.seconds),
        ("seconds/data_wait", metrics.data_wait_seconds),
        ("seconds/forward", time.forward),
        ("seconds/backward", time.backward),
        ("seconds/reduce", time.reduce),
        ("seconds/optimizer", time.optimizer),
        ("seconds/save", time.save),
    ];
    let optional = [
        ("throughput/mfu", metrics.mfu),
        ("throughput/matmul_utilization", metrics.matmul_utilization),
        ("memory/in_use", metrics.memory_in_use.map(|bytes| bytes as f64)),
        ("memory/reserved", metrics.memory_reserved.map(|bytes| bytes as f64)),
    ];
    always
        .into_iter()
        .chain(optional.into_iter().filter_map(|(tag, value)| Some((tag, value?))))
        .collect()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A message as a record of the file.
fn framed(record: &Record) -> Vec<u8> {
    let message = record.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(message.len() + FRAME);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(&length).to_le_bytes());
    bytes.extend_from_slice(&message);
    bytes.extend_from_slice(&checksum(&message).to_le_bytes());
    bytes
}

/// CRC-32C, masked as in TensorFlow, because a CRC of data that contains CRCs is problematic.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records of a file, each with its bytes, up to the first incomplete or damaged one.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], Record)> {
    std::iter::from_fn(move || {
        let length = u64::from_le_bytes(*bytes.first_chunk()?);
        let end = FRAME.checked_add(usize::try_from(length).ok()?)?;
        let (record, rest) = bytes.split_at_checked(end)?;
        let (message, found) = record[12..].split_last_chunk::<4>()?;
        if u32::from_le_bytes(*found) != checksum(message) {
            return None;
        }
        bytes = rest;
        Some((record, Record::decode(message).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same records from TensorBoard's own writer: see
    /// `tests/fixtures/tensorboard/make.py`.
    const FIXTURE: &[u8] =
        include_bytes!("../../../../tests/fixtures/tensorboard/scalars.tfevents");

    fn scalar(tag: &str, value: f32) -> Scalar {
        Scalar { tag: tag.to_owned(), simple_value: Some(value) }
    }

    #[test]
    fn the_bytes_are_those_of_tensorboard() {
        let first = Record {
            wall_time: 1_700_000_000.25,
            file_version: Some(VERSION.to_owned()),
            ..Record::default()
        };
        let of_step = |step, value| Record {
            wall_time: 1_700_000_001.5,
            step,
            summary: Some(Summary { value }),
            ..Record::default()
        };
        let all = [
            first,
            of_step(1, vec![scalar("train/loss", 2.5), scalar("seconds/reduce", 0.0)]),
            of_step(300, vec![scalar("validation/loss", 1.25)]),
        ];
        let bytes: Vec<u8> = all.iter().flat_map(framed).collect();
        assert_eq!(bytes, FIXTURE);
        assert_eq!(records(FIXTURE).map(|(_, record)| record).collect::<Vec<_>>(), all);
    }

    fn validated(step: u64, loss: f64) -> Event {
        Event::Validated { step, loss }
    }

    fn steps(folder: &Path) -> Vec<i64> {
        let bytes = fs_err::read(existing(folder).unwrap().unwrap()).unwrap();
        records(&bytes)
            .filter(|(_, record)| record.summary.is_some())
            .map(|(_, record)| record.step)
            .collect()
    }

    #[test]
    fn a_resumed_file_has_every_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |from: u64, to: u64| {
            let mut file = EventFile::open(folder.path(), from).unwrap();
            (from + 1..=to).for_each(|step| file.write(&validated(step, 1.0)).unwrap());
        };
        write(0, 5);
        // Killed in the middle of a record, after step 5, with a checkpoint of step 3.
        let path = existing(folder.path()).unwrap().unwrap();
        let mut bytes = fs_err::read(&path).unwrap();
        bytes.extend_from_slice(&framed(&Record { step: 2, ..Record::default() })[..9]);
        fs_err::write(&path, bytes).unwrap();
        write(3, 6);
        assert_eq!(steps(folder.path()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "the file is continued");
    }
}

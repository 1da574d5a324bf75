//! Passages as a file: JSON Lines, one passage a line. [`crate::folder`] reads it.

use std::{io::Write, path::Path};

use crate::{DistillError, Passage, folder::AtomicFile};

/// Writes passages to a file, which appears when all are on the disk.
///
/// # Errors
/// If the file cannot be written.
pub fn write_passages(path: &Path, passages: &[Passage]) -> Result<(), DistillError> {
    let mut out = AtomicFile::create(path)?;
    for passage in passages {
        serde_json::to_writer(&mut out, passage).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
    }
    out.sync()?;
    Ok(out.publish()?)
}

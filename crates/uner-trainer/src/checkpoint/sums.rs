//! `SHA256SUMS` of an exported folder, as `sha256sum -c` reads it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use uner_model::weights::open_regular;

use crate::error::TrainError;

/// Its name.
pub const SUMS: &str = "SHA256SUMS";

/// Writes the checksums of all files in `folder`, in the order of their names.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_sums(folder: &Path) -> Result<(), TrainError> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let line = |name: &String| Ok(format!("{}  {name}\n", sum(&folder.join(name))?));
    let lines: Vec<String> = names.iter().map(line).collect::<Result<_, TrainError>>()?;
    Ok(fs_err::write(folder.join(SUMS), lines.concat())?)
}

/// Compares the files that are there with their checksums, where the folder has any.
///
/// # Errors
/// When a file is another one.
pub(super) fn verify_sums(folder: &Path) -> Result<(), TrainError> {
    let path = folder.join(SUMS);
    if !path.exists() {
        return Ok(());
    }
    for line in BufReader::new(open_regular(&path)?).lines() {
        let line = line?;
        let Some((expected, name)) = line.split_once("  ") else { continue };
        // A name alone: the files of this folder.
        let file = folder.join(name);
        if file.parent() == Some(folder) && file.is_file() && sum(&file)? != expected {
            return Err(TrainError::Checkpoint {
                path: folder.to_owned(),
                problem: format!(
                    "`{name}` is damaged or was changed: its SHA-256 is not that in `{SUMS}`; write the folder again, or remove `{SUMS}` \
                     where the change is meant"
                ),
            });
        }
    }
    Ok(())
}

fn sum(path: &Path) -> Result<String, TrainError> {
    let mut file = open_regular(path)?;
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let bytes: Vec<String> = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(bytes.concat());
        }
        sum.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_named_and_others_are_no_concern() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
        write("a.txt", "abc");
        write("b.txt", "");
        verify_sums(folder.path()).unwrap();
        write_sums(folder.path()).unwrap();
        let lines = fs_err::read_to_string(folder.path().join(SUMS)).unwrap();
        assert!(
            lines.starts_with("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.txt\n"),
            "{lines}"
        );
        verify_sums(folder.path()).unwrap();
        write("c.txt", "new");
        fs_err::remove_file(folder.path().join("b.txt")).unwrap();
        verify_sums(folder.path()).unwrap();
        write("a.txt", "abd");
        assert!(verify_sums(folder.path()).unwrap_err().to_string().contains("`a.txt` is damaged"));
    }
}

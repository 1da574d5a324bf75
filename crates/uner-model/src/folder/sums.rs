//! `SHA256SUMS` of an exported folder, as `sha256sum -c` reads it.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use crate::WeightsError;
use crate::weights::open_regular;
use sha2::{Digest, Sha256};

/// Most bytes read from the file: enough for ten thousand lines.
const MOST_BYTES: u64 = 1 << 20;

/// The name of the file with the checksums.
pub const SUMS: &str = "SHA256SUMS";

/// Writes the checksums of all files in `folder`, in the order of their names.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_sums(folder: &Path) -> Result<(), WeightsError> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let line = |name: &String| Ok(format!("{}  {name}\n", sum(&folder.join(name))?));
    let lines: Vec<String> = names.iter().map(line).collect::<Result<_, WeightsError>>()?;
    Ok(fs_err::write(folder.join(SUMS), lines.concat())?)
}

/// Compares the files of a folder with their checksums, if it has any.
///
/// # Errors
/// When a file is missing or changed, or a line is not a checksum.
pub(super) fn verify(folder: &Path) -> Result<(), WeightsError> {
    let path = folder.join(SUMS);
    if !path.exists() {
        return Ok(());
    }
    let refuse = |problem: String| {
        let problem = format!(
            "{problem}; write the folder again, or remove `{SUMS}` if the change is intended"
        );
        Err(WeightsError::Damaged { path: folder.to_owned(), problem })
    };
    let mut bytes = Vec::new();
    open_regular(&path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let lines = String::from_utf8_lossy(&bytes);
    if lines.trim().is_empty() {
        return refuse(format!("`{SUMS}` is empty"));
    }
    let mut seen = HashSet::new();
    for (line, number) in lines.lines().zip(1..) {
        let Some((expected, name)) = parse(line) else {
            return refuse(format!(
                "line {number} of `{SUMS}` is not the checksum of a file of this folder"
            ));
        };
        if !seen.insert(name) {
            return refuse(format!("line {number} of `{SUMS}` names `{name}` again"));
        }
        let file = folder.join(name);
        if !file.is_file() {
            return refuse(format!("`{name}` is missing, which `{SUMS}` lists"));
        }
        if sum(&file)? != expected.to_lowercase() {
            return refuse(format!(
                "`{name}` is damaged or was changed: its SHA-256 is not that in `{SUMS}`"
            ));
        }
    }
    Ok(())
}

/// Checksum and name in a line, with two blanks between them, or a blank and a `*` (binary mode).
fn parse(line: &str) -> Option<(&str, &str)> {
    let (sum, name) = line.split_once("  ").or_else(|| line.split_once(" *"))?;
    let is_sum = sum.len() == 64 && sum.chars().all(|character| character.is_ascii_hexdigit());
    let is_name = !name.is_empty() && Path::new(name).file_name().is_some_and(|only| only == name);
    (is_sum && is_name).then_some((sum, name))
}

fn sum(path: &Path) -> Result<String, WeightsError> {
    let mut file = open_regular(path)?;
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let bytes: Vec<String> =
                sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(bytes.concat());
        }
        sum.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_missing_file_is_named_and_others_are_no_concern() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
        let refused = || verify(folder.path()).unwrap_err().to_string();
        write("a.txt", "abc");
        verify(folder.path()).unwrap();
        write_sums(folder.path()).unwrap();
        let lines = fs_err::read_to_string(folder.path().join(SUMS)).unwrap();
        assert_eq!(
            lines,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.txt\n"
        );
        write("c.txt", "new");
        for same in [
            lines.clone(),
            lines.replace("  ", " *"),
            lines.replace('\n', "\r\n"),
            lines.replace("ba78", "BA78"),
        ] {
            write(SUMS, &same);
            verify(folder.path()).unwrap();
        }
        for (other, said) in [
            ("", "is empty"),
            ("\0\0", "line 1 of `SHA256SUMS` is not the checksum"),
            (&lines.replace("a.txt", "../a.txt"), "line 1"),
            (&lines.replace("a.txt", "/etc/passwd"), "line 1"),
            (&format!("{lines}abc  a.txt"), "line 2"),
            (&lines.repeat(2), "line 2 of `SHA256SUMS` names `a.txt` again"),
            (&lines.replace("a.txt", "b.txt"), "`b.txt` is missing"),
            (&lines.replace("ba78", "ba79"), "`a.txt` is damaged"),
        ] {
            write(SUMS, other);
            assert!(refused().contains(said), "{other}: {}", refused());
        }
    }
}
